"""A pretrained pair adapted to a shifted world, with what is gained there and what is lost at home.

    python studies/pretrained_pair.py [--seeds 3] [--work FOLDER]

For each seed: a small CLIP is trained from random weights on `shapes` and exported (`export --to clip`); `adapt` learns
300 pairs of the shifted world (`pairjepa.apps.demo_pair`). Writes docs/pretrained-pair.json.
"""

import sys
from pathlib import Path
from typing import Any

from cyclopts import App
from results import ROOT

import pairjepa
from pairjepa.apps.demo_pair import CLIP, shifted, small_clip
from pairjepa.config.settings import DataConfig
from pairjepa.evaluation.tables import markdown
from pairjepa.util.files import read_json, write_json

app = App(help_format="plaintext")


def measured(folder: Path, seed: int, epochs: int) -> dict[str, Any]:
    """One seed: rsum on test of chance, the pretrained and the adapted pair, there and at home."""
    home = str(CLIP["data.source"])
    learned = {"training.epochs": epochs, "training.batch_size": 128, "training.warmup": 0.05}
    learned |= {"training.seed": seed}
    pair = small_clip(folder / f"clip-{seed}", CLIP | learned)
    world = shifted(folder / f"shifted-{seed}.parquet", seed)
    settings = {"data.source": str(world), "model.pair": str(pair), "training.seed": seed}
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
    } | {"adapter_scale": read_json(adapted / "summary.json", "The summary")["adapter_scale"]}


@app.default
def study(*, seeds: int = 3, epochs: int = 100, work: Path = Path("runs/pretrained-pair")) -> None:
    """Measure, print, write; `epochs` are those of the CLIP's own training."""
    found = [measured(work, seed, epochs) for seed in range(seeds)]
    rows = [["rsum, test", "chance", "pretrained", "adapted", "gained (95 % interval)"]]
    for where in ("shifted", "home"):
        for number, seed in enumerate(found):
            one = seed[where]
            cells = [f"{one[name]:.1f}" for name in ("chance", "pretrained", "adapted")]
            gained = f"{one['gain']:+.1f} ({one['ci'][0]:+.1f} to {one['ci'][1]:+.1f})"
            rows.append([f"{where}, seed {number}", *cells, gained])
    print(markdown(rows))
    write_json(ROOT / "docs" / "pretrained-pair.json", {"seeds": found})


if __name__ == "__main__":
    app(sys.argv[1:])
