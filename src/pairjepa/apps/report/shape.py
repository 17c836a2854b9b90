"""Verdicts on the shape of the space: collapse, spectrum, uniformity, alignment, modality gap, hubs."""

from typing import Any

from pairjepa.apps.report.wording import Level, Verdict, number, percent, verdict
from pairjepa.evaluation.notes import COLLAPSE_RANK, COLLAPSE_SPREAD

GOOD_UNIFORMITY, POOR_UNIFORMITY = (
    -3.0,
    -1.0,
)  # about a cosine of 0.25 and of 0.75 between any two rows of a side
SMALL_GAP = 0.3
WIDE_GAP = 0.8  # CLIP's own is 0.82
CHANCE_GAPS = 2.0  # times what so few rows give by chance
DEAD = 0.01  # of the largest singular value
MOSTLY_DEAD = 0.5  # of the directions
EVEN_HUBS, FEW_HUBS = 0.6, 0.3  # share of the items for half of the answers, over that of random answers
SIDES = {"prediction": "image", "target": "text"}
"""Our word for each side, and the one that an evaluation has for it."""


def collapse(evaluation: dict[str, Any]) -> Verdict:
    """Effective rank (Roy and Vetterli 2007) of both sides; the thresholds are those of the evaluation's notes."""
    geometry = evaluation["geometry"]
    fallen, narrow, values = [], [], []
    for side, name in SIDES.items():
        rank, possible = geometry["effective_rank"][name], possible_rank(evaluation, side)
        values.append(f"{number(rank, 0 if rank >= 10 else 1)} of {possible} ({side}s)")
        if geometry["std_per_dim"][name]["mean"] < COLLAPSE_SPREAD * geometry["std_per_dim"]["healthy"]:
            fallen.append(f"{side}s")
        elif rank < COLLAPSE_RANK * possible:
            narrow.append(f"{side}s")
    level: Level
    if not all(possible_rank(evaluation, side) for side in SIDES):
        level, said = "info", "a single row has no directions"
    elif fallen:
        level, said = "bad", f"collapse of the {' and the '.join(fallen)}: nearly every row is the same"
    elif narrow:
        level, said = "warn", f"the {' and the '.join(narrow)} lie along few directions"
    else:
        level, said = "good", "no collapse: both sides fill many directions"
    return verdict(
        "collapse",
        "Effective rank",
        level,
        ", ".join(values),
        said,
        "How many directions a side spreads over. A collapsed side gives everything nearly the same embedding, and "
        "then a high cosine means nothing.",
    )


def dimensions(evaluation: dict[str, Any], spectrum: dict[str, list[float]]) -> Verdict | None:
    """Dimensional collapse: singular values that have gone to nothing (Jing et al. 2022)."""
    values, dead = [], {}
    for side, singular in spectrum.items():
        possible = min(possible_rank(evaluation, side), len(singular))
        variance = [value**2 for value in singular[:possible]]
        if sum(variance) <= 0:
            return None
        seen, enough = 0.0, 0
        while seen < 0.9 * sum(variance):
            seen, enough = seen + variance[enough], enough + 1
        values.append(f"{enough} of {possible} ({side}s)")
        dead[side] = sum(value < DEAD * singular[0] for value in singular[:possible]) / possible
    worst = max(dead, key=lambda side: dead[side])
    level: Level = "warn" if dead[worst] > MOSTLY_DEAD else "good"
    if level == "warn":
        said = f"dimensional collapse: {percent(dead[worst])} of the directions of the {worst}s are dead"
    elif any(dead.values()):
        said = f"no dimensional collapse: {percent(dead[worst])} of the directions of the {worst}s are dead"
    else:
        said = "no dimensional collapse: no direction is dead"
    return verdict(
        "spectrum",
        "Directions that hold 90 % of the variance",
        level,
        ", ".join(values),
        said,
        "The curve of singular values shows how the spread falls from the first direction to the last. A direction "
        f"under {percent(DEAD)} of the first is dead: the width of the space is wasted there.",
    )


