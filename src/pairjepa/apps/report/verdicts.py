"""The verdicts on a run as its page shows them: each with a title, and its docstring for who has not met the number."""

import inspect
from collections.abc import Callable
from typing import Any

from pairjepa.evaluation.notes import rank_and_spread
from pairjepa.metrics import verdicts as judge
from pairjepa.metrics.verdicts import Verdict

Run = dict[str, Any]
SIDES = {"prediction": "image", "target": "text"}
"""Our word for each side, and the one that an evaluation has for it."""

VERDICTS: dict[str, tuple[str, Callable[[Run], Verdict | None]]] = {}
"""Key → title, and what judges; in the order of the page. `docs/report.md` has a section for each key."""


def verdicts(run: Run) -> list[dict[str, str]]:
    """All verdicts on one of the report's runs; what was not measured has none.

    Each has `key`, `title`, `value`, `verdict`, `meaning`, `level` (good, warn, bad, info) and `source`.
    """
    found = ((key, title, of, of(run)) for key, (title, of) in VERDICTS.items())
    return [
        {
            "key": key,
            "title": title,
            "value": one.value,
            "verdict": one.text,
            "meaning": " ".join((inspect.getdoc(of) or "").split()),
            "level": one.level,
            "source": f"docs/report.md#{key.replace('_', '-')}",
        }
        for key, title, of, one in found
        if one is not None
    ]


def verdict(title: str) -> Callable[[Callable[[Run], Verdict | None]], Callable[[Run], Verdict | None]]:
    """Register a verdict on a run (None: it was not measured) under its function's name."""

    def register(of: Callable[[Run], Verdict | None]) -> Callable[[Run], Verdict | None]:
        VERDICTS[of.__name__] = (title, of)
        return of

    return register


@verdict("Against chance")
def chance(run: Run) -> Verdict:
    """rsum is the sum of the six recalls. Chance is what a random ranking has: of few images it is high."""
    found = run["evaluation"]
    return judge.against_chance(
        found["rsum"], found["rsum_ci"], found["baselines"]["chance"]["rsum"], found["images"]
    )


@verdict("Against CCA")
def cca(run: Run) -> Verdict | None:
    """Ridge CCA is a closed formula on the same features: what it reaches needs no training."""
    gain = run["evaluation"]["beats_cca"]
    return gain and judge.against_cca(gain, run["evaluation"]["images"])


@verdict("Against the pretrained pair")
def pretrained(run: Run) -> Verdict | None:
    """What the model started from, on the same images: the gain is what training on these pairs has added."""
    gain = run["evaluation"].get("beats_pretrained")
    images = run["evaluation"]["images"]
    return gain and judge.against_pretrained(gain["rsum_difference"], gain["ci"], images)


@verdict("Matched against random pairs")
def separation(run: Run) -> Verdict | None:
    """AUC is the share of cases in which the pair that belongs together has the higher cosine.

    The matched cosine alone says nothing.
    """
    cosine = run["evaluation"]["cosine"]
    if cosine["random"] is None:
        return None
    found = judge.separation(cosine["auc"], run["evaluation"]["images"])
    means = " and ".join(judge.number(cosine[kind]["mean"]) for kind in ("matched", "random"))
    return found._replace(value=f"cosine {means}, {found.value}, overlap {judge.percent(cosine['overlap'])}")


@verdict("Effective rank")
def collapse(run: Run) -> Verdict:
    """How many directions a side spreads over.

    A collapsed side gives everything nearly the same embedding, and then a high cosine means nothing.
    """
    sides = [judge.collapse(*side) for side in rank_and_spread(run["evaluation"])]
    worst = min((side.level for side in sides), key=("bad", "warn", "info", "good").index)
    said = dict.fromkeys(side.text for side in sides if side.level == worst)
    return Verdict(worst, "; ".join(said), "; ".join(side.value for side in sides))


