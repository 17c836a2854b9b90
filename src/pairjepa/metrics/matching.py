"""How probable it is that an image fits words: from their cosine, by logistic regression on dev.

Own pairs against all others, weighed as if one image in forty fitted. So a probability depends neither on how many
images there are nor on dev's size. Other images that fit the words as well count as no match, as in Recall@K.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int
from scipy.optimize import minimize
from scipy.special import expit

from pairjepa.metrics.hubness import HubnessCorrection
from pairjepa.metrics.mixture import choose_weight, held_out, mixed

PRIOR = 1 / 40
"""Share of the images that fit, before anything is known of them."""
WEIGHT = 1_000
"""Of all pairs together, beside what draws slope and intercept to 0."""
BINS, RANGE = 2_000, (-1.0, 1.0)
"""Cosines are counted in bins of so many."""
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
