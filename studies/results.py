"""The numbers of the README: train, evaluate and compare on real pairs, over seeds, and write the tables.

    python studies/results.py DATA --text TXT --image EfficientNet-Lite2=FOLDER --image MobileNetV2=FOLDER

Trains `contrastive` and `masked` on the first image backbone and `contrastive` on the others, writes
docs/results.json, and fills the blocks between `<!-- NAME -->` and `<!-- /NAME -->` of README.md and docs/masked.md.
What is finished under --work is not done again.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from pairjepa.config.recipes import recipe
from pairjepa.evaluation import compare as comparison
from pairjepa.evaluation.evaluate import evaluate
from pairjepa.evaluation.tables import COLUMNS, cells, markdown
from pairjepa.training.train import train_seeds
from pairjepa.util.files import atomic_path, write_json

ROOT = Path(__file__).parent.parent
app = App(help_format="plaintext")


@app.default
def results(
    data: str,
    /,
    *,
    text: str,
    image: Sequence[str],
    seeds: int = 3,
    work: Path = Path("runs/results"),
    docs: Annotated[Path, Parameter(help="Folder of README.md and docs/.")] = ROOT,
) -> None:
    """Measure and write."""
    backbones = dict(name.split("=", 1) for name in image)
    first = next(iter(backbones))
    found: dict[str, Any] = {}
    for name, folder in backbones.items():
        for approach in ("contrastive", "masked") if name == first else ("contrastive",):
            values = {"data.source": data, "model.image": folder, "model.text": text}
            run = work / f"{approach}-{name}"
            train_seeds(recipe(approach, values), None, run, seeds)
            found[f"{approach}, {name}"] = _short(evaluate(run, "test"))
    compared = comparison.compare([work / f"contrastive-{first}", work / f"masked-{first}"])
    record = {
        "seeds": seeds,
        "runs": found,
        "verdict": list(compared["verdict"].values()),
        "cost": _costs(compared),
    }
    write_json(docs / "docs" / "results.json", record)
    fill(docs / "README.md", "results", recall_table(record))
    fill(docs / "docs" / "masked.md", "results", partial_table(record))


def recall_table(record: dict[str, Any]) -> str:
    """Recalls of every run beside chance and CCA, and the verdict of the comparison."""
    rows = [["test", *(f"{way.replace('_to_', '→')} {name}" for way, name in COLUMNS), "rsum"]]
    for name, run in record["runs"].items():
        backbone = name.split(", ")[1]
        for label, baseline in (("chance", "chance"), (f"CCA, {backbone}", "cca")):
            if label not in [row[0] for row in rows]:
                rows.append([label, *(f"{value:.1f}" for value, _ in cells(run["baselines"][baseline]))])
        means = zip(cells(run["mean"]), cells(run["sd"]), strict=True)
        rows.append([name, *(f"{mean:.1f} ± {sd:.1f}" for (mean, _), (sd, _) in means)])
    said = (
        f"Recall@K in percent and rsum, the sum of the six: mean ± standard deviation over {record['seeds']} seeds, "
        f"{record['runs'][name]['images']:,} test images and {record['runs'][name]['captions']:,} captions, image-only "
        "queries."
    )
    return "\n\n".join([markdown(rows), said, *record["verdict"]])


def partial_table(record: dict[str, Any]) -> str:
    """What a part of the caption adds to the image, and the image to it; means over seeds."""
    run = next(run for name, run in record["runs"].items() if name.startswith("masked"))
    rows = [["caption hidden", "image + caption", "shuffled image", "text only"]]
    for ratio, one in run["partial"].items():
        rows.append([f"{float(ratio):.0%}", *(f"{one[key]:.1f}" for key in ("own", "shuffled", "text_only"))])
    return markdown(rows)


def fill(page: Path, name: str, block: str) -> None:
    """Put `block` between the page's markers of that name."""
    text = page.read_text(encoding="utf-8")
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    head, _, rest = text.partition(start)
    _, _, tail = rest.partition(end)
    with atomic_path(page) as temporary:
        temporary.write_text(f"{head}{start}\n\n{block}\n\n{end}{tail}", encoding="utf-8")


def _short(group: dict[str, Any]) -> dict[str, Any]:
    """Numbers alone: no path, no name."""
    seeds = group["seeds"]
    short = {key: seeds[0][key] for key in ("images", "captions", "baselines")} | {
        "mean": group["mean"],
        "sd": group["sd"],
        "rsum_by_seed": {seed["seed"]: seed["rsum"] for seed in seeds},
        "rsum_ci_by_seed": {seed["seed"]: seed["rsum_ci"] for seed in seeds},
        "beats_cca_by_seed": {seed["seed"]: seed["beats_cca"] for seed in seeds},
    }
    if "partial" in seeds[0]:
        short["partial"] = {
            ratio: {
                "own": _mean(seed["partial"][ratio]["R@1"] for seed in seeds),
                "shuffled": _mean(seed["partial"][ratio]["shuffled"]["R@1"] for seed in seeds),
                "text_only": _mean(seed["partial"][ratio]["text_only"]["R@1"] for seed in seeds),
                "over_shuffled_by_seed": [seed["partial"][ratio]["over_shuffled"]["R@1"] for seed in seeds],
                "over_text_only_by_seed": [seed["partial"][ratio]["over_text_only"]["R@1"] for seed in seeds],
            }
            for ratio in seeds[0]["partial"]
        }
    return short


def _mean(values: Any) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)


def _costs(compared: dict[str, Any]) -> list[Any]:
    return [run["cost"] for run in compared["runs"].values()]


if __name__ == "__main__":
    app(sys.argv[1:])
