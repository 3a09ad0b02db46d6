"""Memory that was freed between segments goes back to the system."""

import subprocess
import sys

import pytest

from posegen.heap import _glibc, keep_freed_memory, trim_heap

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


@pytest.mark.skipif(_glibc() is None, reason="needs glibc")
def test_what_was_freed_below_something_in_use_is_given_back():
    freed, given_back, _ = map(int, subprocess.check_output([sys.executable, "-c", HELD]).split())
    assert freed < 20_000_000  # glibc keeps it
    assert given_back > 180_000_000


TENSORS = """
import resource, torch
from posegen.heap import keep_freed_memory, trim_heap
torch.set_num_threads(1)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(8 * 2**20).sum()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
before = faults()
keep_freed_memory()
faults()
print(before, faults())
"""


@pytest.mark.skipif(_glibc() is None, reason="needs glibc")
@pytest.mark.parametrize("by_user", [False, True])
def test_memory_of_a_tensor_is_taken_from_the_system_once(monkeypatch, by_user):
    if by_user:
        monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    before, after = map(int, subprocess.check_output([sys.executable, "-c", TENSORS]).split())
    assert before > 1000
    assert (after > 1000) == by_user


def test_it_does_nothing_without_glibc(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    _glibc.cache_clear()
    keep_freed_memory()
    trim_heap()
    assert _glibc() is None
    _glibc.cache_clear()
