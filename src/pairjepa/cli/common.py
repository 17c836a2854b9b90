"""What every verb of the command line shares."""

import contextlib
import json
import shlex
import sys
from collections.abc import Iterator
from typing import Annotated, Any

from cyclopts import Parameter

from pairjepa.util.progress import say

Json = Annotated[
    bool,
    Parameter(name="--json", negative=(), show_default=False, help="Print one JSON object and nothing else."),
]


@contextlib.contextmanager
def stdout_for_results() -> Iterator[None]:
    """What a library prints while it works goes to stderr, so that stdout holds the result alone."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def print_json(result: dict[str, Any]) -> None:
    """One JSON object on stdout."""
    print(json.dumps(result, indent=2, allow_nan=False))


def next_command(*words: str, then: str = "") -> None:
    """Say what to run next; `then` is not quoted: what the user has to fill in."""
    say(f"next: {shlex.join(['pairjepa', *words])} {then}".rstrip())
