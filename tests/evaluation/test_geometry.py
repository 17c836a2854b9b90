import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairjepa.metrics import geometry
from pairjepa.metrics.relevance import Relevance

from .arrays import ragged, unit


def sphere(rows, dim, seed=0):
    return unit(np.random.default_rng(seed).normal(size=(rows, dim)))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_random_pairs_are_all_others_or_an_even_draw_of_them(seed):
    _, text, owner = ragged(seed=seed)
    words = np.random.default_rng(seed).choice(["a", "b", "c", "d"], len(text)).tolist()
    relevance = Relevance.by_text(owner, words, 9)
    right = set(zip(relevance.query.tolist(), relevance.indices.tolist(), strict=True))
    others = [pair for pair in itertools.product(range(9), range(len(text))) if pair not in right]
    every = geometry.random_pairs(relevance, pairs=10_000)
    assert list(zip(*(side.tolist() for side in every), strict=True)) == others
    few = list(
        zip(*(side.tolist() for side in geometry.random_pairs(relevance, pairs=5, seed=seed)), strict=True)
    )
    assert set(few) <= set(others)
    assert len(few) == min(5, len(others))


def test_random_pairs_are_drawn_evenly_and_by_seed():
    relevance = Relevance.by_owner(np.array([0, 0, 0, 1, 2, 3, 4]), 5)
    query, item = geometry.random_pairs(relevance, pairs=10, seed=1)
    again, other = (geometry.random_pairs(relevance, pairs=10, seed=s) for s in (1, 2))
    assert np.array_equal(query, again[0])
    assert not (np.array_equal(query, other[0]) and np.array_equal(item, other[1]))
    drawn = np.zeros((5, 7))
    for s in range(3_000):
        np.add.at(drawn, geometry.random_pairs(relevance, pairs=10, seed=s), 1)
    assert (drawn > 0).sum() == 35 - 7
    assert drawn[drawn > 0] == pytest.approx(np.full(28, 30_000 / 28), rel=0.15)


def test_a_single_image_has_no_random_pair():
    query, item = geometry.random_pairs(Relevance.by_owner(np.zeros(3, int), 1))
    assert len(query) == len(item) == 0


def test_cosine_in_chunks_is_cosine(monkeypatch):
    image, text, owner = ragged()
    monkeypatch.setattr("pairjepa.metrics.retrieval.CHUNK_BYTES", 200)
    found = geometry.pair_cosine(image, text, owner, np.arange(len(owner)))
    expected = [float(image[o].astype(float) @ text[c].astype(float)) for c, o in enumerate(owner)]
    assert found == pytest.approx(expected)


def test_auc_against_all_pairs():
    rng = np.random.default_rng(0)
    matched, random = rng.integers(0, 8, 40) / 10, rng.integers(0, 6, 30) / 10
    wins = [(m > r) + 0.5 * (m == r) for m in matched for r in random]
    assert geometry.auc(matched, random) == pytest.approx(np.mean(wins))
    assert geometry.auc(np.ones(3), np.ones(4)) == 0.5


def test_overlap_from_apart_to_alike():
    rng = np.random.default_rng(0)
    assert geometry.overlap(np.array([0.8, 0.9]), np.array([0.1, 0.2])) == 0
    assert geometry.overlap(np.ones(5), np.ones(3)) == 1
    same = rng.normal(size=1000)
    assert geometry.overlap(same, same[::-1]) == pytest.approx(1)
    # Two normals one standard deviation apart overlap by 2·Φ(-1/2) = 0.617.
    assert geometry.overlap(rng.normal(1, 1, 200_000), rng.normal(0, 1, 200_000)) == pytest.approx(
        0.617, abs=0.01
    )


def test_alignment_is_the_mean_squared_distance():
    image, text, owner = ragged()
    matched = geometry.pair_cosine(image, text, owner, np.arange(len(owner)))
    expected = ((image[owner].astype(float) - text) ** 2).sum(axis=1).mean()
    assert geometry.alignment(matched) == pytest.approx(expected, abs=1e-6)


def test_uniformity_against_the_loop_and_its_limits():
    rows = sphere(12, 5)
    terms = [np.exp(-2 * ((a.astype(float) - b) ** 2).sum()) for a, b in itertools.combinations(rows, 2)]
    assert geometry.uniformity(rows) == pytest.approx(np.log(np.mean(terms)), abs=1e-5)
    assert geometry.uniformity(np.repeat(rows[:1], 9, 0)) == pytest.approx(0, abs=1e-5)
    assert geometry.uniformity(sphere(1500, 512)) == pytest.approx(-4, abs=0.02)
    assert geometry.uniformity(rows[:1]) is None


