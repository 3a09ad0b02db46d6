"""Memory that was freed between segments goes back to the system."""

import subprocess
import sys

import pytest

from posegen.heap import _malloc_trim, trim_heap

HELD = """
import os, psutil
from posegen.heap import trim_heap

def resident():
    return psutil.Process().memory_info().rss

pieces = [bytes([number % 256]) * 100_000 for number in range(2000)]  # below the size that glibc maps by itself
last = bytes(100_000)
full = resident()
del pieces
kept = resident()
trim_heap()
print(full - kept, full - resident(), len(last))
"""


@pytest.mark.skipif(_malloc_trim() is None, reason="needs glibc")
def test_what_was_freed_below_something_in_use_is_given_back():
    freed, given_back, _ = map(int, subprocess.check_output([sys.executable, "-c", HELD]).split())
    assert freed < 20_000_000  # glibc keeps it
    assert given_back > 180_000_000


def test_it_does_nothing_without_glibc(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    _malloc_trim.cache_clear()
    trim_heap()
    assert _malloc_trim() is None
    _malloc_trim.cache_clear()
