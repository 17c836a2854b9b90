"""The numbers of the README: train, evaluate and compare on real pairs, over seeds, and write the tables.

    python studies/results.py DATA --text TXT --image EfficientNet-Lite2=FOLDER --image MobileNetV2=FOLDER

Each of `steps` is trained and measured. Writes docs/results.json, the tables on test in README.md and docs/masked.md,
and on dev what each step brings and costs in docs/choosing.md, between `<!-- NAME -->` and `<!-- /NAME -->`. What is
finished under --work is not done again. docs/masked.md has the last step's hard negatives by kind. With `--step NAME`
(several times) only these and the first are measured, for the others docs/results.json has been.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Any

from cyclopts import App, Parameter

from pairjepa.config.recipes import recipe
from pairjepa.evaluation.compare import compare
from pairjepa.evaluation.ensemble import evaluate_ensemble
from pairjepa.evaluation.evaluate import evaluate
from pairjepa.evaluation.stored import read_evaluation
from pairjepa.evaluation.tables import COLUMNS, cells, markdown
from pairjepa.metrics.over_seeds import MEASURED, over_seeds
from pairjepa.run.seeds import runs_at
from pairjepa.training.train import train_seeds
from pairjepa.util.errors import PairJEPAError, unknown
from pairjepa.util.files import atomic_path, read_json, write_json

ROOT = Path(__file__).parent.parent
app = App(help_format="plaintext")


def steps(
    backbones: dict[str, str], size: int, work: Path
) -> dict[str, tuple[str, Any, dict[str, Any], str]]:
    """Name of a group of runs → recipe, image backbones, settings, and what it costs more than the first."""
    first, together = next(iter(backbones)), " + ".join(backbones)
    one, several = backbones[first], tuple(backbones.values())
    large, two = {"model.image_size": size}, {"training.captions_per_image": 2}
    teachers = f"contrastive, {together}, two captions"
    taught = {"training.teachers": (str(work / teachers),), "objective.weights.distillation": 1.0}
    pixels = f"{(size / 224) ** 2:.1f} times the pixels"
    both = f"the second backbone, {pixels}"
    return {
        f"contrastive, {first}": ("contrastive", one, {}, ""),
        f"masked, {first}": ("masked", one, {}, "masked captions, the control"),
        teachers: ("contrastive", several, two, "the second backbone"),
        f"contrastive, {first}, {size} px": ("contrastive", one, large, pixels),
        f"tuned, {first}, {size} px": ("contrastive-tuned", one, large, f"{pixels}, tuned text"),
        f"taught, {together}, {size} px": (
            "contrastive-tuned",
            several,
            large | two | taught,
            f"{both}, tuned text, three teachers",
        ),
        f"twins, {together}, {size} px": (
            "contrastive",
            several,
            large | two | taught | {"objective.weights.hard_negatives": 2.0},
            f"{both}, three teachers, twins as negatives",
        ),
    }


@app.default
def results(
    data: str,
    /,
    *,
    text: str,
    image: Sequence[str],
    seeds: int = 3,
    size: int = 256,
    step: Annotated[Sequence[str], Parameter(help="A step to measure; all, if none is named.")] = (),
    work: Path = Path("runs/results"),
    docs: Annotated[Path, Parameter(help="Folder of README.md and docs/.")] = ROOT,
) -> None:
    """Measure and write."""
    backbones = dict(name.split("=", 1) for name in image)
    planned, path = steps(backbones, size, work.absolute()), docs / "docs" / "results.json"
    first, second, *_, twins = planned
    if wrong := [name for name in step if name not in planned]:
        raise unknown("step", wrong[0], planned)
    chosen = [name for name in planned if not step or name in (first, *step)]
    for name in chosen:
        approach, images, values, _ = planned[name]
        given = {"data.source": data, "model.image": images, "model.text": text} | values
        train_seeds(recipe(approach, given), None, work / name, seeds)
    record = read_json(path, "The record") if step else {"test": {}, "dev": {}}
    record["seeds"] = seeds
    for split in ("test", "dev"):
        record[split] = {name: of for name, of in record[split].items() if name in planned}
        record[split] |= {name: _short(evaluated(work / name, split)) for name in chosen}
    gains = compare([work / name for name in chosen], "dev")["corrected"]["differences"]
    for name, gain in gains.items():
        record["dev"][name]["gain"] = gain["rsum"]
    for name in chosen:
        if name.startswith("taught"):
            for split in ("test", "dev"):
                together = evaluate_ensemble([work / name], split)
                record[split][name]["ensemble"] = {key: together[key] for key in (*MEASURED, "corrected")}
    if second in chosen:
        said = compare([work / name for name in (first, second)])["verdict"].values()
        record["verdict"] = [one.replace(f", {next(iter(backbones))}", "") for one in said]
    write_json(path, record)
    known = [name for name in planned if name in record["test"]]
    shown = [name for name in known if name in (first, second) or name.startswith(("tuned", "taught"))]
    fill(docs / "README.md", "results", recall_table(record, shown))
    fill(docs / "docs" / "masked.md", "results", partial_table(record["test"][second]))
    if twins in chosen:
        fill(docs / "docs" / "masked.md", "twins", twins_table(record["test"], first, twins))
    costs = {name: planned[name][3] for name in known}
    fill(docs / "docs" / "choosing.md", "results", step_table(record, costs))


def evaluated(group: Path, split: str) -> list[dict[str, Any]]:
    """What the weights of each seed were measured at; measured if it was not."""
    try:
        return [read_evaluation(run, split, run.weights, "") for run in runs_at(group)]
    except PairJEPAError:
        return evaluate(group, split)["seeds"]


def recall_table(record: dict[str, Any], shown: Sequence[str]) -> str:
    """Recalls on test of the runs that are shown, beside chance and CCA, and the verdict of the comparison."""
    columns = [f"{way.replace('_to_', '→')} {name}" for way, name in COLUMNS]
    rows = [["test", *columns, "rsum", "corrected"]]
    for name in shown:
        run, backbones = record["test"][name], ", ".join(name.split(", ")[1:])
        for label, baseline in (("chance", "chance"), (f"CCA, {backbones}", "cca")):
            if label not in [row[0] for row in rows]:
                rows.append([label, *_row(run["baselines"][baseline])])
        means = zip(cells(run["mean"]), cells(run["sd"]), strict=True)
        recalls = (f"{middle:.1f}±{sd:.1f}" for (middle, _), (sd, _) in means)
        rows.append([name, *recalls, _spread(run["corrected_rsum_by_seed"])])
        if "ensemble" in run:
            rows.append([f"its {record['seeds']} seeds as one model", *_row(run["ensemble"])])
    said = (
        "Recall@K in percent, rsum (the sum of the six) and rsum corrected for hubs: mean ± standard deviation over "
        f"{record['seeds']} seeds, {run['images']:,} images and {run['captions']:,} captions, image-only queries."
    )
    return "\n\n".join([markdown(rows), said, *record["verdict"]])


def step_table(record: dict[str, Any], costs: dict[str, str]) -> str:
    """What each step brings on dev, over the first one, and what it costs."""
    rows = [["dev", "rsum", "corrected", "over the first, 95 % interval", "costs more"]]
    for name, more in costs.items():
        of = record["dev"][name]
        gain = of.get("gain")
        brings = f"{gain['difference']:+.1f} [{gain['ci'][0]:+.1f}, {gain['ci'][1]:+.1f}]" if gain else ""
        both = (_spread(list(of[key])) for key in ("rsum_by_seed", "corrected_rsum_by_seed"))
        rows.append([name, *both, brings, more])
        if one := of.get("ensemble"):
            rsums = (f"{sum_:.1f}" for sum_ in (one["rsum"], one["corrected"]["rsum"]))
            rows.append(["its seeds as one model", *rsums, "", ""])
    return markdown(rows)


def _spread(seeds: Sequence[float]) -> str:
    return f"{mean(seeds):.1f}±{stdev(seeds):.1f}"


def _row(result: dict[str, Any]) -> list[str]:
    corrected = result.get("corrected")
    return [*(f"{value:.1f}" for value, _ in cells(result)), f"{corrected['rsum']:.1f}" if corrected else ""]


def partial_table(run: dict[str, Any]) -> str:
    """What a part of the caption adds to the image, and the image to it; means over seeds."""
    rows = [["caption hidden", "image + caption", "shuffled image", "text only"]]
    for ratio, one in run["partial"].items():
        rows.append([f"{float(ratio):.0%}", *(f"{one[key]:.1f}" for key in ("own", "shuffled", "text_only"))])
    return markdown(rows)


def twins_table(test: dict[str, Any], first: str, twins: str) -> str:
    """By kind, how often a caption scores above its twin; of the controls and CCA what they have, means over seeds."""
    kinds = test[twins]["hard_negatives"]
    rows = [["test", *kinds]]
    rows += [
        [name, *(f"{kind['accuracy']:.1f}" for kind in test[name]["hard_negatives"].values())]
        for name in (first, twins)
    ]
    for label, key in (("another image", "blind"), ("the mean image", "prior"), ("CCA", "cca")):
        rows.append([label, *(f"{kind[key]:.1f}" for kind in kinds.values())])
    least = (min(ci[0] for ci in kind["over_cca_ci_by_seed"]) for kind in kinds.values())
    return markdown([*rows, ["over CCA, lowest bound of a seed", *(f"{bound:+.1f}" for bound in least)]])


def fill(page: Path, name: str, block: str) -> None:
    """Put `block` between the page's markers of that name."""
    text = page.read_text(encoding="utf-8")
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    head, _, rest = text.partition(start)
    _, _, tail = rest.partition(end)
    with atomic_path(page) as temporary:
        temporary.write_text(f"{head}{start}\n\n{block}\n\n{end}{tail}", encoding="utf-8")


