"""What glibc does with the memory that layers free; elsewhere, nothing is asked for."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h


def keep_freed_memory() -> None:
    """Let what a layer frees stay for the next one, rather than hand it back to the system.

    Fetching each large tensor anew costs ViT-B/32 7 % and lite half its speed at a batch of 32
    (two cores).
    """
    with suppress(OSError, AttributeError):  # another C library, which has no such switch
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)  # bytes, the most it takes


def hand_back_freed_memory() -> None:
    """Once, to the system: where memory ran out, it may be needed for another purpose."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
