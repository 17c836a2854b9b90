"""What is to be thought of a number: one place that judges, for training, evaluation, audit and report.

Pure functions of numbers. A verdict needs a 95 % interval that excludes what it denies; where there is none, it says
that there are too few images to tell. `docs/report.md` has a section for each, with the source of its thresholds; where
the literature has none they are ours, and decide which sentence is shown and nothing else.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from pairjepa.util.words import counted

Level = Literal["good", "warn", "bad", "info"]

LEAST_IMAGES = 10
"""Of fewer images an interval by resampling is too narrow to be believed."""
WIDTH = 1.96
"""Standard errors on either side of a value in its 95 % interval."""
PERFECT = 600.0
USEFUL = 0.1
"""Of the way from chance to a perfect rsum: a model that has less is of no use."""
WEAK_AUC, GOOD_AUC = 0.75, 0.9
COLLAPSED_SPREAD = 0.25
"""Of 1/√dim, the root of a dimension's mean variance under which nearly every row is the same (cosine over 0.94)."""
COLLAPSED_RANK, NARROW_RANK = 2.0, 0.05
"""Effective rank: under the first, about one direction; under the second, a share of what is possible, few."""
LEAST_DIRECTIONS = 16
"""Possible directions, below which their number says nothing."""
DEAD, MOSTLY_DEAD = 0.01, 0.5
"""Share of the largest singular value, and of the directions."""
GOOD_UNIFORMITY, POOR_UNIFORMITY = -3.0, -1.0
"""About a cosine of 0.25 and of 0.75 between any two rows of a side."""
SMALL_GAP, WIDE_GAP, CHANCE_GAPS = 0.3, 0.8, 2.0
"""Distances of the means (CLIP's is 0.82), and how many times what chance gives is no gap."""
EVEN_HUBS, SOME_HUBS = 0.6, 0.3
"""Share of the items that fill half of the answers, over that of random answers."""
ALIKE, OVERFITS = 1.25, 2.0
"""rsum of the train probe over that of dev."""


class Verdict(NamedTuple):
    """What is to be thought of a number."""

    level: Level
    text: str
    value: str = ""
    """The numbers that it rests on."""


def _too_few(images: int) -> str:
    return f"{counted(images, 'image')} {'is' if images == 1 else 'are'} too few to tell"


def against_chance(rsum: float, ci: Sequence[float], chance: float, images: int) -> Verdict:
    """Whether rsum is better than that of a random ranking, `chance`, by its interval."""
    low, high = ci
    value = f"rsum {rsum:.1f} (95 % interval {low:.1f} to {high:.1f}), chance {chance:.1f}"
    if images >= LEAST_IMAGES and low > chance:
        return Verdict("good", "better than chance", value)
    if images >= LEAST_IMAGES and high < chance + USEFUL * (PERFECT - chance):
        return Verdict("bad", "no better than chance", value)
    return Verdict("info", f"{_too_few(images)} it from chance", value)


def rsum_interval(rsum: float, images: int) -> tuple[float, float]:
    """The widest interval that an rsum of so many images can have, where they were not resampled.

    An image's share of rsum lies between 0 and 600, so its variance is at most rsum · (600 - rsum) (Bhatia and
    Davis 2000).
    """
    half = WIDTH * math.sqrt(rsum * (PERFECT - rsum) / images)
    return max(0.0, rsum - half), min(PERFECT, rsum + half)


def against_cca(gain: Mapping[str, Any], images: int) -> Verdict:
    """Whether rsum is better than that of CCA, by the paired interval of the difference.

    Args:
        gain: `rsum_difference`, its `ci`, and `verdict`, which is "the same" of a model that is CCA itself.
        images: how many were measured.
    """
    difference, (low, high) = gain["rsum_difference"], gain["ci"]
    value = f"rsum {difference:+.1f} over CCA (95 % interval {low:+.1f} to {high:+.1f})"
    if gain["verdict"] == "the same":
        return Verdict("info", "is CCA itself, a closed formula fitted to the train pairs", value)
    if images < LEAST_IMAGES:
        return Verdict("info", f"{_too_few(images)} it from CCA", value)
    if low > 0:
        return Verdict("good", "beats CCA on the same features", value)
    if high < 0:
        return Verdict("bad", "worse than CCA, a closed formula fitted to the train pairs", value)
    return Verdict("warn", "does not beat CCA, as far as these images show", value)


