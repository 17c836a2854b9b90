"""Learning curve of a peer: rsum on dev every so many steps, by PairJEPA's own evaluation.

    python benchmarks/peer_curve.py PEER DATA --image IMG --text TXT [--steps 150] [--every 25] [--lr 1e-4]

Counts of steps are no timings, so a curve may be measured on a busy machine. Each point is written as soon as it is
there. The learning rate rises over the first tenth of the steps and falls to 0 at the last. Of several learning rates,
give several runs of this script and keep the best: `--keep-best` leaves a better curve of the same peer alone.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from peers import CURVES, PEERS, job

from pairjepa.util.files import read_json, write_json


def curve_file(folder: Path, peer: str) -> Path:
    """Where the curve of a peer is kept."""
    return folder / f"curve-{peer.replace('_', '-')}.json"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("peer", choices=CURVES)
    job.arguments(parser)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--every", type=int, default=25)
    parser.add_argument("--dev-images", type=int, help="measure on the first so many images of dev")
    parser.add_argument("--keep-best", action="store_true", help="write only a curve with a better end")
    parser.add_argument("--out", type=Path, default=Path("docs/performance"), help="folder")
    given = parser.parse_args()
    peer = PEERS[given.peer](given)
    path = curve_file(given.out, given.peer)
    points: list[list[float]] = []
    record: dict[str, Any] = {
        "peer": given.peer,
        "what": peer.what,
        "lr": peer.lr,
        "batch": given.batch,
        "pairs": given.pairs,
        "steps": given.steps,
        "dev_images": given.dev_images or peer.pairs.split("dev").n_images,
        "dev_rsum": points,
    }

    def after(step: int) -> None:
        if not all(parameter.isfinite().all() for parameter in peer.model.parameters()):
            sys.exit(f"{given.peer} has diverged at step {step}, with a learning rate of {peer.lr}")
        if step % given.every == 0 or step == given.steps:
            points.append([step, peer.dev_rsum(given.dev_images)])
            print(f"step {step}: dev rsum {points[-1][1]:.1f}", file=sys.stderr, flush=True)
            if not given.keep_best:
                write_json(path, record)

    peer.train(given.steps, after, counted=True)
    if given.keep_best and (not path.is_file() or points[-1][1] > _end(path)):
        write_json(path, record)
    return 0


def _end(path: Path) -> float:
    curve: Any = read_json(path, "The curve")
    return float(curve["dev_rsum"][-1][1])


if __name__ == "__main__":
    sys.exit(main())
