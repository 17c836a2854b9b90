"""The numbers of the README: train, evaluate and compare on real pairs, over seeds, and write the tables.

    python studies/results.py DATA --text TXT --image EfficientNet-Lite2=FOLDER --image MobileNetV2=FOLDER

Trains `contrastive` and `masked` on the first image backbone, `contrastive` on the others, and on all side by side with
two captions of an image in a batch; the seeds of the last are measured as one model, too. Writes
docs/results.json, and fills the blocks between `<!-- NAME -->` and `<!-- /NAME -->` of README.md and docs/masked.md.
What is finished under --work is not done again.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Any

from cyclopts import App, Parameter

from pairjepa.config.recipes import recipe
from pairjepa.evaluation import compare as comparison
from pairjepa.evaluation.ensemble import evaluate_ensemble
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
    first, together = next(iter(backbones)), " + ".join(backbones)
    runs: dict[str, tuple[str, Any, dict[str, Any]]] = {
        f"{approach}, {name}": (approach, folder, {})
        for name, folder in backbones.items()
        for approach in (("contrastive", "masked") if name == first else ("contrastive",))
    }
    last = f"contrastive, {together}, two captions"
    runs[last] = ("contrastive", tuple(backbones.values()), {"training.captions_per_image": 2})
    found: dict[str, Any] = {}
    for name, (approach, images, values) in runs.items():
        given = {"data.source": data, "model.image": images, "model.text": text} | values
        train_seeds(recipe(approach, given), None, work / name, seeds)
        found[name] = _short(evaluate(work / name, "test"))
    one = evaluate_ensemble([work / last], "test")
    ensemble = {key: one[key] for key in ("image_to_text", "text_to_image", "rsum", "corrected")}
    compared = comparison.compare([work / f"contrastive, {first}", work / f"masked, {first}"])
    record = {
        "seeds": seeds,
        "runs": found,
        "ensemble": ensemble,
        "verdict": [said.replace(f", {first}", "") for said in compared["verdict"].values()],
        "cost": [run["cost"] for run in compared["runs"].values()],
    }
    write_json(docs / "docs" / "results.json", record)
    fill(docs / "README.md", "results", recall_table(record))
    fill(docs / "docs" / "masked.md", "results", partial_table(record))


def recall_table(record: dict[str, Any]) -> str:
    """Recalls of every run beside chance and CCA, and the verdict of the comparison."""
    columns = [f"{way.replace('_to_', '→')} {name}" for way, name in COLUMNS]
    rows = [["test", *columns, "rsum", "corrected"]]
    for name, run in record["runs"].items():
        backbone = name.split(", ")[1]
        for label, baseline in (("chance", "chance"), (f"CCA, {backbone}", "cca")):
            if label not in [row[0] for row in rows]:
                rows.append([label, *_row(run["baselines"][baseline])])
        means = zip(cells(run["mean"]), cells(run["sd"]), strict=True)
        corrected = f"{mean(run['corrected_rsum_by_seed']):.1f}±{stdev(run['corrected_rsum_by_seed']):.1f}"
        rows.append([name, *(f"{middle:.1f}±{sd:.1f}" for (middle, _), (sd, _) in means), corrected])
    rows.append([f"the {record['seeds']} seeds as one model", *_row(record["ensemble"])])
    said = (
        "Recall@K in percent, rsum (the sum of the six) and rsum corrected for hubs: mean ± standard deviation over "
        f"{record['seeds']} seeds, {run['images']:,} images and {run['captions']:,} captions, image-only queries."
    )
    return "\n\n".join([markdown(rows), said, *record["verdict"]])


def _row(result: dict[str, Any]) -> list[str]:
    corrected = result.get("corrected")
    return [*(f"{value:.1f}" for value, _ in cells(result)), f"{corrected['rsum']:.1f}" if corrected else ""]


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
        "corrected_rsum_by_seed": [seed["corrected"]["rsum"] for seed in seeds],
        "rsum_ci_by_seed": {seed["seed"]: seed["rsum_ci"] for seed in seeds},
        "beats_cca_by_seed": {seed["seed"]: seed["beats_cca"] for seed in seeds},
    }
    if "partial" in seeds[0]:
        partial = {ratio: [seed["partial"][ratio] for seed in seeds] for ratio in seeds[0]["partial"]}
        short["partial"] = {ratio: _partial(of) for ratio, of in partial.items()}
    return short


def _partial(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    means = {key: mean(one[key]["R@1"] for one in seeds) for key in ("shuffled", "text_only")}
    gaps = {
        f"{key}_by_seed": [one[key]["R@1"] for one in seeds] for key in ("over_shuffled", "over_text_only")
    }
    return {"own": mean(one["R@1"] for one in seeds)} | means | gaps


if __name__ == "__main__":
    app(sys.argv[1:])
