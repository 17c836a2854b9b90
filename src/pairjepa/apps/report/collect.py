"""All that a report shows, from what `evaluate` left on disk: no model is loaded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from pairjepa.apps.report.curves import cosines, margins, recall_curves
from pairjepa.apps.report.examples import examples, twin_examples
from pairjepa.apps.report.projection import check_method, project
from pairjepa.apps.report.verdicts import verdicts
from pairjepa.evaluation.compare import Evaluated, compare, evaluated
from pairjepa.evaluation.illustrations import Illustrations
from pairjepa.evaluation.stored import read_evaluation
from pairjepa.metrics.geometry import spectrum
from pairjepa.metrics.occurrence import occurrence
from pairjepa.metrics.over_seeds import over_seeds
from pairjepa.metrics.relevance import Relevance
from pairjepa.metrics.retrieval import best_scores, retrieve
from pairjepa.model import correction
from pairjepa.run.folder import RunFolder
from pairjepa.util.errors import UsageError, unknown
from pairjepa.util.progress import say
from pairjepa.util.words import counted

SPLITS = ("train", "dev", "test")
POINTS = 6_000
WIDEST_SPECTRUM = 512


def collect(
    runs: Sequence[str | Path],
    split: str = "test",
    *,
    projection: str = "tsne",
    seed: int = 0,
    points: int = POINTS,
) -> dict[str, Any]:
    """Everything that a report of these runs shows.

    Of a seed group the first seed is shown, and the mean and standard deviation over its seeds stand in the run's
    `seeds`. Relevance is by owner throughout. What cannot be had is `None`, and `notes` says why.

    Args:
        runs: Run folders or seed groups, each evaluated on the split; the others are compared with the first.
        split: train, dev or test.
        projection: tsne, pca or umap.
        seed: Of the projection, the clusters and the samples.
        points: Most points of the projection, predictions and targets together.

    Returns:
        A dict that is ready for JSON but for the pictures, which are bytes; `docs/report.md` describes it.

    Raises:
        UsageError: there is no run, or the split or the projection is unknown.
        PairJEPAError: a run is not there or not evaluated, the runs were evaluated on other images, or what the
            projection needs is not installed.
    """
    if not runs:
        raise UsageError("report must have at least one run, got none. Name a run folder.")
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if points < 1:
        raise UsageError(f"points must be at least 1, got {points}.")
    if not 0 <= seed < 2**32:
        raise UsageError(f"seed must be between 0 and {2**32 - 1}, got {seed}.")
    check_method(projection)
    groups = evaluated(runs, split)
    say("reading the runs and making the map of each: about half a minute a run with t-SNE")
    evaluations = {
        name: [read_evaluation(one.run, one.kind, one.embeddings.run, one.command) for one in group]
        for name, group in groups.items()
    }
    first = next(iter(groups.values()))[0].embeddings
    notes: list[str] = []
    pictures = {name: _illustrations(name, group[0], split, notes) for name, group in groups.items()}
    thumbnails = [
        next(filter(None, each), None)
        for each in zip(*(p.thumbnails for p in pictures.values()), strict=True)
    ]
    missing = sum(picture is None for picture in thumbnails)
    if missing and any(of.run for of in pictures.values()):
        notes.append(f"Images without a thumbnail: {missing:,} of {len(thumbnails):,}.")
    about = next(iter(evaluations.values()))[0]
    settings = {"method": projection, "seed": seed, "points": points}
    with threadpool_limits(1):  # problems this small are no quicker on several threads
        shown = [
            _run(name, group, evaluations[name], pictures[name], thumbnails, settings, notes)
            for name, group in groups.items()
        ]
    return {
        "split": first.split,
        "relevance": "owner",
        "description": about["data"]["description"],
        "generated": about["data"]["generated"],
        "images": len(first.names),
        "captions": len(first.captions),
        "names": list(first.names),
        "texts": list(first.captions),
        "owner": first.owner.tolist(),
        "thumbnails": thumbnails,
        "runs": shown,
        "notes": notes,
        "compare": compare(runs, split) if len(groups) > 1 else None,
    }


def _illustrations(name: str, one: Evaluated, split: str, notes: list[str]) -> Illustrations:
    images = len(one.embeddings.names)
    if one.other:
        notes.append(f"{name} was trained on other pairs: nothing is shown of it that needs pictures.")
        return Illustrations([None] * images, [], [], "")
    folder = one.run.path / "illustrations" / split
    found = Illustrations.load(folder, images)
    if not folder.is_dir():
        notes.append(f"{name} has no pictures to show. They are made by: {one.command}.")
    elif found.run != one.embeddings.run:
        notes.append(
            f"The pictures of {name} are of other weights and left out. Make them again: {one.command}."
        )
        return Illustrations([None] * images, [], [], "")
    notes.extend(f"{name}: {note}" for note in found.notes)
    return found


def _run(
    name: str,
    group: list[Evaluated],
    evaluations: list[dict[str, Any]],
    pictures: Illustrations,
    thumbnails: list[bytes | None],
    settings: dict[str, Any],
    notes: list[str],
) -> dict[str, Any]:
    run, found, evaluation, seed = group[0].run, group[0].embeddings, evaluations[0], settings["seed"]
    image, text, owner = np.asarray(found.image), np.asarray(found.text), found.owner
    relevance = Relevance.by_owner(owner, len(image))
    ranks = retrieve(image, text, owner, relevance)
    of_images = best_scores(image, text, relevance)
    of_texts = best_scores(text, image, relevance.transposed())
    if len(group) > 1:
        notes.append(
            f"{name} has {len(group)} seeds: what is shown is seed {run.config.training.seed}; mean ± standard "
            "deviation over the seeds stand beside its recalls."
        )
    if run.summary is None:
        notes.append(f"The training of {name} is not complete: this is its best epoch so far.")
        say(f"warning: {notes[-1]}")
    history = training(run)
    if history is None:
        notes.append(f"{name} has no record of its epochs (metrics.jsonl).")
    elif len(history["epoch"]) == 1:
        notes.append(f"{name} was trained for one epoch: there is no course to show.")
    notes.extend(f"{name}: {note}" for note in evaluation["notes"])
    say(
        f"{name}: a map of {counted(len(image), 'image')} and {counted(len(text), 'caption')} by {settings['method']}"
    )
    chart, said = project(found, **settings)
    if said is not None:
        notes.append(f"{name}: {said}")
    kept = None if group[0].other else correction.load(run.path, found.run)
    geometry: dict[str, Any] = {
        "spectrum": {
            side: spectrum(rows)[:WIDEST_SPECTRUM].tolist()
            for side, rows in (("prediction", image), ("target", text))
        },
        "hubness": {"image_to_text": occurrence(image, text), "text_to_image": occurrence(text, image)},
        "hubness_corrected": None
        if kept is None
        else {way: occurrence(*sides) for way, sides in kept.directions(image, text).items()},
    }
    margin = margins(*of_images, seed=seed)
    if margin is None:
        notes.append(f"{name}: every caption belongs to the one image, so there is nothing to tell apart.")
    shown = np.array([picture is not None for picture in thumbnails])
    drawn = {key: evaluation["bootstrap"][key] for key in ("draws", "seed")}
    shown_run = {
        "name": name,
        "path": str(run.path),
        "recipe": run.config.recipe,
        "seed": run.config.training.seed,
        "seeds": _seeds(evaluations),
        "weights": found.run,
        "complete": run.summary is not None,
        "config": run.config.to_dict(),
        "backbones": run.record.get("backbones", {}),
        "versions": run.record["versions"],
        "warnings": (run.summary or {}).get("warnings", []),
        "evaluation": evaluation,
        "recall_curve": recall_curves(ranks, relevance, **drawn),
        "cosine": cosines(found, seed=drawn["seed"]),
        "margin": margin,
        "training": history,
        "geometry": geometry,
        "projection": chart,
        "examples": {
            "image_to_text": examples(
                image,
                text,
                relevance,
                ranks.image_to_text,
                _difference(*of_images),
                shown,
                np.arange(len(image)),
            ),
            "text_to_image": examples(
                text,
                image,
                relevance.transposed(),
                ranks.text_to_image,
                _difference(*of_texts),
                shown[owner],
                owner,
            ),
        },
        "partial": pictures.partial,
        "twins": twin_examples(pictures.twins, owner.tolist()),
        "saliency": pictures.saliency,
    }
    geometry["verdicts"] = verdicts(shown_run)
    return shown_run


def _seeds(evaluations: list[dict[str, Any]]) -> dict[str, Any] | None:
    if len(evaluations) == 1:
        return None
    group = over_seeds(evaluations)
    return {"seeds": [one["seed"] for one in group["seeds"]], "mean": group["mean"], "sd": group["sd"]}


def _difference(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Margin of each query; 0 where there is nothing else to find."""
    return np.where(np.isneginf(other), np.float32(0), own - np.where(np.isneginf(other), own, other))


