"""A pretrained pair adapted to a shifted world, with what is gained there and what is lost at home.

    python studies/pretrained_pair.py [--seeds 3] [--out FOLDER]

For each seed: a small CLIP is trained from random weights on `shapes` and exported (`export --to clip`); `adapt` learns
300 pairs of the shifted world (`pairjepa.apps.demo_pair`). Writes docs/pretrained-pair.json.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import pairjepa
from pairjepa.apps.demo_pair import CLIP, shifted, small_clip
from pairjepa.config.settings import DataConfig
from pairjepa.evaluation.tables import markdown

DOCS = Path(__file__).parent.parent / "docs"


def measured(folder: Path, seed: int, epochs: int) -> dict[str, Any]:
    """One seed: rsum on test of chance, the pretrained and the adapted pair, there and at home."""
    home = str(CLIP["data.source"])
    learned = {"training.seed": seed, "training.epochs": epochs, "training.warmup": 0.05}
    pair = small_clip(folder / f"clip-{seed}", CLIP | learned)
    world = shifted(folder / f"shifted-{seed}.parquet", seed)
    settings: dict[str, Any] = {
        "data.source": str(world),
        "model.pair": str(pair),
        "training.seed": seed,
    }
    adapted = folder / f"adapt-{seed}"
    pairjepa.train(pairjepa.recipe("adapt", settings), None, adapted)
    results = {
        "shifted": pairjepa.evaluate(adapted, "test"),
        "home": pairjepa.evaluate(adapted, "test", data=DataConfig(home)),
    }
    return {
        where: {
            "chance": result["baselines"]["chance"]["rsum"],
            "pretrained": result["baselines"]["pretrained"]["rsum"],
            "adapted": result["rsum"],
            "gain": result["beats_pretrained"]["rsum_difference"],
            "ci": result["beats_pretrained"]["ci"],
        }
        for where, result in results.items()
    } | {"adapter_scale": _scale(adapted)}


def _scale(run: Path) -> float:
    return float(json.loads((run / "summary.json").read_text())["adapter_scale"])


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=100, help="of the CLIP's own training")
    parser.add_argument("--out", type=Path, default=Path("runs/pretrained-pair"))
    given = parser.parse_args()
    seeds = [measured(given.out, seed, given.epochs) for seed in range(given.seeds)]
    rows = [["rsum, test", "chance", "pretrained", "adapted", "gained (95 % interval)"]]
    for where in ("shifted", "home"):
        for number, seed in enumerate(seeds):
            one = seed[where]
            cells = [f"{one[name]:.1f}" for name in ("chance", "pretrained", "adapted")]
            rows.append(
                [
                    f"{where}, seed {number}",
                    *cells,
                    f"{one['gain']:+.1f} ({one['ci'][0]:+.1f} to {one['ci'][1]:+.1f})",
                ]
            )
    print(markdown(rows))
    (DOCS / "pretrained-pair.json").write_text(json.dumps({"seeds": seeds}, indent=2) + "\n")


if __name__ == "__main__":
    main()
