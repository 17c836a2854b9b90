"""Search that does not compare all vectors, against search that does."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pairjepa.apps.search import Index, approximate
from pairjepa.apps.search.loading import Loaded
from pairjepa.apps.search.meta import CAPTIONS, IMAGES, Approximation, Meta
from pairjepa.apps.search.place import Place
from pairjepa.apps.search.sources import Entry
from pairjepa.apps.search.stored import COLUMNS
from pairjepa.apps.search.tables import Tables

DIM, ROWS = 32, 3000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Vectors in clusters, as embeddings are; every other image is of the split `test`."""
    path = tmp_path_factory.mktemp("indexes") / "many.index"
    path.mkdir()
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((60, DIM))
    vectors = centres[generator.integers(0, 60, ROWS)] + 0.5 * generator.standard_normal((ROWS, DIM))
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    tables = Tables(Place(path), DIM, pa.schema([]), "0" * 32)
    rows, captions = [], []
    for number, vector in enumerate(unit):
        split = "test" if number % 2 else "train"
        entry = Entry("made", str(number), None, lambda: b"", (f"caption {number}",), split)
        noisy = vector + 0.1 * generator.standard_normal(DIM).astype(np.float32)
        captions.append((noisy / np.linalg.norm(noisy))[None])
        rows.append(Loaded(entry, str(number), size=(1, 1), vector=vector))
    tables.put(rows, captions)
    tables.finish()
    Meta("run", "0" * 32, DIM, "run", "0", complete=True).write(Place(path))
    return path


def test_recall_is_what_a_comparison_of_all_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exact = Index.open(folder)
    ways = {
        name: approximate.approximate(str(folder / name), str(folder / other))
        for name, other in ((IMAGES, CAPTIONS), (CAPTIONS, IMAGES))
    }
    assert "images.lance: 3,000 vectors, searched with IVF_RQ, which finds " in capsys.readouterr().err
    assert ways[IMAGES].rows == ROWS
    Meta("run", "0" * 32, DIM, "run", "0", complete=True, approximate=ways).write(Place(folder))
    quick = Index.open(folder)
    assert quick.meta.approximate[IMAGES] == ways[IMAGES]

    queries = np.random.default_rng(0).permutation(ROWS)[: approximate.QUERIES]
    vectors = _caption_vectors(folder)[np.sort(queries)]
    shares, where = [], "split = 'test'"
    for query in vectors:
        right, found = (i.search(query, 10, by="image") for i in (exact, quick))
        shares.append(len({hit.id for hit in right} & {hit.id for hit in found}) / 10)
        of = {hit.id: hit.score for hit in right}
        assert all(hit.score == pytest.approx(of.get(hit.id, hit.score), abs=1e-6) for hit in found)
        assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)
    assert np.mean(shares) == pytest.approx(ways[IMAGES].recall_at_10, abs=0.01)
    assert ways[IMAGES].recall_at_10 > 0.9

    nearest = exact.search(vectors[0], 1, by="image", where=where)[0].id
    hits = quick.search(vectors[0], 10, by="image", where=where, exclude=nearest)
    assert len(hits) == 10
    assert {item.split for hit in hits if (item := quick.get(hit.id))} == {"test"}
    assert nearest not in {hit.id for hit in hits}
    assert quick.search(vectors[0], 3, of="captions")[0].captions[0].startswith("caption ")


def _caption_vectors(folder: Path) -> np.ndarray:
    import lance

    column = lance.dataset(str(folder / CAPTIONS)).to_table(columns=["vector"])["vector"]
    return column.combine_chunks().flatten().to_numpy().reshape(-1, DIM)


@pytest.mark.parametrize(
    ("rows", "choice", "expected"),
    [
        (approximate.LIMIT, "auto", False),
        (approximate.LIMIT + 1, "auto", True),
        (10**7, "off", False),
        (1000, "on", True),
        (0, "on", False),
    ],
)
def test_when(rows: int, choice: approximate.Choice, expected: bool) -> None:
    assert approximate.wanted(rows, choice) is expected