def against_pretrained(difference: float, ci: Sequence[float], images: int) -> Verdict:
    """Whether rsum is better than that of the pretrained pair that the model started from, by the paired interval."""
    low, high = ci
    value = f"rsum {difference:+.1f} over the pretrained pair (95 % interval {low:+.1f} to {high:+.1f})"
    if images < LEAST_IMAGES:
        return Verdict("info", f"{_too_few(images)} it from the pretrained pair", value)
    if low > 0:
        return Verdict("good", "better than the pretrained pair on these pairs", value)
    if high < 0:
        return Verdict("bad", "worse than the pretrained pair on these pairs", value)
    return Verdict("warn", "not shown to differ from the pretrained pair", value)


def align_or_predict(gains: Mapping[str, Mapping[str, Any]], images: int) -> Verdict:
    """Which closed form these features favour, by the paired intervals of rsum.

    Args:
        gains: Name of each regression → `rsum_difference` and `ci` of CCA minus it.
        images: That were measured.
    """
    value = "CCA has rsum " + " and ".join(
        f"{gain['rsum_difference']:+.1f} over {name} (95 % interval {gain['ci'][0]:+.1f} to {gain['ci'][1]:+.1f})"
        for name, gain in gains.items()
    )
    if images >= LEAST_IMAGES and all(gain["ci"][0] > 0 for gain in gains.values()):
        return Verdict("info", "these features favour alignment (both sides whitened) over prediction", value)
    if images >= LEAST_IMAGES and any(gain["ci"][1] < 0 for gain in gains.values()):
        return Verdict("info", "these features favour prediction (one side whitened) over alignment", value)
    return Verdict("info", "neither alignment nor prediction is shown to suit these features better", value)


def separation(auc: float, images: int) -> Verdict:
    """Whether matched pairs have higher cosines than random ones; the error of an AUC is at most √(a(1-a)/n)."""
    half = WIDTH * math.sqrt(auc * (1 - auc) / images)
    low, high = auc - half, auc + half
    value = f"AUC {auc:.3f}, where 0.5 is blind"
    if images < LEAST_IMAGES or (low < WEAK_AUC and high >= GOOD_AUC):
        return Verdict("info", f"{_too_few(images)} how well", value)
    if high < WEAK_AUC:
        return Verdict("bad", "matched and random pairs are hard to tell apart", value)
    if low >= GOOD_AUC:
        return Verdict("good", "told apart well", value)
    return Verdict("warn", "told apart in part", value)


def collapse(side: str, rank: float, possible: int, spread: float, images: int) -> Verdict:
    """Whether a side's rows are nearly all the same, or lie along few directions.

    The error of a variance is at most √(2/n) of it, that of rows along a line. The effective rank of few rows is
    nearer to the possible one than that of many, so that few rows alone raise no alarm.

    Args:
        side: prediction or target.
        rank: Effective rank (Roy and Vetterli 2007).
        possible: The greatest that it could be.
        spread: Root of the mean variance of a dimension, over 1/√dim; few directions of a wide space lower it not.
        images: Of which the rows are, or whose captions they are.
    """
    shown = number(rank, 0 if rank >= 10 else 1)
    value = f"effective rank {shown} of {possible}, spread {number(spread)} of 1 ({side}s)"
    if possible < LEAST_DIRECTIONS:
        return Verdict("info", f"too few rows or dimensions to tell of a collapse of the {side}s", value)
    if spread < COLLAPSED_SPREAD:
        if spread * math.sqrt(1 + WIDTH * math.sqrt(2 / images)) < COLLAPSED_SPREAD:
            return Verdict("bad", f"collapse of the {side}s: nearly every row is the same", value)
        return Verdict("info", f"{_too_few(images)} of a collapse of the {side}s", value)
    if rank < COLLAPSED_RANK:
        return Verdict("bad", f"collapse of the {side}s: they lie along about one direction", value)
    if rank < NARROW_RANK * possible:
        return Verdict("warn", f"the {side}s lie along few directions", value)
    return Verdict("good", "no collapse", value)


