"""Align or predict: recall, hard negatives and partial captions of the recipes on one data set, at the same epochs.

    python studies/align_or_predict.py DATA --text FOLDER --image FOLDER [--split test] [--recipes NAME]

Trains each of `RECIPES`, or those named (a flag each), over three seeds, evaluates and compares them, and writes
docs/align-or-predict.json and the block `study` of docs/masked.md. What is finished under --work is not done again.
"""

import sys
from pathlib import Path
from typing import Any

from cyclopts import App
from results import ROOT, evaluated, fill

from pairjepa.config.recipes import recipe
from pairjepa.evaluation.compare import compare
from pairjepa.evaluation.tables import markdown
from pairjepa.training.train import train_seeds
from pairjepa.util.files import write_json

RECIPES: dict[str, tuple[str, dict[str, Any]]] = {
    "contrastive": ("contrastive", {}),
    "masked": ("masked", {}),
    **{f"predict-align-{x:g}": ("predict-align", {"objective.weights.info_nce": x}) for x in (0.1, 1.0)},
    "two-way": ("two-way", {}),
    "contrastive-twins": ("contrastive", {"objective.weights.hard_negatives": 1.0}),
    "contrastive-twins-2": ("contrastive", {"objective.weights.hard_negatives": 2.0}),
    "masked-twins": ("masked", {"objective.weights.hard_negatives": 1.0}),
}
app = App(help_format="plaintext")


@app.default
def study(
    data: str,
    /,
    *,
    text: str,
    image: str,
    seeds: int = 3,
    epochs: int = 40,
    split: str = "dev",
    recipes: tuple[str, ...] = tuple(RECIPES),
    work: Path = Path("runs/align-or-predict"),
) -> None:
    """Measure and write."""
    given: dict[str, Any] = {"data.source": data, "model.text": text, "model.image": image}
    given |= {"model.text_pooling": "mean", "training.epochs": epochs}
    # the same for all, so that they cost about the same
    given |= {"training.captions_per_image": 1, "training.batch_size": 1000}
    found = {}
    for name in recipes:
        base, values = RECIPES[name]
        train_seeds(recipe(base, given | values), None, work / name, seeds)
        found[name] = evaluated(work / name, split)
    compared = compare([work / name for name in recipes], split)
    record = {key: compared[key] for key in ("split", "runs", "differences", "hard_negatives", "verdict")}
    record |= {
        "epochs": epochs,
        "seeds": {name: [_short(seed) for seed in of] for name, of in found.items()},
    }
    write_json(ROOT / "docs" / "align-or-predict.json", record)
    fill(ROOT / "docs" / "masked.md", "study", "\n\n".join(map(markdown, tables(record))))


def _short(result: dict[str, Any]) -> dict[str, Any]:
    """Of one seed: hard negatives over CCA, and partial captions over the words alone, by hidden share."""
    partial = (result.get("partial") or {}).items()
    return {
        "hard_negatives_over_cca": result["hard_negatives"]["all"]["over_cca"],
        "over_text_only": {ratio: of["over_text_only"]["R@1"] for ratio, of in partial},
    }


def tables(record: dict[str, Any]) -> list[list[list[str]]]:
    """Recall and hard negatives beside contrastive and CCA, by kind, and partial captions beside the words alone."""
    hard = record["hard_negatives"]
    kinds = list(next(iter(hard["runs"].values())))
    columns = "image-only rsum,over contrastive,hard negatives,over contrastive,over CCA"
    rows = [["", *columns.split(",")]]
    by_kind = [["hard negatives", *kinds]]
    ratios = {ratio: None for of in record["seeds"].values() for ratio in of[0]["over_text_only"]}
    partial = [["R@1, over text only", *ratios]]
    for name, seeds in record["seeds"].items():
        both = (record["differences"].get(name, {}).get("rsum"), hard["differences"].get(name, {}).get("all"))
        recall, twins = (_gap([gap] if gap else []) for gap in both)
        own = [f"{record['runs'][name]['rsum']:.1f}", recall, f"{hard['runs'][name]['all']:.1f}", twins]
        cca = _gap([seed["hard_negatives_over_cca"] for seed in seeds])
        rows.append([name, *own, cca])
        by_kind.append([name, *(f"{hard['runs'][name][kind]:.1f}" for kind in kinds)])
        if seeds[0]["over_text_only"]:
            gaps = [[seed["over_text_only"][ratio] for seed in seeds] for ratio in ratios]
            partial.append([name, *map(_gap, gaps)])
    return [rows, by_kind, partial]


def _gap(seeds: list[dict[str, Any]]) -> str:
    """A difference with its interval, of each seed."""
    return "; ".join(f"{of['difference']:+.1f} [{of['ci'][0]:+.1f}, {of['ci'][1]:+.1f}]" for of in seeds)


if __name__ == "__main__":
    app(sys.argv[1:])
