"""Probabilities of a match: whether they come true, also among more images than they were fitted on."""

import numpy as np
import pytest

from pairjepa.apps.search.index import match_probability
from pairjepa.metrics.hubness import HubnessCorrection
from pairjepa.metrics.matching import fit_match, search_settings

from .arrays import unit


def case(seed: int, images: int, captions: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    image = unit(rng.normal(size=(images, 12)))
    owner = np.repeat(np.arange(images), captions)
    text = unit(image[owner] + 0.25 * rng.normal(size=(len(owner), 12)))
    return image.astype(np.float32), text.astype(np.float32), owner


def correction(alpha: float) -> HubnessCorrection:
    return HubnessCorrection(*case(9, 100)[:2], alpha=alpha, k=8)


@pytest.mark.parametrize("alpha", [0.0, 0.5])
@pytest.mark.parametrize("images", [150, 600])
def test_what_is_said_comes_true_among_fewer_and_more_images(alpha: float, images: int) -> None:
    image, text, owner = case(0, 300)
    match = fit_match([(text, owner, image)], correction(alpha))
    image, text, owner = case(1, images)
    scores = text @ image.T - correction(alpha).of_image(image)
    said = match_probability(scores, match, images)
    right = owner[:, None] == np.arange(images)
    assert said.sum() == pytest.approx(right.sum(), rel=0.2)
    for low, high in ((0.1, 0.5), (0.5, 0.9)):
        some = (said > low) & (said < high)
        assert right[some].mean() == pytest.approx(said[some].mean(), abs=0.12)
    assert (np.diff(match_probability(np.linspace(-1, 1, 50), match, images)) > 0).all()


def test_a_perfect_and_a_blind_model() -> None:
    image, _, _ = case(0, 50)
    own = np.arange(50)
    slope, intercept = fit_match([(image, own, image)], correction(0))
    assert np.isfinite([slope, intercept]).all()
    assert match_probability(np.array(1.0), (slope, intercept), 50) > 0.9
    blind = fit_match([(case(5, 50)[0], own, image)], correction(0))
    assert match_probability(np.array([0.0, 0.3]), blind, 50).max() < 0.2


def test_what_dev_says_of_a_search() -> None:
    found = search_settings(*case(0, 100), correction(0.5))
    assert set(found) == {"caption_weight", "match", "penalty"}
    assert set(found["match"]) == {"image", "caption", "both"}
    alone = search_settings(*case(0, 100, captions=1), correction(0.5))
    assert set(alone) == {"match", "penalty"}
    assert set(alone["match"]) == {"image"}
