"""A folder that one process at a time writes; whatever ends that process lets go of it."""

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
                    f"{folder} must be written by one process at a time, got a second one while {holder(folder)} "
                    "writes it. Wait until that one has ended, or end it, and run the same command again to go on."
                ) from None
            say(f"{folder} is being written by {holder(folder)}; this process goes on when that is done")
            lock.acquire()
    try:
        now = datetime.now().astimezone().isoformat(" ", "seconds")
        with writing(path):
            path.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": now}))
        yield
    finally:
        with contextlib.suppress(OSError):
            path.write_text("")
        lock.release()


def holder(folder: Path) -> str:
    """Who holds the lock of a folder, for people."""
    try:
        who = json.loads((folder / LOCK).read_text())
        return f"process {who['pid']} on {who['host']} (since {who['since']})"
    except (OSError, ValueError, TypeError, KeyError):  # it has this very moment got it, or let go of it
        return "another process"
