"""Gives memory that was freed back to the system, between segments; whoever freed it decides when.

glibc keeps what lies below memory that is still in use. Which tensors that are depends on chance, so that the peak of a
long video would be the worst of many chances, not that of one segment. Elsewhere nothing is done.
"""

import ctypes
import functools
from collections.abc import Callable


def trim_heap() -> None:
    """Return free pages of this process to the system; a few milliseconds."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    """glibc's function; None with another C library."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
