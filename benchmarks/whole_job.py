"""From raw pairs to an evaluated model: PairJEPA's two commands, and how others train the same backbones.

    python benchmarks/whole_job.py DATA --image IMG --text TXT [--pairs 320 --steps 1 --repeats 1]

Our side is run whole, from an empty cache. A peer is measured for a few steps each time; its whole time is the median
step, times the steps that it needs to reach our dev rsum. Those come from its learning curve, which
`benchmarks/peer_curve.py` measures once and keeps beside this benchmark's result. Where a curve ends below our dev
rsum, its last step is taken: the peer needs more than that. The reference's whole training is 15 epochs over 20,000
pairs. A peer's own evaluation, and its start, are left out: they would only add to its time.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from peer_curve import curve_file
from peers import CURVES, PEERS, job
from peers.reference import EPOCHS, PAIRS, whole_steps
from sides import Measured, command, main, needs

from pairjepa.util.files import read_json

PACKAGES = {"sentence-transformers": ("sentence_transformers", "accelerate", "datasets")}


def arguments(parser: argparse.ArgumentParser) -> None:
    """What is trained on, and how much of it is measured."""
    job.arguments(parser)
    parser.add_argument("--recipe", default="contrastive")
    parser.add_argument(
        "--steps", type=int, default=5, help="steps of a peer in each window, one more before them"
    )


def pairjepa(given: argparse.Namespace) -> Measured:
    """`train` and `evaluate`, nothing cached before."""
    with tempfile.TemporaryDirectory() as folder:
        run, environment = Path(folder) / "run", {"PAIRJEPA_CACHE": str(Path(folder) / "cache")}
        some = [] if given.pairs is None else ["--data.pairs", str(given.pairs)]
        sides = ["--model.image", given.image, "--model.text", given.text]
        parts = {
            "train": ["train", given.recipe, "--data", given.data, "--run", str(run), *sides, *some],
            "evaluate": ["evaluate", str(run), "--split", "test"],
        }
        done = {name: command(*words, environment=environment) for name, words in parts.items()}
        trained: Any = read_json(run / "summary.json", "The run")
    return {
        "what": f"pairjepa train {given.recipe}, pairjepa evaluate --split test, from an empty cache",
        "seconds": sum(one["seconds"] for one in done.values()),
        **{f"{name}_seconds": one["seconds"] for name, one in done.items()},
        "peak_rss_mb": max(one["peak_rss_mb"] for one in done.values()),
        "dev_rsum": trained["dev_rsum"],
    }


def _peer(name: str) -> Any:
    def measured(given: argparse.Namespace) -> Measured:
        needs(*PACKAGES.get(name, ("accelerate",)))
        peer = PEERS[name](given)
        ends: list[float] = []
        peer.train(given.steps + 1, lambda _: ends.append(time.perf_counter()))  # the first one warms up
        return {
            "what": peer.what,
            "seconds": (ends[-1] - ends[0]) / given.steps,
            "items": given.batch,
        }

    return measured


def summary(sides: dict[str, Measured], given: argparse.Namespace) -> dict[str, Any]:
    """The peers' whole times, from their steps and curves, over ours."""
    ours = sides["pairjepa"]
    wholes = {"reference": _reference(ours, sides["reference"], given.batch)} if "reference" in sides else {}
    for name in CURVES:
        if name in sides:
            wholes[name] = _to_our_rsum(ours, sides[name], given, name)
    return {
        "settings": {
            key: getattr(given, key) for key in ("recipe", "pairs", "batch", "steps") if getattr(given, key)
        },
        "whole": wholes,
        "ratios": {f"{name} / pairjepa": one["ratio"] for name, one in wholes.items() if "ratio" in one},
    }


def _reference(ours: Measured, step: Measured, batch: int) -> dict[str, Any]:
    steps = whole_steps(batch)
    return _whole(ours, step, steps) | {
        "said": f"extrapolated: the median step times {EPOCHS} epochs over {PAIRS:,} pairs",
    }


def _to_our_rsum(ours: Measured, step: Measured, given: argparse.Namespace, name: str) -> dict[str, Any]:
    path = curve_file(given.out.parent, name)
    if not path.is_file():
        return {"said": f"no learning curve yet: python benchmarks/peer_curve.py {name} …"}
    curve: Any = read_json(path, "The curve")
    for setting in ("batch", "pairs"):
        if curve[setting] != getattr(given, setting):
            return {"said": f"the learning curve is of another --{setting}: {curve[setting]}"}
    target = ours["dev_rsum"]
    enough = [at for at, rsum in curve["dev_rsum"] if rsum >= target]
    last, best = curve["dev_rsum"][-1][0], max(rsum for _, rsum in curve["dev_rsum"])
    whole = _whole(ours, step, enough[0] if enough else last)
    reached = bool(enough)
    said = (
        f"reaches our dev rsum of {target:.1f} after {enough[0]} steps"
        if reached
        else f"after {whole['ratio']:.1f} x our time, {last} steps, its best dev rsum is {best:.1f}, ours {target:.1f}"
    )
    return whole | {"reached": reached, "best_dev_rsum": best, "lr": curve["lr"], "said": said}


def _whole(ours: Measured, step: Measured, steps: int) -> dict[str, Any]:
    seconds = steps * step["seconds"]
    return {"steps": steps, "seconds": round(seconds, 1), "ratio": round(seconds / ours["seconds"], 1)}


SIDES = {"pairjepa": pairjepa, **{name: _peer(name) for name in PEERS}}

if __name__ == "__main__":
    sys.exit(main(__doc__, SIDES, arguments, summary))
