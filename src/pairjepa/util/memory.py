"""When freed memory is kept, and when it goes back to the system."""

import ctypes
import functools
import platform
import resource
import sys

import pyarrow as pa


@functools.cache
def keep_freed_memory() -> None:
    """Tell glibc's malloc to reuse what is freed instead of giving it back to the system.

    Each layer allocates tens of megabytes, which malloc maps, the kernel fills with zeros page by page, and malloc
    unmaps again: 40 to 100 % on top of the time of a CPU forward pass, measured. Holds for the whole process,
    and does nothing where there is no glibc.
    """
    if not _glibc():
        return
    mallopt = ctypes.CDLL(None).mallopt
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # the M_* numbers of malloc.h
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(top_pad, 256 * 2**20)


def give_back_freed_memory() -> None:
    """Give the system what is free by now, between two stages: the second does not need what the first took."""
    pa.default_memory_pool().release_unused()
    if _glibc():
        ctypes.CDLL(None).malloc_trim(0)


def peak_rss() -> int:
    """Peak resident set size of this process in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _glibc() -> bool:
    return sys.platform == "linux" and platform.libc_ver()[0] == "glibc"
