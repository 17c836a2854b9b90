import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairjepa.metrics.baselines import chance
from pairjepa.metrics.relevance import Relevance
from pairjepa.metrics.retrieval import metrics, rank_metrics, ranks, recall_at, retrieve, rsum
from pairjepa.util.errors import UsageError

from .arrays import naive_rank, naive_ranks, ragged, unit

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 10_000)


@pytest.mark.parametrize("seed", range(4))
def test_ranks_are_those_of_the_definition(seed):
    image, text, owner = ragged(seed=seed)
    found = retrieve(image, text, owner)
    by_image, by_text = naive_ranks(image, text, owner)
    assert found.image_to_text.tolist() == by_image.tolist()
    assert found.text_to_image.tolist() == by_text.tolist()
    assert found.image_to_text.dtype == np.int64
    relevance = Relevance.by_owner(owner, len(image))
    assert ranks(image, text, relevance).tolist() == by_image.tolist()
    assert ranks(text, image, relevance.transposed()).tolist() == by_text.tolist()


@pytest.mark.parametrize("chunk_bytes", [1, 100, 2_000, 10_000])
def test_chunks_change_no_rank(chunk_bytes, monkeypatch):
    image, text, owner = ragged(images=60, dim=12, noise=2)
    whole = retrieve(image, text, owner)
    monkeypatch.setattr("pairjepa.metrics.retrieval.CHUNK_BYTES", chunk_bytes)
    parts = retrieve(image, text, owner)
    assert np.array_equal(whole.image_to_text, parts.image_to_text)
    assert np.array_equal(whole.text_to_image, parts.text_to_image)
    relevance = Relevance.by_owner(owner, len(image))
    assert np.array_equal(ranks(image, text, relevance), whole.image_to_text)


@few
@given(seeds)
def test_order_of_the_gallery_changes_no_rank(seed):
    image, text, owner = ragged(seed=seed)
    order = np.random.default_rng(seed).permutation(len(text))
    before, after = retrieve(image, text, owner), retrieve(image, text[order], owner[order])
    assert np.array_equal(before.image_to_text, after.image_to_text)
    assert np.array_equal(before.text_to_image[order], after.text_to_image)


@few
@given(st.lists(st.integers(1, 300), min_size=1), st.integers(1, 299))
def test_recall_is_monotone_in_k_and_full_at_the_end(found, k):
    found = np.array(found)
    assert recall_at(found, k) <= recall_at(found, k + 1)
    assert recall_at(found, 300) == 100


@few
@given(seeds, st.sampled_from([3, 64, 257, 700]), st.sampled_from([np.float16, np.float32, np.float64]))
def test_a_collapsed_model_has_the_worst_ranks_and_is_never_above_chance(seed, dim, dtype):
    _, text, owner = ragged(images=23, seed=seed)
    point = unit(np.random.default_rng(seed).normal(size=(1, dim))).astype(dtype)
    found = retrieve(np.repeat(point, 23, 0), np.repeat(point, len(text), 0), owner)
    assert np.array_equal(found.image_to_text, len(text) - np.bincount(owner) + 1)
    assert (found.text_to_image == 23).all()
    expected, measured = chance(Relevance.by_owner(owner, 23)), metrics(found)
    for way in ("image_to_text", "text_to_image"):
        assert all(measured[way][f"R@{k}"] <= expected[way][f"R@{k}"] for k in (1, 5, 10))
        assert measured[way]["mrr"] <= expected[way]["mrr"]


def test_no_array_holds_every_score(monkeypatch):
    image, text, owner = ragged(images=2_000)
    monkeypatch.setattr("pairjepa.metrics.retrieval.CHUNK_BYTES", 2**20)
    tracemalloc.start()
    retrieve(image, text, owner)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**22  # all of them take 4 bytes x 2,000 x 5,000


def test_more_items_are_counted_than_a_byte_holds():
    point = np.ones((1, 3), np.float32)
    found = retrieve(np.repeat(point, 600, 0), np.repeat(point, 700, 0), np.arange(700) % 600)
    assert (found.image_to_text[:100] == 699).all()
    assert (found.image_to_text[100:] == 700).all()
    assert (found.text_to_image == 600).all()