def uniformity(evaluation: dict[str, Any]) -> Verdict | None:
    """Wang and Isola 2020; judged by the more crowded side."""
    values = {side: evaluation["geometry"]["uniformity"][name] for side, name in SIDES.items()}
    known = {side: value for side, value in values.items() if value is not None}
    if not known:
        return None
    worst = max(known.values())
    level: Level
    if worst <= GOOD_UNIFORMITY:
        level, said = "good", "spread over the sphere"
    elif worst <= POOR_UNIFORMITY:
        level, said = "warn", "spread over a part of the sphere"
    else:
        level, said = "bad", "crowded together"
    return verdict(
        "uniformity",
        "Uniformity",
        level,
        ", ".join(f"{number(value)} ({side}s)" for side, value in known.items()),
        said,
        "How evenly a side lies on the sphere: 0 is a single point, about -4 an even spread. Crowded rows are hard "
        "to tell apart.",
    )


def alignment(evaluation: dict[str, Any]) -> Verdict | None:
    """Wang and Isola 2020, beside what random pairs have; no verdict on its own."""
    random = evaluation["cosine"]["random"]
    if random is None:
        return None
    matched, other = evaluation["geometry"]["alignment"], 2 - 2 * random["mean"]
    nearer = 1 - matched / other if other > 1e-6 else 0.0
    return verdict(
        "alignment",
        "Alignment",
        "info",
        f"{number(matched)}, random pairs {number(other)}",
        f"matched pairs are {percent(nearer)} nearer than random ones"
        if nearer >= 0.01
        else "matched pairs are no nearer than random ones",
        "Mean squared distance from a caption's target to its image's prediction: 0 is the same place. It is good "
        "only together with uniformity, since a single point is aligned perfectly.",
    )


def modality_gap(evaluation: dict[str, Any]) -> Verdict:
    """Liang et al. 2022. Between the means of n matched pairs at random, √(alignment / n) is to be expected."""
    gap = evaluation["geometry"]["modality_gap"]
    by_chance = (evaluation["geometry"]["alignment"] / evaluation["images"]) ** 0.5
    level: Level
    if gap <= CHANCE_GAPS * by_chance:
        level, said = "good", f"no gap is shown: so few rows lie about {number(by_chance)} apart by chance"
    elif gap < SMALL_GAP:
        level, said = "good", "a small gap: images and captions share one region"
    elif gap < WIDE_GAP:
        level, said = "info", "a gap: images and captions keep to regions of their own"
    else:
        level, said = "warn", "a wide gap: images and captions lie apart, as far as in CLIP (0.82)"
    return verdict(
        "modality_gap",
        "Modality gap",
        level,
        number(gap),
        said,
        "Distance between the mean prediction and the mean target. It harms no ranking by itself, but where it is wide "
        "the cosine of an image and a caption cannot be set beside that of two captions, and a map shows two islands.",
    )


def hubs(way: str, of: dict[str, Any]) -> Verdict:
    """Judged by the share of the gallery that fills half of the answers, against what random answers give.

    Args:
        way: `image_to_text` or `text_to_image`.
        of: Its `report.hubs.hubness`.
    """
    queries, items = ("images", "captions") if way == "image_to_text" else ("captions", "images")
    half, even = of["share_for_half"], of["even"]["share_for_half"]
    value = f"{percent(half)} of the {items} fill half of the top {of['k']} ({percent(even)} by chance)"
    if of["never"]:
        value += f", {percent(of['never'])} are in none ({percent(of['even']['never'])} by chance)"
    said = f"half of the answers to the {queries} come from {percent(half)} of the {items}"
    level: Level
    if of["skewness"] is None:  # a gallery of no more than ten is answered as a whole
        level, said = "info", f"each of the {items} is among the first {of['k']} as often as any other"
    else:
        value += f", skewness {number(of['skewness'])}"
        if half >= EVEN_HUBS * even:
            level, said = "good", f"{said}: no hubs"
        elif half >= FEW_HUBS * even:
            level, said = "warn", f"{said}: some hubs"
        else:
            level, said = "bad", f"{said}: hubs"
    return verdict(
        f"hubness_{way}",
        f"Hubs among the {items}",
        level,
        value,
        said,
        f"A hub is among the first for very many {queries}, whatever they ask, and keeps others of the {items} out.",
    )


def possible_rank(evaluation: dict[str, Any], side: str) -> int:
    """The most directions that a side's rows can spread over."""
    rows: int = evaluation["images" if side == "prediction" else "captions"]
    return min(evaluation["geometry"]["dim"], rows - 1)