def overfitting(train: float, dev: float, images: int, *, fallen: bool = False) -> Verdict:
    """Whether the train probe's rsum is far above that of as many dev images.

    Args:
        train: rsum of the train probe.
        dev: rsum of dev.
        images: Of each.
        fallen: Whether that of dev has fallen since the best epoch.
    """
    value = f"{train - dev:+.0f} rsum ({train:.0f} on the train probe, {dev:.0f} on dev)"
    half = math.hypot(*(rsum - rsum_interval(rsum, images)[0] for rsum in (train, dev)))
    low, high = train - half, train + half  # beside dev
    if images >= LEAST_IMAGES and high < OVERFITS * dev and train < ALIKE * dev:
        return Verdict("good", "new images are answered nearly as well as those that it learned from", value)
    if images < LEAST_IMAGES or low <= dev:
        return Verdict("info", f"{_too_few(images)} whether it overfits", value)
    if train >= OVERFITS * dev or (fallen and train >= ALIKE * dev):
        return Verdict("warn", "it overfits: more pairs, more dropout or a simpler model may help", value)
    return Verdict("info", "it knows its training images better, as models on frozen backbones do", value)


def wrong_pairs(auc: float, images: int) -> Verdict:
    """Whether an audit's models know enough of the pairs to call some of them wrong.

    Args:
        auc: How often a caption fits its own image better than another one.
        images: Number of images.
    """
    half = WIDTH * math.sqrt(auc * (1 - auc) / images)
    value = f"a caption fits its own image better than another in {percent(auc)} of the cases; 50 % is blind"
    if images < LEAST_IMAGES or auc - half < WEAK_AUC:
        return Verdict("info", "the models know too little of these pairs to tell which are wrong", value)
    return Verdict("good", "the models tell right pairs from wrong ones", value)


def dead_directions(spectra: Mapping[str, Sequence[float]], possible: Mapping[str, int]) -> Verdict | None:
    """Dimensional collapse: singular values that have gone to nothing (Jing et al. 2022).

    Args:
        spectra: Side → singular values, descending.
        possible: Side → the directions that its rows could fill.
    """
    values, dead = [], {}
    for side, spectrum in spectra.items():
        singular = np.asarray(spectrum)[: possible[side]]
        variance = np.cumsum(singular**2)
        if not len(variance) or variance[-1] <= 0:
            return None
        enough = 1 + int((variance < 0.9 * variance[-1]).sum())
        values.append(f"{enough} of {len(singular)} ({side}s)")
        dead[side] = float((singular < DEAD * singular[0]).mean())
    worst = max(dead, key=lambda side: dead[side])
    value = ", ".join(values)
    if min(possible.values()) < LEAST_DIRECTIONS:
        return Verdict("info", "too few rows or dimensions to tell of dimensional collapse", value)
    said = (
        f"{percent(dead[worst])} of the directions of the {worst}s are dead"
        if dead[worst]
        else "no direction is dead"
    )
    if dead[worst] > MOSTLY_DEAD:
        return Verdict("warn", f"dimensional collapse: {said}", value)
    return Verdict("good", f"no dimensional collapse: {said}", value)


def uniformity(sides: Mapping[str, float | None], images: int) -> Verdict | None:
    """How evenly the more crowded side lies on the sphere (Wang and Isola 2020)."""
    there = {side: value for side, value in sides.items() if value is not None}
    if not there:
        return None
    worst, value = max(there.values()), ", ".join(f"{number(of)} ({side}s)" for side, of in there.items())
    if images < LEAST_IMAGES:
        return Verdict("info", _too_few(images), value)
    if worst <= GOOD_UNIFORMITY:
        return Verdict("good", "spread over the sphere", value)
    if worst <= POOR_UNIFORMITY:
        return Verdict("warn", "spread over a part of the sphere", value)
    return Verdict("bad", "crowded together", value)


