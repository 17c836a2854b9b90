"""Scores of a fold against plain loops."""

import numpy as np
import pytest

from pairjepa.apps.audit.scores import Scores, joined, score


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def fold() -> dict[str, np.ndarray]:
    """Twelve images, of which two are twins, with one to four captions; some of the same words."""
    rng = np.random.default_rng(3)
    owner = np.repeat(np.arange(12), rng.integers(1, 5, 12))
    words = np.arange(len(owner))
    words[[0, -1]] = 0
    twins = np.arange(12)
    twins[7] = 2
    image = unit(rng.normal(size=(12, 6)))
    return {
        "image": image,
        "text": unit(image[owner] + rng.normal(size=(len(owner), 6))),
        "owner": owner,
        "twins": twins,
        "words": words,
    }


def others_of(fold: dict[str, np.ndarray], caption: int) -> list[int]:
    own, words = fold["owner"][caption], fold["words"][caption]
    with_words = set(fold["owner"][fold["words"] == words])
    return [i for i in range(12) if fold["twins"][i] != fold["twins"][own] and i not in with_words]


def direction(rows: np.ndarray) -> np.ndarray:
    total = rows.sum(axis=0)
    return total / np.linalg.norm(total)


def test_against_a_loop(fold: dict[str, np.ndarray]) -> None:
    found = score(**fold)
    image, text, owner = fold["image"], fold["text"], fold["owner"]
    for caption, words in enumerate(text):
        own = words @ image[owner[caption]]
        others = {i: words @ image[i] for i in others_of(fold, caption)}
        best = max(others, key=lambda i: others[i])
        assert found.cosine[caption] == pytest.approx(own, abs=1e-6)
        assert found.rank[caption] == 1 + sum(value >= own for value in others.values())
        assert found.best[caption] == best
        assert found.margin[caption] == pytest.approx(own - others[best], abs=1e-6)
        siblings = (owner == owner[caption]) & (np.arange(len(text)) != caption)
        if siblings.any():
            by_captions = [words @ direction(text[owner == i]) for i in others]
            expected = words @ direction(text[siblings]) - max(by_captions)
            assert found.captions_margin[caption] == pytest.approx(expected, abs=1e-6)
            assert found.suspicion[caption] == pytest.approx(-(own - others[best]) - expected, abs=1e-5)
        else:
            assert np.isnan(found.captions_margin[caption])
            assert found.suspicion[caption] == pytest.approx(-(own - others[best]), abs=1e-6)


def test_mismatched_is_the_suspicion_of_a_wrong_image(fold: dict[str, np.ndarray]) -> None:
    """Each value is what some image among the others gives in the place of the caption's own."""
    found = score(**fold)
    image, text, owner = fold["image"], fold["text"], fold["owner"]
    drawn = 0
    for caption, words in enumerate(text):
        others = others_of(fold, caption)
        siblings = (owner == owner[caption]).sum() > 1
        possible = []
        for wrong in others:
            left = [i for i in others if i != wrong]
            value = max(words @ image[i] for i in left) - words @ image[wrong]
            if siblings:
                centre = {i: words @ direction(text[owner == i]) for i in others}
                value += max(centre[i] for i in left) - centre[wrong]
            possible.append(value)
        if np.isfinite(found.mismatched[caption]):
            drawn += 1
            assert np.abs(np.array(possible) - found.mismatched[caption]).min() < 1e-5
    assert drawn > len(text) / 2


def test_chunks_change_nothing(fold: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = score(**fold)
    monkeypatch.setattr("pairjepa.metrics.retrieval.CHUNK_BYTES", 1)
    parts = score(**fold)
    for name in ("rank", "best", "cosine", "margin", "captions_margin", "mismatched"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), atol=1e-6, err_msg=name)


def test_ties_count_against_the_pair() -> None:
    image = np.tile(np.float32([1, 0]), (4, 1))
    found = score(image, image, np.arange(4), np.arange(4), np.arange(4))
    assert found.rank.tolist() == [4, 4, 4, 4]


def test_where_there_is_no_other_nothing_is_suspicious() -> None:
    image = unit(np.random.default_rng(0).normal(size=(3, 4)))
    found = score(image, image, np.arange(3), np.arange(3), np.zeros(3, np.int64))
    assert found.rank.tolist() == [1, 1, 1]
    assert found.best.tolist() == [-1, -1, -1]
    assert np.isnan(found.suspicion).all()
    assert np.isnan(found.mismatched).all()


def test_folds_join_in_the_order_of_the_captions(fold: dict[str, np.ndarray]) -> None:
    whole = score(**fold)
    order = np.random.default_rng(1).permutation(len(whole.rank))
    parts = [Scores(**{n: getattr(whole, n)[rows] for n in vars(whole)}) for rows in (order[:5], order[5:])]
    np.testing.assert_array_equal(joined(parts, np.argsort(order)).margin, whole.margin)