def test_an_index_of_few_images_may_be_approximate(run: Path, tmp_path: Path, without_onnx: None) -> None:
    from pairjepa.apps.search.build import build

    index = build(run, ["shapes:80"], tmp_path / "out", approximate="on")
    assert isinstance(index.meta.approximate[IMAGES], Approximation)
    assert set(index.meta.ways(IMAGES)) == set(COLUMNS.values())
    for by in COLUMNS:
        assert len(index.search(np.eye(16, dtype=np.float32)[0], 5, by=by)) == 5  # type: ignore[arg-type]
    assert build(run, ["shapes:80"], tmp_path / "out", approximate="off").meta.approximate == {}


def _rows(vectors: np.ndarray, first: int) -> tuple[list[Loaded], np.ndarray]:
    """Images, each with a caption of the same vector."""
    entries = [
        Entry("made", str(number), None, lambda: b"", (f"caption {number}",))
        for number in range(first, first + len(vectors))
    ]
    images = [
        Loaded(entry, entry.name, size=(1, 1), vector=vector)
        for entry, vector in zip(entries, vectors, strict=True)
    ]
    return images, vectors[:, None]


def test_it_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few new rows wait outside of it and are found; many are added to it; only very many make it anew.

    What an index that was warm, and is so again after each growth, shows of its hits is what one shows that reads them.
    """
    import lance

    monkeypatch.setattr(approximate, "LEFT", 20)
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((3000, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    place, table = Place(tmp_path), str(tmp_path / IMAGES)
    done, warm = 0, None

    def opened() -> Index:
        nonlocal warm
        index = Index.open(tmp_path)
        if warm is None:
            warm = Index.open(tmp_path)
            warm.warm()
        warm = warm.refreshed()
        for row in (1, 200):
            assert warm.search(vectors[row], 10, by="image") == index.search(vectors[row], 10, by="image")
        return index

    def grown(to: int, way: Approximation | None) -> Approximation:
        nonlocal done
        tables = Tables(place, DIM, pa.schema([]), "0" * 32)
        tables.put(*_rows(vectors[done:to], done))
        done = to
        tables.finish()
        way = approximate.approximate(table, table, way)
        Meta("run", "0" * 32, DIM, "run", "0", complete=True, approximate={IMAGES: way}).write(place)
        index = opened()
        for row in (0, to // 2, to - 1):
            best = index.search(vectors[row], 1, by="image")[0]
            assert best.name == str(row)
            assert best.score == pytest.approx(1, abs=1e-5)
        return way

    def indexed() -> int:
        (index,) = [i for i in lance.dataset(table).describe_indices() if i.name == "vector_idx"]
        return int(index.num_rows_indexed)

    way = grown(300, None)
    assert (indexed(), way.rows, way.partitions) == (300, 300, approximate.partitions(300))
    assert way.recall_at_10 >= approximate.WANTED
    assert grown(310, way) == way
    assert indexed() == 300
    more = grown(400, way)
    assert (indexed(), more.rows, more.partitions) == (400, 400, way.partitions)
    most = grown(3000, more)
    assert (indexed(), most.partitions) == (3000, approximate.partitions(3000))

    tables = Tables(place, DIM, pa.schema([]), "0" * 32)
    gone = [id for id, known in tables.known.items() if known.digest in ("5", "2999")]
    tables.remove(gone)
    tables.finish()
    index = opened()
    assert {index.search(vectors[row], 1, by="image")[0].name for row in (5, 2999)}.isdisjoint({"5", "2999"})
    assert index.search(vectors[6], 1, by="image")[0].name == "6"


def test_an_equal_vector_under_another_row_is_one_of_the_nearest(tmp_path: Path) -> None:
    """Of twenty equal ones, any ten are the ten nearest."""
    vectors = np.random.default_rng(0).standard_normal((30, DIM)).astype(np.float32)
    vectors = np.tile(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), (20, 1))
    Tables(Place(tmp_path), DIM, pa.schema([]), "0" * 32).put(*_rows(vectors, 0))
    way = approximate.approximate(str(tmp_path / IMAGES), str(tmp_path / CAPTIONS))
    assert way.recall_at_10 == 1


def test_a_width_that_its_codes_do_not_take(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((300, 20)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    tables = Tables(Place(tmp_path), 20, pa.schema([]), "0" * 32)
    tables.put(*_rows(vectors, 0))
    way = approximate.approximate(str(tmp_path / IMAGES), str(tmp_path / IMAGES))
    assert way.kind == approximate.OTHER_KIND
    assert way.recall_at_10 > 0.9