@verdict("Directions that hold 90 % of the variance")
def spectrum(run: Run) -> Verdict | None:
    """The curve of singular values shows how the spread falls from the first direction to the last.

    A direction under 1 % of the first is dead: the width of the space is wasted there.
    """
    possible = {side: most for side, _, most, _, _ in rank_and_spread(run["evaluation"])}
    return judge.dead_directions(run["geometry"]["spectrum"], possible)


@verdict("Uniformity")
def uniformity(run: Run) -> Verdict | None:
    """How evenly a side lies on the sphere: 0 is a single point, about -4 an even spread.

    Crowded rows are hard to tell apart.
    """
    found = run["evaluation"]["geometry"]["uniformity"]
    return judge.uniformity({side: found[name] for side, name in SIDES.items()}, run["evaluation"]["images"])


@verdict("Alignment")
def alignment(run: Run) -> Verdict | None:
    """Mean squared distance from a caption's target to its image's prediction: 0 is the same place.

    It is good only together with uniformity, since a single point is aligned perfectly.
    """
    random = run["evaluation"]["cosine"]["random"]
    return random and judge.alignment(run["evaluation"]["geometry"]["alignment"], 2 - 2 * random["mean"])


@verdict("Modality gap")
def modality_gap(run: Run) -> Verdict:
    """Distance between the mean prediction and the mean target.

    It harms no ranking by itself, but where it is wide the cosine of an image and a caption cannot be set beside that
    of two captions, and a map shows two islands.
    """
    geometry = run["evaluation"]["geometry"]
    return judge.modality_gap(geometry["modality_gap"], geometry["alignment"], run["evaluation"]["images"])


@verdict("Hubs among the captions")
def hubness_image_to_text(run: Run) -> Verdict:
    """A hub is among the first for very many images, whatever they show, and keeps other captions out."""
    return _hubs(run, "captions", "image_to_text")


@verdict("Hubs among the images")
def hubness_text_to_image(run: Run) -> Verdict:
    """A hub is among the first for very many captions, whatever they say, and keeps other images out."""
    return _hubs(run, "images", "text_to_image")


def _hubs(run: Run, items: str, way: str) -> Verdict:
    """The verdict is that of plain scores; what the correction leaves of the hubs stands beside it."""
    geometry = run["geometry"]
    before, corrected = judge.hubs(items, geometry["hubness"][way]), geometry.get("hubness_corrected")
    if corrected is None:
        return before
    after = judge.hubs(items, corrected[way])
    return before._replace(value=f"{before.value}. With hubness correction: {after.text} ({after.value})")


@verdict("Train probe against dev")
def overfitting(run: Run) -> Verdict | None:
    """Both are measured on as many images, at the last epoch that measured both, up to the one that was chosen.

    The epoch with the best dev rsum is kept, so that what is overfitted after it does no harm.
    """
    found = run["training"]
    if found is None:
        return None
    epochs = zip(found["epoch"], found["train"]["rsum"], found["dev"]["rsum"], strict=True)
    measured = [one for one in epochs if one[1] is not None and one[0] <= found["best_epoch"]]
    if not measured or measured[-1][2] <= 0:
        return None
    epoch, train, dev = measured[-1]
    said = judge.overfitting(train, dev, found["dev_images"])
    return said._replace(value=f"{said.value}, epoch {epoch}")


@verdict("Does it use the image?")
def partial_shuffled(run: Run) -> Verdict | None:
    """An image and its caption with a part of the tokens hidden, against the same words with another image."""
    gains = _gains(run, "over_shuffled")
    return judge.uses_image(gains) if gains else None


@verdict("Does the image add to the words?")
def partial_text_only(run: Run) -> Verdict | None:
    """The same against a model that was trained without images."""
    gains = _gains(run, "over_text_only")
    return judge.adds_to_words(gains) if gains else None


def _gains(run: Run, over: str) -> dict[float, dict[str, Any]]:
    """Hidden share → paired gain in R@1."""
    return {
        float(ratio): found[over]["R@1"]
        for ratio, found in (run["evaluation"].get("partial") or {}).items()
        if float(ratio) > 0 and found.get(over) is not None
    }
