"""The numbers of a run in words: for each what it is, what it means, and what is to be thought of it.

`docs/report.md` has a section for each, with the source of its threshold; where the literature has none it is ours.
"""

from typing import Any

from pairjepa.apps.report import shape
from pairjepa.apps.report.wording import Level, Verdict, number, percent, verdict
from pairjepa.evaluation.notes import WEAK_AUC

GOOD_AUC = 0.9
ALIKE, BY_HEART = 1.25, 2.0  # rsum of training images over that of dev


def verdicts(
    evaluation: dict[str, Any], geometry: dict[str, Any], training: dict[str, Any] | None
) -> list[Verdict]:
    """What the numbers say, the most telling first.

    Args:
        evaluation: What `evaluate` wrote.
        geometry: `spectrum` and `hubness` of the report.
        training: Of the report.

    Returns:
        For each property `key`, `title`, `value`, `verdict`, `meaning`, `level` (good, warn, bad, info) and `source`;
        what was not measured has none.
    """
    found = [
        _baselines(evaluation),
        _separation(evaluation),
        shape.collapse(evaluation),
        shape.dimensions(evaluation, geometry["spectrum"]),
        shape.uniformity(evaluation),
        shape.alignment(evaluation),
        shape.modality_gap(evaluation),
        *(shape.hubs(way, of) for way, of in geometry["hubness"].items()),
        _overfitting(training),
        _partial(evaluation, "shuffled"),
        _partial(evaluation, "text_only"),
    ]
    return [one for one in found if one is not None]


def _baselines(evaluation: dict[str, Any]) -> Verdict:
    chance, gain = evaluation["baselines"]["chance"]["rsum"], evaluation["beats_cca"]
    low, high = evaluation["rsum_ci"]
    value = f"rsum {evaluation['rsum']:.1f} ({low:.1f} to {high:.1f}), chance {chance:.1f}"
    level: Level
    if low <= chance:
        level, said = "bad", "no better than chance"
    elif gain is None:
        level, said = "info", "better than chance"
    elif gain["verdict"] == "better":
        level, said = "good", "better than CCA"
    elif gain["verdict"] == "worse":
        level, said = "bad", "worse than CCA: it has learned nothing that a closed formula does not know"
    else:
        level, said = "warn", "no better than CCA, as far as these images show"
    if gain is not None:
        value += f", {gain['rsum_difference']:+.1f} over CCA ({gain['ci'][0]:+.1f} to {gain['ci'][1]:+.1f})"
    return verdict(
        "baselines",
        "Against chance and CCA",
        level,
        value,
        said,
        "rsum is the sum of the six recalls. Ridge CCA is a closed formula on the same features: what it reaches needs "
        "no training.",
    )


def _separation(evaluation: dict[str, Any]) -> Verdict | None:
    cosine = evaluation["cosine"]
    if cosine["random"] is None:
        return None
    auc = cosine["auc"]
    level: Level
    if auc >= GOOD_AUC:
        level, said = "good", "told apart well"
    elif auc >= WEAK_AUC:
        level, said = "warn", "told apart in part"
    else:
        level, said = "bad", "hard to tell apart"
    return verdict(
        "separation",
        "Matched against random pairs",
        level,
        f"cosine {number(cosine['matched']['mean'])} and {number(cosine['random']['mean'])}, AUC {auc:.3f}, "
        f"overlap {percent(cosine['overlap'])}",
        said,
        f"The pair that belongs together has the higher cosine in {percent(auc)} of the cases; 50 % would be blind. "
        "The matched cosine alone says nothing.",
    )


def _overfitting(training: dict[str, Any] | None) -> Verdict | None:
    """At the last epoch up to the chosen one that measured training images."""
    if training is None:
        return None
    measured = [
        (epoch, seen, dev)
        for epoch, seen, dev in zip(
            training["epoch"], training["train"]["rsum"], training["dev"]["rsum"], strict=True
        )
        if seen is not None and epoch <= training["best_epoch"]
    ]
    if not measured or measured[-1][2] <= 0:
        return None
    epoch, seen, dev = measured[-1]
    level: Level
    if seen < ALIKE * dev:
        level, said = "good", "new images are answered nearly as well as those that it learned from"
    elif seen < BY_HEART * dev:
        level, said = "info", "it knows its training images better, as models on frozen backbones do"
    else:
        level, said = (
            "warn",
            "it knows its training images by heart: more pairs, more dropout or a simpler model may help",
        )
    return verdict(
        "overfitting",
        "Training images against dev",
        level,
        f"{seen - dev:+.0f} rsum ({seen:.0f} on training images, {dev:.0f} on dev, epoch {epoch})",
        said,
        f"Both are measured on as many images. The epoch with the best dev rsum, {training['best_epoch']}, is kept, so "
        "what is learned by heart after it does no harm.",
    )


def _partial(evaluation: dict[str, Any], control: str) -> Verdict | None:
    """What the image adds to a partly hidden caption, by the paired intervals of the evaluation."""
    gains = {
        float(ratio): of[f"over_{control}"]["R@1"]
        for ratio, of in (evaluation.get("partial") or {}).items()
        if float(ratio) > 0 and of.get(f"over_{control}") is not None
    }
    if not gains:
        return None
    adds = [percent(ratio) for ratio, gain in gains.items() if gain["ci"][0] > 0]
    where = f"where {', '.join(adds)} of the words are hidden"
    level: Level
    if control == "shuffled":
        title, beside = "Does it look at the image?", "the same words with another image"
        level = "good" if len(adds) == len(gains) else "warn" if adds else "bad"
        said = f"it looks {where}" if adds else "no: another image finds as much"
    else:
        title, beside = (
            "Does the image add to the words?",
            "the same words in a model that never saw an image",
        )
        level = "good" if adds else "warn"
        said = f"it adds {where}" if adds else "no gain over the words alone is shown"
    return verdict(
        f"partial_{control}",
        title,
        level,
        "R@1 "
        + ", ".join(
            f"{gain['difference']:+.1f} ({gain['ci'][0]:+.1f} to {gain['ci'][1]:+.1f}) with {percent(ratio)} hidden"
            for ratio, gain in gains.items()
        ),
        said,
        f"Queries of an image and its caption with a part of the tokens hidden, against {beside}.",
    )