def _short(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Numbers alone: no path, no name."""
    group, kinds = over_seeds(seeds), seeds[0]["hard_negatives"]
    short = {key: seeds[0][key] for key in ("images", "captions", "baselines")} | {
        "mean": group["mean"],
        "sd": group["sd"],
        "rsum_by_seed": [seed["rsum"] for seed in seeds],
        "corrected_rsum_by_seed": [seed["corrected"]["rsum"] for seed in seeds],
        "rsum_ci_by_seed": [seed["rsum_ci"] for seed in seeds],
        "beats_cca_by_seed": [seed["beats_cca"] for seed in seeds],
        "hard_negatives": {kind: _kind([seed["hard_negatives"][kind] for seed in seeds]) for kind in kinds},
    }
    if seeds[0].get("partial"):
        partial = {ratio: [seed["partial"][ratio] for seed in seeds] for ratio in seeds[0]["partial"]}
        short["partial"] = {ratio: _partial(of) for ratio, of in partial.items()}
    return short


def _kind(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    means = {key: mean(seed[key] for seed in seeds) for key in ("accuracy", "blind", "prior", "cca")}
    return means | {
        "by_seed": [seed["accuracy"] for seed in seeds],
        "over_cca_ci_by_seed": [seed["over_cca"]["ci"] for seed in seeds],
    }


def _partial(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    means = {key: mean(one[key]["R@1"] for one in seeds) for key in ("shuffled", "text_only")}
    gaps = {
        f"{key}_by_seed": [one[key]["R@1"] for one in seeds] for key in ("over_shuffled", "over_text_only")
    }
    return {"own": mean(one["R@1"] for one in seeds)} | means | gaps


if __name__ == "__main__":
    app(sys.argv[1:])
