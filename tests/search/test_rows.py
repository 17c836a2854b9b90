"""The nearest rows, with and without heads, against a comparison of all; and what a new version takes over."""

from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairjepa.apps.search import rows as rows_module
from pairjepa.apps.search.pruning import Basis
from pairjepa.apps.search.rows import Rows, top

DIM, ROWS = 64, 900


def _unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _vectors(seed: int, rows: int = ROWS) -> np.ndarray:
    """With energy that falls from axis to axis, and some rows twice."""
    generator = np.random.default_rng(seed)
    turned = np.linalg.qr(generator.standard_normal((DIM, DIM)))[0]
    vectors = _unit((generator.standard_normal((rows, DIM)) * np.exp(-np.arange(DIM) / 6)) @ turned)
    vectors[rows // 2 : rows // 2 + 50] = vectors[:50]
    return vectors


def _append(path: Path, vectors: np.ndarray, first: int = 0) -> Any:
    numbers = range(first, first + len(vectors))
    table = pa.table(
        {
            "id": [f"{n:032x}" for n in numbers],
            "name": [f"{n}.jpg" for n in numbers],
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIM),
        }
    )
    return lance.write_dataset(table, str(path), mode="append", max_rows_per_file=200)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rows, Rows, np.ndarray]:
    """Rows without heads, and with them, and their vectors."""
    vectors = _vectors(0)
    table = _append(tmp_path_factory.mktemp("rows") / "t.lance", vectors)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "FEW", 100)
        return Rows(table, DIM), Rows(table, DIM, ["name"]), vectors


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    k=st.sampled_from([1, 3, 10, 100, ROWS, 2 * ROWS]),
    near=st.booleans(),
    share=st.sampled_from([0.0, 0.01, 0.5, 1.0]),
)
def test_heads_change_no_answer(
    both: tuple[Rows, Rows, np.ndarray], seed: int, k: int, near: bool, share: float
) -> None:
    plain, pruned, vectors = both
    generator = np.random.default_rng(seed)
    query = generator.standard_normal(DIM)
    if near:  # like a row; else like none, and heads tell little
        query = vectors[generator.integers(ROWS)] + 0.05 * query
    query = _unit(query[None])[0]
    mask = None if share == 1 else generator.random(ROWS) < share
    scores = np.vecdot(vectors, query)
    scores[np.zeros(ROWS, bool) if mask is None else ~mask] = -np.inf
    expected = top(scores, k)
    for searched in (plain, pruned):
        rows, found = searched.nearest(query, k, mask)
        np.testing.assert_array_equal(rows, expected)
        np.testing.assert_array_equal(found, scores[expected])


def test_heads_leave_few_to_be_read(both: tuple[Rows, Rows, np.ndarray]) -> None:
    _, pruned, vectors = both
    assert pruned._basis is not None
    left = [len(pruned._candidates(vector, 5, None)) for vector in vectors[:50]]
    assert np.median(left) < 0.1 * ROWS


def test_vectors_without_a_direction_of_their_own_get_no_heads() -> None:
    assert Basis.of(_unit(np.random.default_rng(0).standard_normal((ROWS, DIM)))) is None


def test_what_has_not_changed_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "FEW", 100)
    vectors, more = _vectors(1), _vectors(2, 300)
    path = tmp_path / "t.lance"
    first = Rows(_append(path, vectors), DIM, ["name"])
    table = _append(path, more, ROWS)
    table.delete(f"id = '{3:032x}'")
    second = Rows(table, DIM, ["name"], first)
    taken = [part for part in second.parts if any(part.vectors is old.vectors for old in first.parts)]
    assert len(taken) == len(first.parts) - 1, "all but the file with the row that is gone"
    everything = np.concatenate([np.delete(vectors, 3, axis=0), more])
    fresh = Rows(table, DIM)
    for query in everything[::100]:
        rows, scores = second.nearest(query, 20)
        np.testing.assert_array_equal(rows, top(np.vecdot(everything, query), 20))
        for ours, theirs in zip(fresh.nearest(query, 20), (rows, scores), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert [row["name"] for row in second.take(np.array([2, 3, ROWS - 1]))] == ["2.jpg", "4.jpg", "900.jpg"]
    assert len(first) == ROWS
    assert first.take(np.array([3]))[0]["name"] == "3.jpg"


def test_an_empty_table(tmp_path: Path) -> None:
    table = _append(tmp_path / "t.lance", _vectors(0, 100))
    table.delete("true")
    rows = Rows(table, DIM, ["name"])
    assert len(rows) == 0
    found, scores = rows.nearest(np.ones(DIM, np.float32), 5)
    assert len(found) == len(scores) == 0
