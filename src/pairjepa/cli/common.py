"""What every verb of the command line shares."""

import contextlib
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter, Token

from pairjepa.config.settings import DEVICE, DeviceName
from pairjepa.util.progress import say

Device = Annotated[
    DeviceName | None,
    Parameter(
        name="--device",
        help="Where models run; auto: a GPU of CUDA's if there is one. By default what PAIRJEPA_DEVICE says.",
    ),
]


def _split(_: Any, tokens: Sequence[Token]) -> str:
    from pairjepa.pairs.splits import word

    return word(tokens[0].value)


_SPLITS = "dev (or val) to choose by, test to report, or train"
Split = Annotated[str, Parameter(help=f"{_SPLITS}.", converter=_split)]
EvaluatedSplit = Annotated[
    str, Parameter(help=f"{_SPLITS}; all, of pairs that the model was not trained on.", converter=_split)
]


Switch = Annotated[bool, Parameter(negative=(), show_default=False)]
"""A flag that is off unless it is given."""
Json = Annotated[Switch, Parameter(name="--json", help="Print one JSON object and nothing else.")]
Relevance = Annotated[
    Literal["owner", "text"],
    Parameter(help="owner: an image's own captions are right; text: any caption with the same words is."),
]
AnyEncoder = Annotated[
    Path,
    Parameter(
        help="A run folder, what `pairjepa export RUN --to onnx` wrote, or a pretrained pair such as CLIP."
    ),
]


@contextlib.contextmanager
def stdout_for_results(device: DeviceName | None = None) -> Iterator[None]:
    """What a library prints while it works goes to stderr, so that stdout holds the result alone.

    Args:
        device: where models run in this process and those that it starts, if the user has said so.
    """
    if device is not None:
        os.environ[DEVICE] = device
    with contextlib.redirect_stdout(sys.stderr):
        yield


def print_result(result: dict[str, Any], as_json: bool, text: Callable[[dict[str, Any]], str]) -> None:
    """One JSON object on stdout, or the same in words, if there are any."""
    if words := json.dumps(result, indent=2, allow_nan=False) if as_json else text(result):
        print(words)


def next_command(*words: str, then: str = "") -> None:
    """Say what to run next; `then` is not quoted: what the user has to fill in."""
    say(f"next: {shlex.join(['pairjepa', *words])} {then}".rstrip())
