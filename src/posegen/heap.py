"""Keeps freed memory between the operations of a model, and returns it to the system between segments.

glibc gives each block of more than 128 kB to 32 MB back to the system when it is freed, and takes a new one, page by
page, for the next tensor. `keep_freed_memory` makes it keep them; how much time that saves depends on what ran before
(from a third of a forward pass of the mini to nothing).
What it keeps below memory still in use varies from run to run, so without `trim_heap` the peak of a long video would
exceed that of one segment. With other C libraries nothing is done.
"""

import ctypes
import functools
import os
from typing import Any

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -2, -3, -4
"""Parameters of glibc's mallopt (malloc.h)."""
_LARGEST = 2**31 - 1
_MORE = 2**26
"""Bytes by which the heap grows at least."""


def keep_freed_memory() -> None:
    """Keep freed memory for the next operation, until `trim_heap`; a user's MALLOC_* variables take precedence."""
    library = _glibc()
    if library is None or any(name.startswith("MALLOC_") for name in os.environ):
        return
    if not library.mallopt(_M_MMAP_THRESHOLD, _LARGEST):  # glibc before 2.35 takes at most 32 MB
        library.mallopt(_M_MMAP_MAX, 0)
    library.mallopt(_M_TRIM_THRESHOLD, _LARGEST)
    library.mallopt(_M_TOP_PAD, _MORE)


def trim_heap() -> None:
    """Return free pages of this process to the system; a few milliseconds."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


@functools.cache
def _glibc() -> Any | None:
    """Return the C library of this process; None if it is not glibc."""
    try:
        library = ctypes.CDLL(None)
        return library if library.mallopt and library.malloc_trim else None
    except (AttributeError, OSError, TypeError):
        return None
