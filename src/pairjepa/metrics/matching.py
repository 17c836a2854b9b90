"""Search of images by words: images and their captions compared at once, and how probable it is that an image fits.

Where images came with captions, both are one vector an image, mixed. A probability comes from the cosine by logistic
regression on dev: own pairs against all others, weighed as if one image in forty fitted. So it depends neither on how
many images there are nor on dev's size. Other images that fit the words as well count as no match, as in Recall@K.

Axes: images, captions, dim.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int
from scipy.optimize import minimize
from scipy.special import expit

from pairjepa.metrics.hubness import HubnessCorrection
from pairjepa.util.unit import unit

CAPTION_WEIGHT = 0.5
"""Share of the captions where dev, with one caption an image, cannot say."""
CAPTION_WEIGHTS = (0.25, 0.4, 0.5, 0.6, 0.75)
ROUNDS = 5
"""Captions of an image that are held out, one after the other."""
PRIOR = 1 / 40
"""Share of the images that fit, before anything is known of them."""
WEIGHT = 1_000
"""Of all pairs together, beside what draws slope and intercept to 0."""
BINS, RANGE = 2_000, (-1.0, 1.0)
"""Cosines are counted in bins of so many."""
Search = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Queries, the row of each one's image, and what images are compared by: themselves, or their captions' directions."""


def search_settings(
    image: Float32[np.ndarray, "images dim"],
    text: Float32[np.ndarray, "captions dim"],
    owner: Int[np.ndarray, " captions"],
    correction: HubnessCorrection,
) -> dict[str, Any]:
    """What a search of images by words takes from a dev split.

    Returns:
        `caption_weight`, the share of the captions in a search by both; `fit`, slope and intercept by what is
        compared; `penalty`, mean and deviation of what the correction takes from images. Without two captions of an
        image nothing is known but of a search by image, without two images nothing of how well one fits.
    """
    searches: dict[str, list[Search]] = {"image": [(text, owner, image)]}
    penalty = correction.of_image(image)
    settings: dict[str, Any] = {"penalty": [float(penalty.mean()), float(penalty.std())]}
    if rounds := held_out(image, text, owner):
        weight = choose_weight(image, rounds)
        searches["caption"] = rounds
        searches["both"] = [(queries, own, mixed(image, words, weight)) for queries, own, words in rounds]
        settings["caption_weight"] = weight
    fits = {by: fit_probability(some) for by, some in searches.items()} if len(image) > 1 else {}
    return settings | {"fit": fits}


def fit_probability(searches: Iterable[Search]) -> list[float]:
    """Slope and intercept of the log-odds, by cosines."""
    own, every = np.zeros(BINS), np.zeros(BINS)
    for queries, rows, gallery in searches:
        there = gallery.any(axis=1)  # without captions there is nothing to be compared
        cosines = (queries @ gallery.T).clip(*RANGE)
        own += np.histogram(cosines[np.arange(len(rows)), rows], BINS, RANGE)[0]
        every += np.histogram(cosines[:, there], BINS, RANGE)[0]
    other = every - own
    right = WEIGHT * PRIOR * own / own.sum()
    wrong = WEIGHT * (1 - PRIOR) * other / max(other.sum(), 1)
    return list(_logistic(np.linspace(*RANGE, 2 * BINS + 1)[1::2], right, right + wrong))


def _logistic(
    x: Float[np.ndarray, " bins"], right: Float[np.ndarray, " bins"], of: Float[np.ndarray, " bins"]
) -> tuple[float, float]:
    """Slope and intercept with the highest likelihood, both drawn a little to 0, so that there is one."""
    mean = (of @ x) / of.sum()
    spread = np.sqrt(of @ (x - mean) ** 2 / of.sum()) + 1e-6

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        z = (x - mean) / spread
        odds = parameters[0] * z + parameters[1]
        wrong = of * expit(odds) - right
        value = of @ np.logaddexp(0, odds) - right @ odds + 0.5 * parameters @ parameters / 100
        return float(value), np.array([wrong @ z, wrong.sum()]) + parameters / 100

    a, b = minimize(loss, np.zeros(2), jac=True, method="BFGS").x
    return float(a / spread), float(b - a * mean / spread)


def mean_directions(captions: Sequence[np.ndarray]) -> Float32[np.ndarray, "images dim"]:
    """The unit mean of each image's captions, an array (captions, dim) an image; zeros where there are none."""
    return unit(np.stack([rows.sum(axis=0, dtype=np.float32) for rows in captions]))


def mixed(
    image: Float32[np.ndarray, "images dim"], words: Float32[np.ndarray, "images dim"], weight: float
) -> Float32[np.ndarray, "images dim"]:
    """Unit vectors between images and their captions' mean directions; of images without captions their own."""
    return unit((1 - weight) * image + weight * words)


def held_out(
    image: Float32[np.ndarray, "images dim"],
    text: Float32[np.ndarray, "captions dim"],
    owner: Int[np.ndarray, " captions"],
) -> list[Search]:
    """Searches for images by a caption that is held out, while the images' other captions are known."""
    order = np.argsort(owner, kind="stable")
    counts = np.bincount(owner, minlength=len(image))
    turn = np.empty(len(owner), np.int64)
    turn[order] = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    total = np.zeros_like(image)
    np.add.at(total, owner, text)
    rounds = []
    for number in range(min(ROUNDS, int(counts.max(initial=0)))):
        rows = np.flatnonzero((turn == number) & (counts[owner] > 1))
        left = total.copy()
        left[owner[rows]] -= text[rows]
        if len(rows):
            rounds.append((text[rows], owner[rows], unit(left)))
    return rounds


def choose_weight(image: Float32[np.ndarray, "images dim"], rounds: Sequence[Search]) -> float:
    """The share of the captions by which held out ones find their image best (sum of R@1, R@5 and R@10)."""
    found = {
        weight: sum(_hits(queries @ mixed(image, words, weight).T, own) for queries, own, words in rounds)
        for weight in (CAPTION_WEIGHT, *CAPTION_WEIGHTS)
    }
    return max(found, key=lambda weight: found[weight])


def _hits(scores: Float32[np.ndarray, "queries images"], own: Int[np.ndarray, " queries"]) -> int:
    ranks = (scores >= scores[np.arange(len(own)), own][:, None] - 1e-6).sum(axis=1)
    return int(sum((ranks <= k).sum() for k in (1, 5, 10)))
