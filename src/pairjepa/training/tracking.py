"""The numbers of `metrics.jsonl`, sent to a tracker that Accelerate knows: TensorBoard, Weights & Biases, MLflow, …

The tracker changes no result and is no part of a run's configuration: it may come, go and be another one when a run
goes on. A run that goes on sends the epochs that stand already, too. So each of the tracker's own runs (it makes a new
one at every start) has the whole curve, also where the training began without it; TensorBoard's, which lies in the
run folder, replaces what it had, and no epoch counts twice.
"""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pairjepa.config.values import flatten
from pairjepa.run.folder import RunFolder
from pairjepa.util.errors import PairJEPAError, missing_extra, unknown
from pairjepa.util.progress import say

PROJECT = "pairjepa"
"""Of a tracker that has projects; its runs are told apart by `run` in their configuration."""

Send = Callable[[dict[str, Any]], None]
"""Takes one epoch, a line of `metrics.jsonl`."""


def check_tracker(name: str) -> None:
    """Look whether `name` can be used, before anything is computed.

    Raises:
        UsageError: Accelerate knows no such tracker.
        PairJEPAError: Accelerate, or the tracker's own package, is not installed.
    """
    if importlib.util.find_spec("accelerate") is None:
        raise missing_extra("accelerate", "track")
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
    from accelerate.utils import LoggerType

    if name not in LOGGER_TYPE_TO_CLASS:
        raise unknown("tracker", name, LOGGER_TYPE_TO_CLASS)
    if name in LoggerType.list() and LoggerType(name) not in get_available_trackers():
        if name == "tensorboard":
            raise missing_extra("tensorboard", "track")
        package = name.replace("_", "-")
        raise PairJEPAError(
            f"This needs the package {package!r}, which is not installed. "
            f"Install it with: pip install {package}."
        )


@contextmanager
def tracked(name: str | None, run: RunFolder, history: list[dict[str, Any]]) -> Iterator[Send]:
    """Send a run's epochs to a tracker: those of `history` at once, each further one by the yielded function.

    A tracker that fails on the way (a service that is not reached) is said once and left; the training goes on.

    Args:
        name: of a tracker that passes `check_tracker`; None sends nothing.
        run: the run; TensorBoard's and Aim's files go into its folder.
        history: the epochs before, lines of `metrics.jsonl`.

    Raises:
        PairJEPAError: the tracker does not start.
    """
    if name is None:
        yield lambda line: None
        return
    try:
        tracker = _start(name, run)
        for line in history:
            tracker.log(flat(line), step=line["epoch"])
    except Exception as error:  # whatever the tracker's package raises: no key, no network, …
        raise PairJEPAError(
            f"--track {name} does not start: {error}. Mend that, or leave --track out: it changes no result."
        ) from error
    failed = False

    def attempt(step: Callable[[], None]) -> None:
        nonlocal failed
        if not failed:
            try:
                step()
            except Exception as error:  # a training of hours is worth more than its curve elsewhere
                failed = True
                say(f"warning: --track {name} failed: {error}. The training goes on without it.")

    try:
        yield lambda line: attempt(lambda: tracker.log(flat(line), step=line["epoch"]))
    finally:
        attempt(tracker.finish)


def flat(line: dict[str, Any]) -> dict[str, float]:
    """A line of `metrics.jsonl` as names and numbers: `dev/image_to_text/R_1`; what was not measured is left out.

    `@` is written `_`, since MLflow and SwanLab take it in no name.
    """
    return {
        name.replace(".", "/").replace("@", "_"): number
        for name, number in flatten(line)
        if number is not None and name != "epoch"
    }


def _start(name: str, run: RunFolder) -> Any:
    """An Accelerate tracker that has begun, and knows the run's configuration."""
    from accelerate import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    PartialState()  # which Accelerate's log lines ask for
    made = LOGGER_TYPE_TO_CLASS[name]
    path = run.path.resolve()
    if name == "tensorboard":
        # in the run folder, beside run.json; what stands there from step 0 on is replaced
        tracker = made(path.name, logging_dir=path.parent, purge_step=0)
        tracker.start()
        return tracker
    tracker = made(path.name, logging_dir=path) if made.requires_logging_directory else made(PROJECT)
    tracker.start()
    settings = {
        name: value if isinstance(value, str | float | int | None) else str(value)
        for name, value in flatten(run.config)
    }
    tracker.store_init_configuration({"run": str(run.path), **settings})
    return tracker