def test_rounding_of_kernels_breaks_no_tie():
    # Only one caption row differs from its twin, by less than a float32 dot product can tell.
    rng = np.random.default_rng(0)
    point = unit(rng.normal(size=(1, 300)))[0]
    text = np.repeat(point[None], 40, 0)
    text[0] *= np.float32(1 + 2e-7)
    found = retrieve(np.repeat(point[None], 40, 0), text, np.arange(40))
    assert (found.image_to_text == 40).all()


def test_collapse_to_nothing_is_collapse():
    _, text, owner = ragged(images=23)
    nothing = np.zeros((23, 4), np.float32), np.zeros((len(text), 4), np.float32)
    found = retrieve(*nothing, owner)
    assert np.array_equal(ranks(*nothing, Relevance.by_owner(owner, 23)), found.image_to_text)
    assert np.array_equal(found.image_to_text, len(text) - np.bincount(owner) + 1)
    assert (found.text_to_image == 23).all()


def test_lengths_change_no_tie():
    image, text, owner = ragged(images=40, noise=2)
    before, after = retrieve(image, text, owner), retrieve(image / 1024, text / 1024, owner)
    assert np.array_equal(before.image_to_text, after.image_to_text)
    assert np.array_equal(before.text_to_image, after.text_to_image)


def test_scores_at_or_below_zero_count():
    image = unit(np.array([[1.0, 0.0], [0.0, 1.0]]))
    text = unit(np.array([[-1.0, 0.1], [0.1, -1.0]]))
    # Own caption -0.995, the other's 0.0995 and so above it; nothing is dropped for its sign.
    assert retrieve(image, text, np.array([0, 1])).image_to_text.tolist() == [2, 2]
    text = unit(np.array([[-0.1, -1.0], [-1.0, -0.1]]))
    assert retrieve(image, text, np.array([0, 1])).image_to_text.tolist() == [1, 1]


@few
@given(seeds)
def test_a_copy_of_a_distractor_never_improves_a_rank(seed):
    image, text, owner = ragged(seed=seed, noise=2)
    relevance = Relevance.by_owner(owner, len(image))
    copied = Relevance(relevance.indptr, relevance.indices, len(text) + 1)
    item = seed % len(text)
    before, after = ranks(image, text, relevance), ranks(image, np.concatenate([text, text[[item]]]), copied)
    assert (after >= before).all()
    # The owner's own best may be tied with the copy: that counts against it.
    own = text[owner == owner[item]] @ image[owner[item]]
    if text[item] @ image[owner[item]] >= own.max():
        assert after[owner[item]] == before[owner[item]] + 1


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_half_precision_is_scored_in_single_precision_at_any_scale(scale):
    image, text, owner = ragged(images=150, dim=100, noise=6)
    image, text = unit(image + 0.2), unit(text + 0.2)  # all scores near 1, where half precision is coarse
    image, text = (image * scale).astype(np.float16), (text * scale).astype(np.float16)
    half = retrieve(image, text, owner)
    single = retrieve(image.astype(np.float32), text.astype(np.float32), owner)
    assert np.array_equal(half.image_to_text, single.image_to_text)
    assert np.array_equal(half.text_to_image, single.text_to_image)
    with np.errstate(over="ignore"):
        rounded = image @ text.T  # what scores in half precision would give is another answer
    best = [row[owner == query].max() for query, row in enumerate(rounded)]
    outranked = [(row[owner != query] >= best[query]).sum() for query, row in enumerate(rounded)]
    assert not np.array_equal(half.image_to_text, np.array(outranked) + 1)


def test_double_precision_is_no_other_protocol():
    image, text, owner = ragged(images=30, noise=2)
    one, two = retrieve(image, text, owner), retrieve(image.astype(float), text.astype(float), owner)
    assert np.array_equal(one.image_to_text, two.image_to_text)