def alignment(matched: float, random: float) -> Verdict:
    """Mean squared distance of matched pairs beside that of random ones: no verdict on its own (Wang, Isola 2020)."""
    nearer = 1 - matched / random if random > 1e-6 else 0.0
    said = f"{percent(nearer)} nearer than" if nearer >= 0.01 else "no nearer than"
    return Verdict(
        "info", f"matched pairs are {said} random ones", f"{number(matched)}, random pairs {number(random)}"
    )


def modality_gap(gap: float, alignment: float, images: int) -> Verdict:
    """Distance of the two means (Liang et al. 2022), beside √(alignment / n), that of n matched pairs at random."""
    by_chance, value = math.sqrt(alignment / images), number(gap)
    if gap <= CHANCE_GAPS * by_chance:
        return Verdict(
            "good", f"no gap is shown: so few rows lie about {number(by_chance)} apart by chance", value
        )
    if gap < SMALL_GAP:
        return Verdict("good", "a small gap: images and captions share one region", value)
    if gap < WIDE_GAP:
        return Verdict("info", "a gap: images and captions keep to regions of their own", value)
    return Verdict("warn", "a wide gap: images and captions lie apart, as far as in CLIP (0.82)", value)


def hubs(items: str, measured: Mapping[str, Any]) -> Verdict:
    """Whether few items fill half of the answers, beside what random answers give with as many items.

    Args:
        items: captions or images.
        measured: `metrics.occurrence` of one direction.
    """
    half, even = measured["share_for_half"], measured["even"]
    value = (
        f"{percent(half)} of the {items} fill half of the top {measured['k']} "
        f"({percent(even['share_for_half'])} by chance)"
    )
    if measured["never"]:
        value += f", {percent(measured['never'])} are in none ({percent(even['never'])} by chance)"
    if measured["skewness"] is None:  # a gallery of no more than ten is answered as a whole
        return Verdict(
            "info", f"each of the {items} is among the first {measured['k']} as often as any other", value
        )
    value += f", skewness {number(measured['skewness'])}"
    share = half / even["share_for_half"]
    low = even["share_for_half_ci"][0] / even["share_for_half"]
    if low < EVEN_HUBS:
        return Verdict("info", f"too few {items} and queries to tell: random answers may look so too", value)
    if share >= EVEN_HUBS:
        return Verdict("good", f"no hubs among the {items}", value)
    if share >= SOME_HUBS:
        return Verdict("warn", f"some hubs among the {items}", value)
    return Verdict("bad", f"hubs among the {items}", value)


def adds(gains: Mapping[float, Mapping[str, Any]]) -> tuple[list[str], str]:
    """The hidden shares of a caption at which a paired gain in R@1 lies above 0, and all gains as text.

    Args:
        gains: Hidden share → `difference` and `ci`.
    """
    shown = [
        f"{gain['difference']:+.1f} ({gain['ci'][0]:+.1f} to {gain['ci'][1]:+.1f}) with {percent(ratio)} hidden"
        for ratio, gain in gains.items()
    ]
    return [percent(ratio) for ratio, gain in gains.items() if gain["ci"][0] > 0], "R@1 " + ", ".join(shown)


def uses_image(gains: Mapping[float, Mapping[str, Any]]) -> Verdict:
    """Whether the right image finds more than another image beside the same words; `gains` as in `adds`."""
    at, value = adds(gains)
    if not at:
        return Verdict("bad", "no: another image finds as much, as far as these images show", value)
    level: Level = "good" if len(at) == len(gains) else "warn"
    return Verdict(level, f"it does where {', '.join(at)} of the words are hidden", value)


def adds_to_words(gains: Mapping[float, Mapping[str, Any]]) -> Verdict:
    """Whether the image finds more than the same words in a model without images; `gains` as in `adds`."""
    at, value = adds(gains)
    if not at:
        return Verdict("warn", "no gain over the words alone is shown", value)
    return Verdict("good", f"it adds where {', '.join(at)} of the words are hidden", value)


def percent(share: float) -> str:
    """Two digits where there are no more before the point: `98 %`, `3 %`, `0.13 %`."""
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def number(value: float, digits: int = 2) -> str:
    """With so many decimals, and never -0.00."""
    return f"{round(value, digits) + 0.0:.{digits}f}"
