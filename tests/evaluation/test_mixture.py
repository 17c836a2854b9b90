"""Search by image and captions together: held out captions against a naive loop, and the weight that dev chooses."""

import numpy as np

from pairjepa.metrics.matching import CAPTION_WEIGHTS, choose_weight, held_out, mean_directions, mixed

from .arrays import unit


def case(noise: float, counts: list[int], dim: int = 16) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, and captions around what they show; images themselves with so much noise."""
    rng = np.random.default_rng(0)
    shown = rng.normal(size=(len(counts), dim))
    owner = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    image = shown + noise * rng.normal(size=shown.shape)
    text = shown[owner] + 0.8 * rng.normal(size=(len(owner), dim))
    return unit(image).astype(np.float32), unit(text).astype(np.float32), owner


def test_each_caption_is_held_out_once_and_the_others_are_known() -> None:
    image, text, owner = case(1, [1, 2, 3, 0, 2])
    found = {}
    for queries, own, words in held_out(image, text, owner):
        for query, row in zip(queries, own, strict=True):
            (caption,) = np.flatnonzero((text == query).all(axis=1))
            others = text[(owner == row) & (np.arange(len(owner)) != caption)].sum(axis=0)
            np.testing.assert_allclose(words[row], others / np.linalg.norm(others), atol=1e-5)
            found[int(caption)] = int(row)
        np.testing.assert_allclose(words[0], text[owner == 0][0], atol=1e-5)
        assert not words[3].any()
    assert found == {caption: row for caption, row in enumerate(owner.tolist()) if row != 0}


def test_directions_are_unit_and_images_without_captions_stand_for_themselves() -> None:
    image, text, _ = case(1, [2, 2])
    words = mean_directions([text[:3], text[:0]])
    np.testing.assert_allclose(words[0], unit(text[:3].sum(axis=0, keepdims=True))[0], atol=1e-6)
    assert not words[1].any()
    both = mixed(image, words, 0.6)
    np.testing.assert_allclose(np.linalg.norm(both, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(both[1], image[1], atol=1e-6)


def test_the_weight_follows_what_is_worth_more() -> None:
    counts = [3] * 300
    assert _chosen(*case(0.1, counts)) == min(CAPTION_WEIGHTS)
    assert _chosen(*case(5, counts)) == max(CAPTION_WEIGHTS)


def _chosen(image: np.ndarray, text: np.ndarray, owner: np.ndarray) -> float:
    return choose_weight(image, held_out(image, text, owner))
