"""The nearest rows, against a comparison of one row after the other; and what a new version shows."""

from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairjepa.apps.search import stored
from pairjepa.apps.search.stored import scores_of, top
from pairjepa.apps.search.vectors import Vectors

DIM, ROWS = 64, 900


def _vectors(seed: int, rows: int = ROWS) -> np.ndarray:
    """Of unit norm, and some of them twice."""
    vectors = np.random.default_rng(seed).standard_normal((rows, DIM))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[rows // 2 : rows // 2 + 50] = vectors[:50]
    return vectors.astype(np.float32)


def _append(path: Path, vectors: np.ndarray, first: int = 0) -> None:
    numbers = range(first, first + len(vectors))
    table = pa.table(
        {
            "id": [f"{n:032x}" for n in numbers],
            "name": [f"{n}.jpg" for n in numbers],
            "width": pa.array(numbers, pa.int32()),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIM),
        }
    )
    lance.write_dataset(table, str(path), mode="append", max_rows_per_file=200)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> tuple[Vectors, np.ndarray]:
    """A table of which a row is gone, and the vectors that are left."""
    vectors, path = _vectors(0), tmp_path_factory.mktemp("tables") / "t.lance"
    _append(path, vectors)
    lance.dataset(str(path)).delete("width = 3")
    return Vectors(str(path), ["id", "name"], "0" * 32, {}), np.delete(vectors, 3, axis=0)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    k=st.sampled_from([1, 3, 10, 100, ROWS, 2 * ROWS]),
    least=st.sampled_from([0, 1, 450, 899, 900]),
    own=st.booleans(),
)
def test_the_best_rows_best_first_and_equal_ones_in_their_order(
    table: tuple[Vectors, np.ndarray], seed: int, k: int, least: int, own: bool
) -> None:
    searched, vectors = table
    query = vectors[seed % len(vectors)] + 0.01 * _vectors(seed, 100)[0]
    scores = np.array([vector @ query for vector in vectors])
    numbers = np.delete(np.arange(ROWS), 3)
    left = numbers >= least
    exclude = f"{numbers[seed % len(vectors)]:032x}" if own else None
    if own:
        left[seed % len(vectors)] = False
    where = f"width >= {least}" if least else None
    hits, found, cosines = searched.nearest(query, k, where, exclude)
    np.testing.assert_allclose(found, cosines, atol=1e-6)  # nothing is corrected here
    assert len(hits) == len(found) == min(k, left.sum())
    assert found == sorted(found, reverse=True)
    np.testing.assert_allclose(found, np.sort(scores[left])[::-1][:k], atol=1e-6)
    of_name = {f"{n}.jpg": (score, n) for n, score in zip(numbers[left], scores[left], strict=True)}
    np.testing.assert_allclose(found, [of_name[hit["name"]][0] for hit in hits], atol=1e-6)
    order = [(-score, of_name[hit["name"]][1]) for score, hit in zip(found, hits, strict=True)]
    assert order == sorted(order), "equal scores are in the order of their rows"


def test_equal_rows_have_equal_scores_wherever_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where threads share the rows."""
    monkeypatch.setattr(stored, "BLOCK", 37)
    vectors = np.repeat(_vectors(1)[:1], 1001, axis=0)
    scores = scores_of(vectors, _vectors(2)[0])
    assert len(set(scores.tolist())) == 1
    assert top(scores, 3).tolist() == [0, 1, 2]
    assert len(scores_of(vectors[:0], vectors[0])) == 0


@pytest.mark.parametrize("warm", [False, True])
def test_a_newer_version_shows_what_was_written(tmp_path: Path, warm: bool) -> None:
    vectors = _vectors(1)
    path = tmp_path / "t.lance"
    _append(path, vectors[:600])
    first = Vectors(str(path), ["name"], "0" * 32, {})
    if warm:
        first.warm()
    assert first.refreshed({}) is first
    _append(path, vectors[600:], 600)
    lance.dataset(str(path)).delete("width = 5")
    second = first.refreshed({})
    assert (len(first), len(second)) == (600, ROWS - 1)
    assert second.nearest(vectors[700], 1, None, None)[0] == [{"name": "700.jpg"}]
    assert second.nearest(vectors[5], 1, None, None)[0] == [{"name": "455.jpg"}]
    assert first.nearest(vectors[5], 1, None, None)[0] == [{"name": "5.jpg"}]


def test_an_empty_table(tmp_path: Path) -> None:
    _append(tmp_path / "t.lance", _vectors(0, 100))
    lance.dataset(str(tmp_path / "t.lance")).delete("true")
    empty = Vectors(str(tmp_path / "t.lance"), ["name"], "0" * 32, {})
    for where in (None, "width > 1"):
        assert empty.nearest(np.ones(DIM, np.float32), 5, where, None)[:2] == ([], [])
