"""Which encoder, which recipe, how many pairs: rsum on the test split by the number of training images.

    python studies/how_many_pairs.py DATA --text TXT --image EfficientNet-Lite2=FOLDER --image MobileNetV2=FOLDER

Each seed draws its own training images, trains `contrastive` on every image backbone and `masked` on the first, and
measures the whole test split. Writes docs/how-many-pairs.json and .png and the table in docs/choosing.md. What is
finished under --work is not done again.
"""

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cyclopts import App
from results import ROOT, fill

from pairjepa.config.recipes import recipe
from pairjepa.evaluation.evaluate import evaluate
from pairjepa.evaluation.tables import markdown
from pairjepa.pairs.table import Pairs
from pairjepa.training.train import train
from pairjepa.util.files import write_json
from pairjepa.util.progress import say

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # Okabe and Ito 2008

app = App(help_format="plaintext")


@app.default
def how_many_pairs(
    data: str,
    /,
    *,
    text: str,
    image: Sequence[str],
    images: Sequence[int] = (500, 1000, 2000, 4000, 6000),
    seeds: int = 3,
    work: Path = Path("runs/how-many-pairs"),
) -> None:
    """Measure and write."""
    pairs = Pairs.open(data)
    backbones = dict(name.split("=", 1) for name in image)
    first = next(iter(backbones))
    planned = [("contrastive", name) for name in backbones] + [("masked", first)]
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for approach, name in planned:
        for count in images:
            measured = []
            for seed in range(seeds):
                values = {
                    "data.source": data,
                    "model.image": backbones[name],
                    "model.text": text,
                    "training.seed": seed,
                }
                run = work / f"{approach}-{name}" / str(count) / f"seed-{seed}"
                say(f"{approach}, {name}, {count:,} images, seed {seed}:")
                some = fewer(pairs, count, seed)
                train(recipe(approach, values), some, run)
                measured.append(evaluate(run, "test", pairs=some))
            found.setdefault(f"{approach}, {name}", {})[count] = _spread([one["rsum"] for one in measured])
            if approach == "contrastive":
                cca = _spread([one["baselines"]["cca"]["rsum"] for one in measured])
                found.setdefault(f"CCA, {name}", {})[count] = cca
    record = {"data": pairs.description, "split": "test", "seeds": seeds, "rsum": found}
    write_json(ROOT / "docs" / "how-many-pairs.json", record)
    fill(ROOT / "docs" / "choosing.md", "how-many-pairs", table(record))
    draw(record, ROOT / "docs" / "how-many-pairs.png")


def fewer(pairs: Pairs, images: int, seed: int) -> Pairs:
    """The pairs with only so many training images, drawn by the seed; dev and test stay whole."""
    splits = pairs.table["split"].to_numpy()
    train = np.flatnonzero(splits == "train")
    if images >= len(train):
        return pairs
    chosen = np.random.default_rng(seed).permutation(train)[:images]
    return pairs.take(np.sort(np.concatenate([chosen, np.flatnonzero(splits != "train")])))


def table(record: dict[str, Any]) -> str:
    """A row a model, a column a number of training images."""
    counts = list(next(iter(record["rsum"].values())))
    rows = [["rsum, test", *(f"{int(count):,} images" for count in counts)]]
    for name, by_count in record["rsum"].items():
        rows.append([name, *(f"{one['mean']:.1f} ± {one['sd']:.1f}" for one in by_count.values())])
    return f"{markdown(rows)}\n\nMean ± standard deviation over {record['seeds']} seeds; each draws its own images."


def draw(record: dict[str, Any], path: Path) -> None:
    """The table as curves: colour for the backbone, line for the approach."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    names = list(record["rsum"])
    backbones = list(dict.fromkeys(name.split(", ")[1] for name in names))
    styles = {"contrastive": ("-", "o"), "masked": ("--", "s"), "CCA": (":", "^")}
    for name in names:
        approach, backbone = name.split(", ")
        points = record["rsum"][name]
        line, marker = styles[approach]
        axes.errorbar(
            [int(count) for count in points],
            [one["mean"] for one in points.values()],
            [one["sd"] for one in points.values()],
            color=COLOURS[backbones.index(backbone)],
            linestyle=line,
            marker=marker,
            capsize=3,
            label=name,
        )
    counts = [int(count) for count in next(iter(record["rsum"].values()))]
    axes.set_xscale("log")
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.minorticks_off()
    axes.set_xlabel("training images")
    axes.set_ylabel("rsum on test (at most 600)")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150, metadata={"Software": None})


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "mean": statistics.fmean(values),
        "sd": statistics.stdev(values) if len(values) > 1 else 0.0,
    }


if __name__ == "__main__":
    app(sys.argv[1:])
