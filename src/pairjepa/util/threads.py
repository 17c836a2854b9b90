"""How many threads work, and how they wait."""

import contextlib
import functools
import os
from pathlib import Path


@functools.cache
def cores() -> int:
    """Processor cores that this process may use: as its affinity says, and its container's share of the machine."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # there is no container, or its share is "max"
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, max(1, int(quota) // int(period)))
    return count


def prepare_openmp() -> None:
    """Set how OpenMP's threads work, before PyTorch loads it; what the user has set stays.

    Threads that spin while they wait take the time of those that work, where another program keeps a core busy. And
    OpenMP counts the cores of the whole machine, whatever a container's share of them is.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if cores() < (os.cpu_count() or 1):
        os.environ.setdefault("OMP_NUM_THREADS", str(cores()))
