"""Ctrl-C between two steps, never within one."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pairjepa.util.progress import say


@contextmanager
def stop_between_steps(together: bool = False) -> Iterator[threading.Event]:
    """Ctrl-C sets the event, so that a step is never cut in two; a second one stops at once.

    Args:
        together: with other processes, which must all stop after the same step: a launcher passes signals on, so
            that they come twice, and ends its processes by SIGTERM. None of them then stops at once.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(signum: int, frame: Any) -> None:
        if stop.is_set():
            if together:
                return
            raise KeyboardInterrupt
        stop.set()
        say("Stopping after this step …")

    signals = [signal.SIGINT, signal.SIGTERM] if together else [signal.SIGINT]
    before = [signal.signal(number, ask) for number in signals]
    try:
        yield stop
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
