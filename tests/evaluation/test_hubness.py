"""Hubness correction, beside a naive loop, and what it must and must not do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairjepa.metrics.hubness import HubnessCorrection, hubness
from pairjepa.metrics.retrieval import retrieve, rsum

from .arrays import unit


def case(seed: int, images: int = 30, dim: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images and two captions of each, with a common direction that makes hubs."""
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(images, dim))
    owner = np.repeat(np.arange(images), 2)
    text = image[owner] + rng.normal(size=(2 * images, dim))
    text[:, 0] += 3 * (rng.random(2 * images) < 0.1)
    return unit(image).astype(np.float32), unit(text).astype(np.float32), owner


def naive_rank(scores: np.ndarray, relevant: np.ndarray) -> int:
    return 1 + int((scores[~relevant] >= scores[relevant].max() - 1e-6).sum())


def test_hubness_is_the_mean_of_the_best_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    _, gallery, _ = case(0)
    bank = case(1)[0]
    expected = np.array([[np.sort(bank @ item)[-k:].mean() for item in gallery] for k in (1, 4, 16)])
    for chunk_bytes in (300, 2**20):
        monkeypatch.setattr("pairjepa.metrics.retrieval.CHUNK_BYTES", chunk_bytes)
        found = hubness(gallery, bank, [1, 4, 16])
        assert np.abs(found - expected).max() < 1e-6


@settings(deadline=None)  # a busy machine is slow, not wrong
@given(st.integers(0, 50), st.sampled_from([0.25, 1.0]), st.sampled_from([1, 5]))
def test_ranks_are_those_of_a_naive_loop(seed: int, alpha: float, k: int) -> None:
    image, text, owner = case(seed)
    image_bank, text_bank, _ = case(seed + 1000)
    correction = HubnessCorrection(image_bank, text_bank, alpha, k)
    found = correction.ranks(image, text, owner)
    of_text = [np.sort(image_bank @ item)[-k:].mean() for item in text]
    of_image = [np.sort(text_bank @ item)[-k:].mean() for item in image]
    for row in range(len(image)):
        scores = image[row] @ text.T - alpha * np.array(of_text)
        assert found.image_to_text[row] == naive_rank(scores, owner == row)
    for row in range(len(text)):
        scores = text[row] @ image.T - alpha * np.array(of_image)
        assert found.text_to_image[row] == naive_rank(scores, np.arange(len(image)) == owner[row])


def test_inner_products_of_the_directions_are_corrected_scores() -> None:
    image, text, _ = case(4)
    correction = HubnessCorrection(*case(1004)[:2], alpha=0.5, k=3)
    sides = {"image_to_text": (image, text), "text_to_image": (text, image)}
    banks = {"image_to_text": correction.image_bank, "text_to_image": correction.text_bank}
    for way, (queries, gallery) in correction.directions(image, text).items():
        of_item = np.array([np.sort(banks[way] @ item)[-3:].mean() for item in sides[way][1]])
        expected = sides[way][0] @ sides[way][1].T - 0.5 * of_item
        assert np.abs(queries @ gallery.T - expected).max() < 1e-6


def test_without_strength_nothing_changes() -> None:
    image, text, owner = case(2)
    found = HubnessCorrection(*case(3)[:2], alpha=0.0, k=4).ranks(image, text, owner)
    plain = retrieve(image, text, owner)
    assert np.array_equal(found.image_to_text, plain.image_to_text)
    assert np.array_equal(found.text_to_image, plain.text_to_image)


def test_the_chosen_correction_is_never_below_none_on_dev_and_mends_hubs() -> None:
    image, text, owner = case(4, images=200)
    chosen = HubnessCorrection.choose(*case(5, images=200)[:2], image, text, owner)
    assert chosen.alpha > 0
    assert rsum(chosen.ranks(image, text, owner)) > rsum(retrieve(image, text, owner))


def test_a_collapsed_model_stays_at_chance() -> None:
    point = np.ones((20, 4), np.float32) / 2
    chosen = HubnessCorrection.choose(point, point, point, point, np.arange(20))
    assert (chosen.ranks(point, point, np.arange(20)).image_to_text == 20).all()


def test_a_bank_smaller_than_every_k_leaves_the_scores_alone() -> None:
    image, text, owner = case(6)
    assert HubnessCorrection.choose(image[:3], text[:3], image, text, owner).alpha == 0
