"""What one process at a time does: write a folder, compute a shard. Whatever ends that process lets go of it."""

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import writing
from pairjepa.util.progress import say

LOCK = ".lock"
"""The file, in the folder, that is locked; it says who holds it, and stays."""


@contextlib.contextmanager
def exclusive(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a folder, which is made if it is not there.

    Args:
        folder: what is written.
        wait: until another process lets go of it.

    Raises:
        PairJEPAError: another process holds it; the message says which and since when.
    """
    from filelock import FileLock

    path = folder / LOCK
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except TimeoutError:
            if not wait:
                raise PairJEPAError(
                    f"{folder} must be written by one process at a time, got a second one while {holder(path)} "
                    "writes it. Wait until that one has ended, or end it, and run the same command again to go on."
                ) from None
            say(f"{folder} is being written by {holder(path)}; this process goes on when that is done")
            lock.acquire()
    try:
        with writing(path):
            path.write_text(_signature())
        yield
    finally:
        with contextlib.suppress(OSError):
            path.write_text("")
        lock.release()


@contextlib.contextmanager
def claimed(path: Path, *, wait: str = "") -> Iterator[bool]:
    """Hold a lock file, so that a work is done once. Nobody is kept from it where the file system has no locks.

    Args:
        path: the file, which is removed afterwards.
        wait: until another process lets go of it; what waits, for people.

    Yields:
        Whether to do the work: False while another process does.
    """
    from filelock import FileLock

    lock = FileLock(path, fallback_to_soft=False)  # a soft one would outlive a killed process
    free = True
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except TimeoutError:
            free = bool(wait)
            if wait:
                say(f"{wait}: waiting for {holder(path)}, which computes the same")
                lock.acquire()
        if free:
            path.write_text(_signature())
    try:
        yield free
    finally:
        if lock.is_locked:
            with contextlib.suppress(OSError):
                path.unlink()
            lock.release()


def holder(path: Path) -> str:
    """Who holds a lock file, for people."""
    try:
        who = json.loads(path.read_text())
        return f"process {who['pid']} on {who['host']} (since {who['since']})"
    except (OSError, ValueError, TypeError, KeyError):  # it has this very moment got it, or let go of it
        return "another process"


def _signature() -> str:
    now = datetime.now().astimezone().isoformat(" ", "seconds")
    return json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": now})