def test_uniformity_of_many_rows_is_that_of_a_seeded_sample():
    rows = sphere(800, 6)
    sampled = geometry.uniformity(rows, rows=400, seed=3)
    assert sampled == geometry.uniformity(rows, rows=400, seed=3)
    assert sampled != geometry.uniformity(rows, rows=400, seed=4)
    assert sampled == pytest.approx(geometry.uniformity(rows), abs=0.05)


def test_effective_rank_against_the_singular_values():
    rows = sphere(30, 7)
    values = np.linalg.svd(rows.astype(float) - rows.mean(axis=0, dtype=float), compute_uv=False)
    share = values / values.sum()
    assert geometry.spread(rows).effective_rank == pytest.approx(
        np.exp(-np.sum(share * np.log(share))), rel=1e-6
    )


@pytest.mark.parametrize("directions", [1, 4])
def test_effective_rank_counts_equal_directions(directions):
    # ± one axis each: centred, and spread alike over so many directions.
    rows = np.concatenate([np.eye(16), -np.eye(16)])[np.r_[:directions, 16 : 16 + directions]]
    assert geometry.spread(rows.astype(np.float32)).effective_rank == pytest.approx(directions)


def test_effective_rank_of_one_point_is_none_at_all():
    assert geometry.spread(np.repeat(sphere(1, 300), 50, 0)).effective_rank == 0


def test_modality_gap_is_the_distance_of_the_means():
    image, text = np.tile([[1.0, 0.0]], (3, 1)), np.array([[0.0, 1.0], [0.0, -1.0]])
    assert geometry.modality_gap(image.astype(np.float32), text.astype(np.float32)) == pytest.approx(1)
    assert geometry.modality_gap(image, -image) == pytest.approx(2)


def test_deviation_of_uniform_rows_is_one_over_root_dim():
    assert geometry.spread(sphere(4_000, 64)).std_per_dim.mean() == pytest.approx(1 / 8, rel=0.01)
    assert geometry.spread(np.repeat(sphere(1, 64), 9, 0)).std_per_dim.max() < 1e-8


def test_standard_deviations_are_those_of_numpy_without_a_copy_in_double_precision():
    rows = np.random.default_rng(0).normal(3, 1, (20_000, 64)).astype(np.float32)
    expected = rows.std(axis=0, dtype=np.float64)
    tracemalloc.start()
    found = geometry.spread(rows).std_per_dim
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == pytest.approx(expected, rel=1e-12)
    assert peak < rows.nbytes


def test_trustworthiness_is_scikit_learns_where_nothing_is_equal(monkeypatch):
    from sklearn.manifold import trustworthiness

    rng = np.random.default_rng(0)
    rows, places = sphere(60, 8), {"map": sphere(60, 8)[:, :2], "noise": rng.normal(size=(60, 2))}
    for place in places.values():
        expected = trustworthiness(rows, place, n_neighbors=7, metric="cosine")
        for chunk_bytes in (2**20, 5_000):
            monkeypatch.setattr("pairjepa.metrics.retrieval.CHUNK_BYTES", chunk_bytes)
            found = geometry.trustworthiness(rows, place, neighbours=7)
            assert found == pytest.approx(expected)


def test_trustworthiness_does_not_hang_on_the_order_of_equal_rows():
    rng = np.random.default_rng(0)
    distinct = sphere(8, 8)
    rows = np.repeat(distinct, 10, axis=0)
    perfect, collapsed = np.repeat(rng.normal(size=(8, 2)), 10, axis=0), np.zeros((80, 2))
    for order in (np.arange(80), rng.permutation(80)):
        assert geometry.trustworthiness(rows[order], perfect[order], neighbours=5) == 1
        found = geometry.trustworthiness(rows[order], collapsed[order], neighbours=5)
        assert found == pytest.approx(geometry.trustworthiness(rows, collapsed, neighbours=5))
    # a map that is one place is no better than one drawn at random
    chance = [geometry.trustworthiness(rows, rng.normal(size=(80, 2)), neighbours=5) for _ in range(20)]
    assert found == pytest.approx(np.mean(chance), abs=0.03)