def training(run: RunFolder) -> dict[str, Any] | None:
    """The run's `metrics.jsonl`, a list an epoch for each number; `None` where no epoch was kept.

    `dev` and `train` have `rsum`, each way's recalls, `matched` and `random` cosine, `alignment`, `modality_gap`, and
    of both sides uniformity, effective rank and deviation per dimension; `train` is `None` in the epochs that did not
    measure it. `possible_rank` is the greatest effective rank that either side of dev could have, `dev_images` how many
    images it has.
    """
    lines = run.metrics()
    if not lines:
        return None
    dev = [_flat(line["dev"]) for line in lines]
    train = [_flat(line["train"]) if line["train"] is not None else {} for line in lines]
    return {
        "epoch": [line["epoch"] for line in lines],
        "best_epoch": best_epoch(run, lines),
        "closed_form_share": (run.summary or {}).get("closed_form_share"),
        "dev": {name: [of[name] for of in dev] for name in dev[0]},
        "train": {name: [of.get(name) for of in train] for name in dev[0]},
        "loss": [line["loss"] for line in lines],
        "terms": {name: [line["terms"][name] for line in lines] for name in lines[0]["terms"]},
        "temperature": [line["temperature"] for line in lines],
        "learning_rate": [line["learning_rate"] for line in lines],
        "possible_rank": max(lines[-1]["possible_rank"].values()),
        "dev_images": run.record["data"]["splits"]["dev"]["images"],
    }


def best_epoch(run: RunFolder, lines: list[dict[str, Any]]) -> int:
    """The epoch whose weights the run holds: the first with the highest dev rsum."""
    if run.summary is not None:
        return run.summary["best_epoch"]
    return max(lines, key=lambda line: line["dev"]["rsum"])["epoch"]


def _flat(measured: dict[str, Any]) -> dict[str, float | None]:
    """One level of names for a chart: `image_to_text_R@1`, `uniformity_prediction`, and plain `matched`."""
    flat: dict[str, float | None] = {}
    for name, value in measured.items():
        if isinstance(value, dict):
            short = {"cosine": "", "deviation_per_dim": "deviation_"}.get(name, f"{name}_")
            flat |= {f"{short}{part}": number for part, number in value.items()}
        else:
            flat[name] = value
    return flat
