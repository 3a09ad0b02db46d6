"""Returns freed memory to the system between segments; the caller decides when.

glibc keeps freed memory that lies below memory still in use. Which tensors lie there varies from run to run, so without
trimming the peak of a long video would exceed that of one segment. With other C libraries nothing is done.
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
    """Return glibc's `malloc_trim`; None with another C library."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
