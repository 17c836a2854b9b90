"""How probable it is that an image is the one that words describe: from its score, by logistic regression on dev.

One of N images is taken for the match before any score is known; the log-odds of a pair are then
slope · score + intercept − log N. So the same score means less among more images. Other images that fit the words as
well count as no match, as in Recall@K.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int
from scipy.optimize import minimize
from scipy.special import expit

from pairjepa.metrics.hubness import HubnessCorrection
from pairjepa.metrics.mixture import choose_weight, held_out, mixed

BINS, RANGE = 4_000, (-3.0, 3.0)
"""Scores are counted in bins of so many; a correction takes at most 1 from a cosine."""
Search = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Queries, the row of each one's image, and what images are compared by."""


def search_settings(
    image: Float32[np.ndarray, "images dim"],
    text: Float32[np.ndarray, "captions dim"],
    owner: Int[np.ndarray, " captions"],
    correction: HubnessCorrection,
) -> dict[str, Any]:
    """What a search of images by words takes from a dev split.

    Returns:
        `caption_weight`, the share of the captions in a search by both; `match`, slope and intercept by what is
        compared; `penalty`, mean and deviation of what the correction takes from images. Without two captions of an
        image nothing is known but of a search by image.
    """
    searches: dict[str, list[Search]] = {"image": [(text, owner, image)]}
    penalty = correction.of_image(image)
    settings: dict[str, Any] = {"penalty": [float(penalty.mean()), float(penalty.std())]}
    if rounds := held_out(image, text, owner):
        weight = choose_weight(image, rounds)
        searches["caption"] = rounds
        searches["both"] = [(queries, own, mixed(image, words, weight)) for queries, own, words in rounds]
        settings["caption_weight"] = weight
    return settings | {"match": {by: fit_match(some, correction) for by, some in searches.items()}}


def fit_match(searches: Iterable[Search], correction: HubnessCorrection) -> list[float]:
    """Slope and intercept of the log-odds, by corrected scores."""
    own, every, images = np.zeros(BINS), np.zeros(BINS), 1
    for queries, rows, gallery in searches:
        there = gallery.any(axis=1)  # without captions there is nothing to be compared
        scores = (queries @ gallery.T - correction.of_image(gallery)).clip(*RANGE)
        own += np.histogram(scores[np.arange(len(rows)), rows], BINS, RANGE)[0]
        every += np.histogram(scores[:, there], BINS, RANGE)[0]
        images = int(there.sum())
    slope, intercept = _logistic(np.linspace(*RANGE, 2 * BINS + 1)[1::2], own, every)
    return [slope, intercept + float(np.log(images))]


def _logistic(
    x: Float[np.ndarray, " bins"], right: Float[np.ndarray, " bins"], of: Float[np.ndarray, " bins"]
) -> tuple[float, float]:
    """Slope and intercept with the highest likelihood, a hair towards 0 where any slope is too small."""
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
