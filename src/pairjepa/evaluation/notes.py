"""What the numbers of an evaluation mean, in sentences that claim no more than the intervals allow."""

from collections.abc import Mapping
from typing import Any

from pairjepa.metrics import verdicts as judge
from pairjepa.metrics.verdicts import Verdict
from pairjepa.util.words import counted

FEW_IMAGES = 100
SHARED_CAPTIONS = 0.05
REGRESSIONS = {"ridge_to_text": "ridge regression image → caption", "ridge_to_image": "caption → image"}
"""Closed forms of prediction, as they stand in an evaluation and in words."""


def notes(result: Mapping[str, Any], shared: int) -> list[str]:
    """Sentences on an evaluation, the gravest first.

    Args:
        result: What `evaluate` has measured.
        shared: Pairs of an image and another image's caption that reads the same as one of its own.
    """
    favoured = [align_or_predict(result)] if result["align_or_predict"] else []
    return [*_protocol(result, shared), *(_sentence(one) for one in _judged(result)), *favoured]


def align_or_predict(result: Mapping[str, Any]) -> str:
    """Which closed form the features favour."""
    gains = {REGRESSIONS[name]: gain for name, gain in result["align_or_predict"].items()}
    return _sentence(judge.align_or_predict(gains, result["images"]))


def rank_and_spread(result: Mapping[str, Any]) -> list[tuple[str, float, int, float, int]]:
    """What `verdicts.collapse` judges of predictions and targets."""
    geometry = result["geometry"]
    return [
        (
            side,
            geometry["effective_rank"][name],
            min(geometry["dim"], rows - 1),
            geometry["std_per_dim"][name].get("rms", geometry["std_per_dim"][name]["mean"])
            / geometry["std_per_dim"]["healthy"],
            result["images"],
        )
        for side, name, rows in (
            ("prediction", "image", result["images"]),
            ("target", "text", result["captions"]),
        )
    ]


def _protocol(result: Mapping[str, Any], shared: int) -> list[str]:
    found = []
    if result["split"] == "train":
        found.append(
            "Measured on the training pairs: it says how well they are remembered, not how the model does on "
            "images it has not seen. Evaluate --split test."
        )
    if result["images"] < FEW_IMAGES:
        found.append(
            f"Only {counted(result['images'], 'image')}: the gallery is small, so recalls are high by chance alone "
            f"(chance has rsum {result['baselines']['chance']['rsum']:.1f}) and intervals are wide."
        )
    if result["relevance"] == "owner" and shared > SHARED_CAPTIONS * result["captions"]:
        found.append(
            f"{counted(shared, 'time')} a caption reads the same as one of another image and counts as wrong for it; "
            "--relevance text counts it as right."
        )
    if result["cosine"]["random"] is None:
        found.append(
            "There is no random pair to compare with: every caption is a right answer to every image."
        )
    return found


def _judged(result: Mapping[str, Any]) -> list[Verdict]:
    """The verdicts that are worth a sentence: what is wrong, and what CCA says of a model that is above chance."""
    images = result["images"]
    chance = judge.against_chance(
        result["rsum"], result["rsum_ci"], result["baselines"]["chance"]["rsum"], images
    )
    found = [] if chance.level == "good" else [chance]
    if gain := result.get("beats_pretrained"):
        found.append(judge.against_pretrained(gain["rsum_difference"], gain["ci"], images))
    if gain := result["beats_cca"]:
        cca = judge.against_cca(gain, images)
        found += [cca] if cca.level != "good" or chance.level == "good" else []
    found += [
        one for side in rank_and_spread(result) if (one := judge.collapse(*side)).level in ("bad", "warn")
    ]
    if result["cosine"]["random"] is not None:
        separation = judge.separation(result["cosine"]["auc"], images)
        found += [separation] if separation.level == "bad" else []
    return found


def _sentence(verdict: Verdict) -> str:
    return f"{verdict.text[:1].upper()}{verdict.text[1:]}: {verdict.value}."
