"""Kill a training at random moments, go on, and show that it ends with the same bits as one that was left alone.

    python benchmarks/kill_resume.py DATA --model.image IMG --model.text TXT [--times 10] [--out FILE]

Every other option goes to `pairjepa train`. Half of the moments fall into what comes before the training (the scan of
the images and the features, both into a fresh cache), half into the training. Prints JSON; the exit status is 1 if
anything differs.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

POLL = 0.02
TIMES = ("seconds", "images_per_second")
"""What a clock says in a line of metrics.jsonl."""


class Place:
    """A run folder with a cache of its own."""

    def __init__(self, folder: Path, arguments: list[str]) -> None:
        """`arguments`: of `pairjepa train`."""
        self.run, self.cache, self.log = folder / "run", folder / "cache", folder / "log"
        folder.mkdir()
        self._command = [sys.executable, "-m", "pairjepa", "train", *arguments, "--run", str(self.run)]

    def start(self) -> subprocess.Popen[bytes]:
        """The training, begun or gone on with; what it says goes into the log."""
        environment = {**os.environ, "PAIRJEPA_CACHE": str(self.cache)}
        with self.log.open("ab") as log:
            return subprocess.Popen(self._command, stderr=log, env=environment)

    def finish(self) -> None:
        """Train to the end."""
        if self.start().wait():
            sys.exit(self.log.read_text("utf-8"))

    @property
    def shards(self) -> int:
        """Shards of scan and features that are whole."""
        scans, labels = self.cache.glob("images/*.parquet"), self.cache.glob("features/*/*.npy")
        return len([*scans, *labels])

    @property
    def epochs(self) -> int:
        """Epochs that are measured, those of a control included."""
        files = [self.run / "metrics.jsonl", self.run / "text-only" / "metrics.jsonl"]
        return sum(len(file.read_bytes().splitlines()) for file in files if file.is_file())

    def result(self) -> dict[str, Any]:
        """What must be equal, for the run and its control: weights, metrics without times, the best epoch."""
        found = {}
        for folder in (self.run, self.run / "text-only"):
            if (folder / "summary.json").is_file():
                lines = map(json.loads, (folder / "metrics.jsonl").read_text("utf-8").splitlines())
                metrics = [{key: value for key, value in line.items() if key not in TIMES} for line in lines]
                found[folder.name] = {
                    "model": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
                    "metrics": hashlib.sha256(json.dumps(metrics).encode()).hexdigest(),
                    "epochs": len(metrics),
                    "best_epoch": json.loads((folder / "summary.json").read_text("utf-8"))["best_epoch"],
                }
        return found


def timed(place: Place) -> tuple[float, float]:
    """Train without a stop; seconds before the first epoch is measured, and after."""
    begun = time.monotonic()
    training, first = place.start(), None
    while training.poll() is None:
        time.sleep(POLL)
        if first is None and place.epochs:
            first = time.monotonic() - begun
    if training.returncode or first is None:
        sys.exit(place.log.read_text("utf-8"))
    return first, time.monotonic() - begun - first


def kill(place: Place, shards: int, epochs: int, delay: float) -> dict[str, Any]:
    """Go on until so many shards and epochs are there, wait a little, and kill."""
    begun = time.monotonic()
    training = place.start()
    while training.poll() is None and (place.shards < shards or place.epochs < epochs):
        time.sleep(POLL)
    time.sleep(delay)
    training.kill()
    killed = training.wait() == -signal.SIGKILL
    return {
        "seconds_after_start": round(time.monotonic() - begun, 2),
        "killed": killed,
        "phase": "training" if place.epochs or list(place.run.rglob("checkpoint.*")) else "features",
        "shards": place.shards,
        "epochs": place.epochs,
    }


def main() -> int:
    """Do it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data")
    parser.add_argument("--recipe", default="contrastive")
    parser.add_argument("--times", type=int, default=10, help="how often it is killed")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", type=Path, help="write the JSON here too")
    options, rest = parser.parse_known_args()
    arguments = [options.recipe, "--data", options.data, *rest, "--training.checkpoint-seconds", "1"]
    chance, log = random.Random(options.seed), []

    with tempfile.TemporaryDirectory() as folder:
        alone, stopped = (Place(Path(folder, name), arguments) for name in ("alone", "stopped"))
        before, after = timed(alone)
        print(f"alone: {before:.0f} s before the first epoch is done, {after:.0f} s after", file=sys.stderr)
        early = sorted(chance.randrange(alone.shards) for _ in range((options.times + 1) // 2))
        late = sorted(chance.randrange(alone.epochs) for _ in range(options.times // 2))
        moments = [(shards, 0, before / alone.shards) for shards in early]
        moments += [(alone.shards, max(epochs, 1), after / alone.epochs) for epochs in late]
        for shards, epochs, most in moments:
            log.append(kill(stopped, shards, epochs, chance.uniform(0, most)))
            print(json.dumps(log[-1]), file=sys.stderr)
        stopped.finish()
        expected, found = alone.result(), stopped.result()

    identical = expected == found
    report = {
        "train": arguments,
        "seconds": {"before_training": round(before, 1), "training": round(after, 1)},
        "moments": log,
        "kills": sum(moment["killed"] for moment in log),
        "identical": identical,
        "uninterrupted": expected,
        "resumed": found,
    }
    text = json.dumps(report, indent=2)
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n", "utf-8")
    return 0 if identical else 1


if __name__ == "__main__":
    sys.exit(main())
