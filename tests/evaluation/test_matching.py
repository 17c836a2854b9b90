"""Probabilities that images fit words: whether they come true, among however many images."""

import numpy as np
import pytest

from pairjepa.apps.search.index import probability_of
from pairjepa.metrics.hubness import HubnessCorrection
from pairjepa.metrics.matching import PRIOR, fit_probability, search_settings

from .arrays import unit


def case(seed: int, images: int, captions: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    image = unit(rng.normal(size=(images, 12)))
    owner = np.repeat(np.arange(images), captions)
    text = unit(image[owner] + 0.25 * rng.normal(size=(len(owner), 12)))
    return image.astype(np.float32), text.astype(np.float32), owner


@pytest.mark.parametrize("images", [40, 600])
def test_what_is_said_comes_true_where_one_image_in_forty_fits(images: int) -> None:
    image, text, owner = case(0, 300)
    fit = fit_probability([(text, owner, image)])
    image, text, owner = case(1, images)
    cosines = text @ image.T
    said = probability_of(cosines, fit)
    right = owner[:, None] == np.arange(images)
    weight = np.where(right, PRIOR / right.mean(), (1 - PRIOR) / (1 - right.mean()))
    assert (said * weight).sum() == pytest.approx((right * weight).sum(), rel=0.2)
    for low, high in ((0.1, 0.5), (0.5, 0.9)):
        some = (said > low) & (said < high)
        assert np.average(right[some], weights=weight[some]) == pytest.approx(said[some].mean(), abs=0.15)
    assert (np.diff(probability_of(np.linspace(-1, 1, 50), fit)) > 0).all()


def test_it_says_the_same_by_a_dev_split_of_another_size() -> None:
    """What an image with a cosine of 0.8 is worth hangs neither on the index nor on how many dev images there are."""
    fits = [fit_probability([(text, owner, image)]) for image, text, owner in (case(0, 200), case(1, 2_000))]
    at = np.linspace(0.6, 1, 9)
    np.testing.assert_allclose(*(probability_of(at, fit) for fit in fits), atol=0.1)


def test_a_perfect_and_a_blind_model() -> None:
    image, _, _ = case(0, 50)
    own = np.arange(50)
    fit = fit_probability([(image, own, image)])
    assert np.isfinite(fit).all()
    assert probability_of(np.array([1.0]), fit)[0] > 0.9
    blind = fit_probability([(case(5, 50)[0], own, image)])
    assert probability_of(np.array([0.0, 0.3]), blind).max() < 0.2


def test_what_dev_says_of_a_search() -> None:
    correction = HubnessCorrection(*case(9, 100)[:2], alpha=0.5, k=8)
    found = search_settings(*case(0, 100), correction)
    assert set(found) == {"caption_weight", "fit", "penalty"}
    assert set(found["fit"]) == {"image", "caption", "both"}
    alone = search_settings(*case(0, 100, captions=1), correction)
    assert set(alone) == {"fit", "penalty"}
    assert set(alone["fit"]) == {"image"}
    assert search_settings(*case(0, 1), correction)["fit"] == {}