def test_a_perfect_model_with_five_captions_an_image_has_full_recall():
    # By row index, as the reference did it, the same embeddings reach R@1 = 20 %.
    owner = np.repeat(np.arange(12), 5)
    image = unit(np.random.default_rng(0).normal(size=(12, 16)))
    perfect = retrieve(image, image[owner], owner)
    assert rsum(perfect) == 600
    by_row = ranks(image[owner], image[owner], Relevance.by_owner(np.arange(60), 60))
    assert recall_at(by_row, 1) == 0  # ties against the model
    assert metrics(perfect)["image_to_text"] == {
        "R@1": 100, "R@5": 100, "R@10": 100, "median_rank": 1, "mrr": 1
    }  # fmt: skip


def test_any_own_caption_is_a_hit():
    image = unit(np.eye(3))
    text = unit(np.array([[1.0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 1]]))
    found = retrieve(image, text, np.array([0, 0, 1, 2]))
    assert found.image_to_text.tolist() == [1, 1, 2]  # the last is tied with a caption of image 0
    assert found.text_to_image.tolist() == [1, 3, 1, 1]


def test_metrics_by_hand():
    found = np.array([1, 2, 6, 11])
    assert [recall_at(found, k) for k in (1, 5, 10, 100)] == [25, 50, 75, 100]
    assert rank_metrics(found)["median_rank"] == 4
    assert rank_metrics(found)["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 6 + 1 / 11) / 4)


@few
@given(seeds)
def test_relevance_by_text_counts_every_caption_with_the_same_words(seed):
    image, text, owner = ragged(seed=seed)
    captions = [" dog", "dog ", "cat", "a\nfish", "cow"] * len(owner)
    words = list(np.random.default_rng(seed).choice(captions, len(owner)))
    relevance = Relevance.by_text(owner, words, len(image))
    right = [
        {
            c
            for c in range(len(text))
            if words[c].strip() in {words[o].strip() for o in np.flatnonzero(owner == i)}
        }
        for i in range(len(image))
    ]
    stored = [
        set(relevance.indices[a:b]) for a, b in zip(relevance.indptr, relevance.indptr[1:], strict=False)
    ]
    assert stored == right
    assert len(relevance.indices) == sum(map(len, right))
    found = retrieve(image, text, owner, relevance)
    expected = [naive_rank(query, text, right[row]) for row, query in enumerate(image)]
    assert found.image_to_text.tolist() == expected
    of_caption = [{i for i in range(len(image)) if c in right[i]} for c in range(len(text))]
    assert found.text_to_image.tolist() == [naive_rank(q, image, of_caption[c]) for c, q in enumerate(text)]


def test_identical_captions_do_not_count_against_each_other_by_text():
    image = unit(np.eye(2))
    text, owner = unit(np.ones((2, 2))), np.array([0, 1])
    assert retrieve(image, text, owner).image_to_text.tolist() == [2, 2]
    relevance = Relevance.by_text(owner, ["a dog", "a dog"], 2)
    assert retrieve(image, text, owner, relevance).image_to_text.tolist() == [1, 1]


def test_mistakes_are_named():
    image, text, owner = ragged()
    broken = text.copy()
    broken[3, 1] = np.nan
    with pytest.raises(UsageError, match=r"text must be finite, got NaN or infinity in row 3 \(1 of"):
        retrieve(image, broken, owner)
    with pytest.raises(UsageError, match="image must be finite"):
        retrieve(image * np.float32(1e30), text, owner)
    with pytest.raises(UsageError, match="same width, got 7 and 8"):
        retrieve(image[:, :7], text, owner)
    with pytest.raises(UsageError, match=r"owner must have a row a caption|relevance must fit"):
        retrieve(image, text[:-1], owner)
    with pytest.raises(UsageError, match=r"owner must name rows of the 9 images \(from 0\), got 9"):
        retrieve(image, text, np.where(owner == 8, 9, owner))
    with pytest.raises(UsageError, match=r"got none for row 8 .*Leave out images without a caption"):
        retrieve(image, text[owner != 8], owner[owner != 8])
    with pytest.raises(UsageError, match=r"relevance must fit 9 queries and a gallery of \d+, got 3"):
        ranks(image, text, Relevance.by_owner(np.arange(3), 3))
    with pytest.raises(UsageError, match=r"shape \(rows, dim\)"):
        ranks(image[0], text, Relevance.by_owner(owner, 9))
    with pytest.raises(UsageError, match="captions must match owner, got 1 captions"):
        Relevance.by_text(owner, ["a"], 9)
