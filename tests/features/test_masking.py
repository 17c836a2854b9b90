"""Masks: the share that is asked for, whole words where words are asked for, and always the same ones."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairjepa.backbones.masking import WAYS, Masking, Tokens, count_of

# [CLS] a black labrador ##s jump ##ing over it . [SEP]
TOKENS = Tokens(
    ids=[101, 1, 2, 3, 4, 5, 6, 7, 8, 9, 102],
    words=[None, 0, 1, 2, 2, 3, 3, 4, 5, 6, None],
    content=[False, False, True, True, True, True, True, False, False, False, False],
    spans=[],
)
MASK = 103


@pytest.mark.parametrize("kind", sorted(WAYS))
@settings(max_examples=30, deadline=None)
@given(low=st.floats(0, 1), high=st.floats(0, 1), key=st.text(max_size=3))
def test_special_tokens_stay_and_masks_repeat(kind, low, high, key):
    masking = Masking(kind, min(low, high), max(low, high), MASK)
    ids = masking.masked(TOKENS, key)
    assert (ids[0], ids[-1]) == (101, 102)
    assert all(new in (old, MASK) for new, old in zip(ids, TOKENS.ids, strict=True))
    assert ids == masking.masked(TOKENS, key)


@pytest.mark.parametrize(
    ("kind", "ratio", "hidden"), [("tokens", 0.3, 3), ("spans", 0.3, 3), ("tokens", 1.0, 9)]
)
def test_exact_number_of_tokens(kind, ratio, hidden):
    for key in "abcdefgh":
        assert len(Masking(kind, ratio, ratio).hidden(TOKENS, key)) == hidden


@pytest.mark.parametrize("kind", ["words", "content"])
def test_words_are_hidden_whole(kind):
    for key in "abcdefgh":
        hidden = Masking(kind, 0.5, 0.5).hidden(TOKENS, key)
        for pair in ({3, 4}, {5, 6}):
            assert len(pair & hidden) in (0, 2)


@pytest.mark.parametrize("kind", sorted(WAYS))
def test_without_a_mask_token_hidden_tokens_are_left_out(kind):
    hidden = Masking(kind, 0.5, 0.5).hidden(TOKENS, "a")
    seen = Masking(kind, 0.5, 0.5).masked(TOKENS, "a")
    assert seen == [token for place, token in enumerate(TOKENS.ids) if place not in hidden]
    assert len(seen) == len(TOKENS.ids) - len(hidden) < len(TOKENS.ids)


def test_content_leaves_function_words():
    assert Masking("content", 1.0, 1.0).hidden(TOKENS, "") == {2, 3, 4, 5, 6}


def test_spans_are_neighbours_more_often_than_tokens():
    def neighbours(kind):
        masks = [Masking(kind, 0.4, 0.4).hidden(TOKENS, str(k)) for k in range(200)]
        return sum(p + 1 in mask for mask in masks for p in mask)

    assert neighbours("spans") > 1.3 * neighbours("tokens")


def test_ratios_are_drawn_from_the_range():
    counts = {len(Masking("tokens", 0.1, 0.9).hidden(TOKENS, str(k))) for k in range(200)}
    assert counts == set(range(1, 9))


def test_another_key_is_another_mask():
    masks = {frozenset(Masking("tokens", 0.5, 0.5).hidden(TOKENS, str(k))) for k in range(20)}
    assert len(masks) > 10


def test_nothing_of_nothing():
    assert [count_of(0.0, 9), count_of(0.01, 9), count_of(0.5, 0), count_of(1.0, 9)] == [0, 1, 0, 9]
