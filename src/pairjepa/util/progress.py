"""What is said while one waits: lines and a bar on stderr; the bar only on a terminal or in a notebook."""

import html
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PAUSE = 0.2
"""Seconds between two looks of a notebook's bar."""


class _Screen:
    """What stands on stderr."""

    verbose = False
    """Whether every line is to stay."""
    advice = True
    """Whether what goes wrong in a training, and what to try, is said."""
    moving = 0
    """Characters of the line that the next one replaces; 0 if the last one is to stay."""
    output: Any = None
    """A notebook's output that the next line replaces."""


def keep_lines() -> None:
    """Let every line stay from now on, on a terminal too."""
    _Screen.verbose = True


def say(message: str) -> None:
    """One line to stderr. Results go to stdout, everything else here."""
    if _Screen.moving:
        print(file=sys.stderr)
    _Screen.moving, _Screen.output = 0, None
    print(message, file=sys.stderr, flush=True)


def advise(sentence: str) -> None:
    """A warning to who has chosen the settings of a training; see `without_advice`."""
    if _Screen.advice:
        say(f"warning: {sentence}")


@contextmanager
def without_advice() -> Iterator[None]:
    """For trainings whose settings nobody has chosen, as those of the folds of an audit: no lines of theirs either."""
    _Screen.advice, before = False, _Screen.advice
    try:
        yield
    finally:
        _Screen.advice = before


def update(message: str, line: str) -> None:
    """Put `message` in the place of the last one; in a log, or where lines are kept, `line` is said."""
    notebook = in_notebook()
    if _Screen.verbose or not (notebook or sys.stderr.isatty()):
        if _Screen.advice:
            say(line)
    elif notebook:
        _Screen.output = _put(_Screen.output, message)
    else:
        print(f"\r{message.ljust(_Screen.moving)}", end="", file=sys.stderr, flush=True)
        _Screen.moving = len(message)


def in_notebook() -> bool:
    """Whether a notebook shows what is said."""
    shell: Any = sys.modules.get("IPython")  # a notebook has imported it; nothing here asks for it
    return "ipykernel" in sys.modules and shell is not None and shell.get_ipython() is not None


def _put(output: Any, text: str, bar: str = "") -> Any:
    """Put a line, after a bar in HTML, into a notebook's output, or into a new one."""
    shown = {"text/plain": text, "text/html": f"{bar}{html.escape(text)}"}
    if output is None:
        notebook: Any = sys.modules["IPython.display"]
        return notebook.display(shown, raw=True, display_id=True)
    output.update(shown, raw=True)
    return output


class Progress:
    """A bar with items/s on a terminal or in a notebook; elsewhere, nothing until the closing line."""

    def __init__(self, label: str, total: int, unit: str) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = 0
        self._start = time.monotonic()
        self._live = None
        self._output = _put(None, label) if in_notebook() else None
        self._shown = self._start
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
        elif self._output is not None and time.monotonic() > self._shown + PAUSE:
            self._shown = time.monotonic()
            bar = f"<progress max='{self.total}' value='{self.done}'></progress> "
            _put(
                self._output,
                f"{self.label}: {self.done:,} of {self.total:,} ({self.rate:,.0f} {self.unit}/s)",
                bar,
            )

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
            unit = self.unit.removesuffix("s") if self.done == 1 else self.unit
            line = f"{self.label}: {self.done:,} {unit} in {seconds:,.1f} s{rate}"
            say(line) if self._output is None else _put(self._output, line)


@contextmanager
def progress(label: str, total: int, unit: str) -> Iterator[Progress]:
    """`with progress("image features", 8000, "images") as bar: bar.advance(16)`."""
    bar = Progress(label, total, unit)
    try:
        yield bar
    finally:
        bar.close()
