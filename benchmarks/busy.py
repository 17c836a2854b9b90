"""How OpenMP's threads wait: `train` with every core free, and with one that another program keeps busy.

    python benchmarks/busy.py DATA --image IMG --text TXT

`passive` is how the command line has it, `active` what OpenMP does where nothing is said. Of each there are the seconds
from an empty cache and those from a full one, alone and beside the other program.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from sides import Measured, command, main, ratio

BUSY = "while True: pass"


def _side(policy: str, busy: int) -> Callable[[argparse.Namespace], Measured]:
    def measured(given: argparse.Namespace) -> Measured:
        others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(busy)]
        try:
            return _trained(given, policy)
        finally:
            for other in others:
                other.kill()

    return measured


def _trained(given: argparse.Namespace, policy: str) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        environment = {"PAIRJEPA_CACHE": str(Path(folder, "cache")), "OMP_WAIT_POLICY": policy}
        words = ["train", given.recipe, "--data", given.data, "--data.pairs", str(given.pairs)]
        words += ["--model.image", given.image, "--model.text", given.text]
        words += ["--training.epochs", str(given.epochs)]
        empty, full = (
            command(*words, "--run", str(Path(folder, run)), environment=environment)["seconds"]
            for run in ("first", "second")
        )
    return {"seconds": empty, "features_seconds": empty - full, "cached_seconds": full}


SIDES = {
    f"{policy}-{'busy' if busy else 'alone'}": _side(policy, busy)
    for busy in (0, 1)
    for policy in ("passive", "active")
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """What is trained on."""
    parser.add_argument("data")
    parser.add_argument("--image", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--recipe", default="contrastive")
    parser.add_argument("--pairs", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=8)


def summary(sides: dict[str, Measured], given: argparse.Namespace) -> Measured:
    """Busy over alone, and active over passive where nothing else runs."""
    parts = ("features_seconds", "cached_seconds")
    return {
        "busy_over_alone": {
            policy: {part: ratio(sides[f"{policy}-busy"], sides[f"{policy}-alone"], part) for part in parts}
            for policy in ("passive", "active")
        },
        "passive_over_active_alone": {
            part: ratio(sides["passive-alone"], sides["active-alone"], part) for part in parts
        },
    }


if __name__ == "__main__":
    sys.exit(main(__doc__, lambda given: SIDES, arguments, summary))
