"""How many threads work, and how they wait."""

import contextlib
import functools
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Result = TypeVar("Result")


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


@functools.cache
def _numpy_libraries() -> "ThreadpoolController":
    """Looked for once: it takes milliseconds, and each epoch needs them several times."""
    import numpy as np  # noqa: F401  (its BLAS must be there)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def one_blas_thread() -> contextlib.AbstractContextManager[object]:
    """One thread of NumPy's BLAS while the block runs."""
    return _numpy_libraries().limit(limits=1, user_api="blas")


def ahead(
    work: Callable[[Item], Result], items: Iterable[Item], most: int, threads: int | None = None
) -> Generator[Result, None, None]:
    """`map(work, items)`, in as many threads as there are cores, at most `most` results before they are asked for."""
    with ThreadPoolExecutor(threads or cores()) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= most:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
