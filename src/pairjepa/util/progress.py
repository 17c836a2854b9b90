"""What is said while one waits: lines and a bar on stderr; the bar only where a terminal looks."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class _Screen:
    """What stands on stderr."""

    verbose = False
    """Whether every line is to stay."""
    moving = 0
    """Characters of the line that the next one replaces; 0 if the last one is to stay."""


def keep_lines() -> None:
    """Let every line stay from now on, on a terminal too."""
    _Screen.verbose = True


def say(message: str) -> None:
    """One line to stderr. Results go to stdout, everything else here."""
    if _Screen.moving:
        print(file=sys.stderr)
        _Screen.moving = 0
    print(message, file=sys.stderr, flush=True)


def update(message: str, line: str) -> None:
    """Put `message` in the place of the last one; in a log, or where lines are kept, `line` is said."""
    looks = sys.stderr.isatty() or "ipykernel" in sys.modules
    if _Screen.verbose or not looks:
        say(line)
        return
    print(f"\r{message.ljust(_Screen.moving)}", end="", file=sys.stderr, flush=True)
    _Screen.moving = len(message)


class Progress:
    """A bar with items/s and the time left on a terminal; without one, nothing until the closing line."""

    def __init__(self, label: str, total: int, unit: str) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = 0
        self._start = time.monotonic()
        self._live = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as RichProgress

            self._live = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._live.add_task(label, total=total, rate="")
            self._live.start()

    def advance(self, count: int = 1) -> None:
        """`count` more items are done."""
        self.done += count
        if self._live is not None:
            self._live.update(self._task, advance=count, rate=f"{self.rate:,.0f} {self.unit}/s")

    @property
    def rate(self) -> float:
        """Items a second so far."""
        return self.done / max(time.monotonic() - self._start, 1e-9)

    def close(self) -> None:
        """Take the bar away and leave one line that says what was done."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self.done:
            seconds = time.monotonic() - self._start
            rate = f" ({self.rate:,.0f} {self.unit}/s)" if self.rate >= 1 else ""
            say(f"{self.label}: {self.done:,} {self.unit} in {seconds:,.1f} s{rate}")


@contextmanager
def progress(label: str, total: int, unit: str) -> Iterator[Progress]:
    """`with progress("image features", 8000, "images") as bar: bar.advance(16)`."""
    bar = Progress(label, total, unit)
    try:
        yield bar
    finally:
        bar.close()
