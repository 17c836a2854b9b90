"""What the numbers of an evaluation mean, in sentences that claim no more than the intervals allow.

The thresholds are ours, chosen to speak up early; `docs/evaluation.md` gives the reasons.
"""

from typing import Any

COLLAPSE_SPREAD = 0.25
"""Share of 1/√dim below which the mean standard deviation is called a collapse (random cosine above 0.94)."""
COLLAPSE_RANK = 0.05
"""Share of the directions that there could be, below which the effective rank is called a collapse."""
WEAK_AUC = 0.75
FEW_IMAGES = 100
SHARED_CAPTIONS = 0.05


def notes(result: dict[str, Any], shared: int) -> list[str]:
    """Sentences on an evaluation, the gravest first.

    Args:
        result: What `evaluate` has found.
        shared: Pairs of an image and another image's caption that reads the same as one of its own.
    """
    return [*_protocol(result, shared), *_against_baselines(result), *_collapse(result), *_cosine(result)]


def _protocol(result: dict[str, Any], shared: int) -> list[str]:
    found = []
    if result["split"] == "train":
        found.append(
            "Measured on the training pairs: it says how well they are remembered, not how the model does on "
            "images it has not seen. Evaluate --split test."
        )
    if result["images"] < FEW_IMAGES:
        found.append(
            f"Only {result['images']} images: the gallery is small, so recalls are high by chance alone "
            f"(chance has rsum {result['baselines']['chance']['rsum']:.1f}) and intervals are wide."
        )
    if result["relevance"] == "owner" and shared > SHARED_CAPTIONS * result["captions"]:
        found.append(
            f"{shared:,} times a caption reads the same as one of another image and counts as wrong for it; "
            "--relevance text counts it as right."
        )
    return found


def _against_baselines(result: dict[str, Any]) -> list[str]:
    found = []
    chance = result["baselines"]["chance"]["rsum"]
    low, high = result["rsum_ci"]
    if low <= chance:
        found.append(
            f"No better than chance: rsum {result['rsum']:.1f} (95 % interval {low:.1f} to {high:.1f}), "
            f"chance {chance:.1f}."
        )
    gain = result.get("beats_pretrained")
    if gain is not None:
        low, high = gain["ci"]
        span = f"rsum {gain['rsum_difference']:+.1f}, 95 % interval {low:+.1f} to {high:+.1f}"
        found.append(
            {
                "better": f"Better than the pretrained pair on these pairs: {span}.",
                "worse": f"Worse than the pretrained pair on these pairs: {span}.",
                "not distinguishable": f"Not shown to differ from the pretrained pair: {span}.",
            }[gain["verdict"]]
        )
    gain = result["beats_cca"]
    if gain is not None:
        low, high = gain["ci"]
        span = f"rsum {gain['rsum_difference']:+.1f}, 95 % interval {low:+.1f} to {high:+.1f}"
        found.append(
            {
                "better": f"Beats CCA on the same features: {span}.",
                "worse": f"Does not beat CCA: {span}. The model has learned nothing that a closed formula on "
                "the same features does not know.",
                "not distinguishable": f"Does not beat CCA: {span}, so these images do not show a difference "
                "from a closed formula on the same features.",
            }[gain["verdict"]]
        )
    return found


def _collapse(result: dict[str, Any]) -> list[str]:
    found = []
    geometry = result["geometry"]
    healthy = geometry["std_per_dim"]["healthy"]
    for side, rows in (("image", result["images"]), ("text", result["captions"])):
        spread, rank = geometry["std_per_dim"][side]["mean"], geometry["effective_rank"][side]
        possible = min(geometry["dim"], rows - 1)
        if spread < COLLAPSE_SPREAD * healthy:
            found.append(
                f"The {side} side has collapsed: its standard deviation per dimension is {spread:.2g} "
                f"where {healthy:.2g} is healthy."
            )
        elif rank < COLLAPSE_RANK * possible:
            found.append(
                f"The {side} side uses few directions: effective rank {rank:.1f} of {possible} possible."
            )
    return found


def _cosine(result: dict[str, Any]) -> list[str]:
    matched, random, auc = (result["cosine"][name] for name in ("matched", "random", "auc"))
    if random is None:
        return ["There is no random pair to compare with: every caption is a right answer to every image."]
    if auc < WEAK_AUC:
        return [
            f"Matched and random pairs are hard to tell apart: cosine {matched['mean']:.2f} and "
            f"{random['mean']:.2f}, AUC {auc:.2f} where 0.5 is blind."
        ]
    return []
