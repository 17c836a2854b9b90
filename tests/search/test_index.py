"""What an index answers, against a comparison of all vectors; and what it says of what it cannot be asked."""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pairjepa
from pairjepa.apps.search import Hit, Index
from pairjepa.apps.search.build import build
from pairjepa.apps.search.index import probability_of
from pairjepa.apps.search.stored import ALL_COLUMNS, COLUMNS, top
from pairjepa.apps.search.vectors import lance_module
from pairjepa.metrics.retrieval import recall_at
from pairjepa.pairs import Pairs
from pairjepa.run.folder import RunFolder
from pairjepa.util.checksums import signed, unsigned
from pairjepa.util.errors import PairJEPAError, UsageError

from .conftest import SHAPES

ANY = np.eye(16, dtype=np.float32)[0]


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    return Pairs.open(SHAPES)


def test_the_nearest_are_those_of_a_comparison_of_all(run: Path, index: Index, pairs: Pairs) -> None:
    embedder = pairjepa.Embedder.load(run)
    images = embedder.encode_image([pairs.image(row) for row in range(len(index))])
    captions = pairs.captions.to_pylist()
    texts = embedder.encode_text(captions)
    query = embedder.encode_text(["a red circle"])[0]

    scores = images @ query
    expected = np.argsort(-scores, kind="stable")[:7]
    hits = index.search(query, 7, by="image", words=False)
    assert [hit.name for hit in hits] == [pairs.names[row] for row in expected]
    np.testing.assert_allclose([hit.score for hit in hits], scores[expected], atol=1e-5)
    assert hits[0].captions == tuple(pairs.table["captions"][int(expected[0])].as_py())

    scores = texts @ images[3]
    best = index.search(images[3], 1, of="captions", words=True)[0]
    assert best.score == pytest.approx(scores.max(), abs=1e-5)
    equal = [captions[row] for row in np.flatnonzero(scores > scores.max() - 1e-5)]
    assert best.captions[0] in equal


def test_recalls_are_those_of_evaluate(run: Path, index: Index) -> None:
    """Both ways, on the test split, computed by nothing but searches."""
    evaluated = pairjepa.evaluate(run, "test")
    evaluated = evaluated["corrected"] or evaluated
    pairs = Pairs.open(SHAPES).split("test")
    encoder, where = index.encoder(), "split = 'test'"
    captions = pairs.captions.to_pylist()
    vectors = encoder.encode_image([pairs.image(row) for row in range(pairs.n_images)])
    of_name = dict(zip(pairs.names, vectors, strict=True))

    to_image = []
    for row, vector in zip(pairs.owner, encoder.encode_text(captions), strict=True):
        to_image.append(_rank(index.search(vector, len(index), by="image", where=where), pairs.names[row]))
    to_text = []
    for name, vector in of_name.items():
        to_text.append(_rank(index.search(vector, len(captions), where=where, of="captions"), name))
    for direction, ranks in (("text_to_image", to_image), ("image_to_text", to_text)):
        for k in (1, 5, 10):
            assert recall_at(np.array(ranks), k) == evaluated[direction][f"R@{k}"]


def _rank(hits: list[Hit], own: str) -> int:
    """Ties count against the model, as in `evaluate`."""
    best = max(hit.score for hit in hits if hit.name == own)
    return 1 + sum(hit.name != own and hit.score >= best - 1e-6 for hit in hits)


def test_by_captions_and_by_both(run: Path, index: Index, pairs: Pairs) -> None:
    """Against a comparison with each image's mean caption, and with what lies between it and the image."""
    embedder = pairjepa.Embedder.load(run)
    captions = [embedder.encode_text(texts) for texts in pairs.table["captions"].to_pylist()]
    words = _unit(np.stack([rows.mean(axis=0) for rows in captions]))
    images = embedder.encode_image([pairs.image(row) for row in range(len(index))])
    weight = index.meta.caption_weight
    assert weight == RunFolder(run).summary["search"]["caption_weight"]
    query = embedder.encode_text(["a red circle"])[0]
    for by, vectors in {"caption": words, "both": _unit((1 - weight) * images + weight * words)}.items():
        found = {hit.name: hit.score for hit in index.search(query, 100, by=by, words=False)}  # type: ignore[arg-type]
        assert found == pytest.approx(dict(zip(pairs.names, vectors @ query, strict=True)), abs=1e-5)
    assert index.search(query) == index.search(query, by="both")


@pytest.mark.parametrize("by", COLUMNS)
def test_how_probable_a_match_is(run: Path, index: Index, by: Any) -> None:
    query = index.encoder().encode_text(["a red circle"])[0]
    hits = index.search(query, 100, by=by)
    fit = RunFolder(run).summary["search"]["fit"][by]
    cosines = {hit.id: hit.score for hit in index.search(query, 100, by=by, words=False)}
    expected = probability_of(np.array([cosines[hit.id] for hit in hits]), fit)
    np.testing.assert_allclose([hit.probability for hit in hits], expected, rtol=1e-5)
    least = hits[4].probability
    assert least is not None
    likely = [hit for hit in hits if hit.probability is not None and hit.probability >= least]
    assert index.search(query, 100, by=by, threshold=least) == likely
    assert index.search(query, 100, by=by, threshold=1) == []
    assert {hit.probability for hit in index.search(query, words=False)} == {None}


def test_a_threshold_is_by_image_where_captions_have_no_probability(index: Index, monkeypatch: Any) -> None:
    query = index.encoder().encode_text(["a red circle"])[0]
    expected = index.search(query, by="image", threshold=0)
    monkeypatch.setattr(index, "meta", replace(index.meta, fit={"image": index.meta.fit["image"]}))
    assert index.search(query, threshold=0) == expected
    with pytest.raises(UsageError, match="did not show how probably an image fits by both"):
        index.search(query, by="both", threshold=0)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_conditions_and_what_is_left_out(index: Index) -> None:
    query = index.vector(index.search(np.eye(16, dtype=np.float32)[0], 1)[0].id)
    assert query is not None
    everything = index.search(query, 1000, by="image", words=False)
    assert len(everything) == len(index) == 80
    assert len(index.search(query, 1000, where="split = 'dev' OR split = 'test'")) == 16
    assert index.search(query, 3, where="width > 64") == []
    assert index.search(query, 3, raw_where="length(split) = 4") == index.search(
        query, 3, where="split = 'test'"
    )
    same = everything[0]
    assert same.score == pytest.approx(1, abs=1e-6)
    assert [hit.id for hit in index.search(query, 3, by="image", words=False, exclude=same.id)] == [
        hit.id for hit in everything[1:4]
    ]
    assert all(hit.id != same.id for hit in index.search(query, 400, of="captions", exclude=same.id))
    name = everything[5].name
    assert {hit.name for hit in index.search(query, 9, where=f"name = '{name}'", of="captions")} == {name}


def test_an_image_by_its_id(index: Index, pairs: Pairs) -> None:
    hit = index.search(np.eye(16, dtype=np.float32)[1], 1)[0]
    item, row = index.get(hit.id), pairs.names.index(hit.name)
    assert item is not None
    assert (item.name, item.captions) == (hit.name, tuple(pairs.table["captions"][row].as_py()))
    assert (item.width, item.height) == pairs.image(row).size
    assert item.split == pairs.table["split"][row].as_py()
    thumbnail = index.thumbnail(hit.id)
    assert thumbnail is not None
    with Image.open(io.BytesIO(thumbnail)) as picture:
        assert picture.format == "JPEG"
        drawn = np.asarray(pairs.image(row), float)
        assert np.abs(np.asarray(picture, float) - drawn).mean() < 10
    for wrong in ("0" * 32, "", "' OR '1' = '1", hit.name):
        assert index.get(wrong) is index.thumbnail(wrong) is index.vector(wrong) is None


def test_top_keeps_the_order_of_equal_scores() -> None:
    generator = np.random.default_rng(0)
    for size in (0, 1, 7, 100):
        scores = generator.integers(0, 5, size).astype(np.float32)
        for k in (1, 3, size, 200):
            expected = sorted(range(size), key=lambda row: (-scores[row], row))[:k]
            assert top(scores, k).tolist() == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"k": 2.5}, "k must be a whole number, got 2.5"),
        ({"k": "3"}, "k must be a whole number, got '3'"),
        ({"of": "texts"}, "Unknown of 'texts'"),
        (
            {"vector": "a red ball"},
            r"vector must be 16 finite numbers, got str. Words and pictures are embedded",
        ),
        ({"vector": Path("a.jpg")}, "vector must be 16 finite numbers, got PosixPath"),
        ({"where": "splitt = 'test'"}, "Unknown column in where 'splitt'. Did you mean 'split'"),
        ({"where": "split = test"}, "text in single quotes"),
        (
            {"where": "split ="},
            "where must be a condition on id, name.*, got 'split =', which ends too early",
        ),
        ({"where": "1"}, "where must be a condition"),
        ({"where": "?"}, "where must be a condition"),
        ({"where": "path LIKE '/%'"}, "Unknown column in where 'path'"),
        ({"by": "words"}, "Unknown by 'words'"),
        ({"threshold": 1.5}, "threshold must be between 0 and 1, got 1.5"),
        ({"threshold": 0.5, "words": False}, "threshold must be left out here, got 0.5: .* words alone"),
        ({"threshold": 0.5, "of": "captions"}, "threshold must be left out here"),
        ({"raw_where": "split ="}, "raw_where must be a filter that Lance takes, got 'split ='"),
        ({"raw_where": "split = 'test'", "where": "width > 1"}, "where must be left out beside raw_where"),
        ({"vector": np.ones(3)}, r"vector must be 16 finite numbers, got ndarray of \(3,\)"),
        ({"vector": np.full(16, np.nan)}, "vector must be 16 finite numbers"),
    ],
)
def test_what_cannot_be_asked(index: Index, arguments: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        index.search(**{"vector": ANY} | arguments)


def test_a_vector_that_is_not_of_unit_norm_cannot_be_asked(index: Index) -> None:
    with pytest.raises(PairJEPAError, match="vector must have norm 1, got norm 2"):
        index.search(2 * ANY)


class TestWhatIsNoIndex:
    @pytest.fixture
    def copy(self, index: Index, tmp_path: Path) -> Path:
        return Path(shutil.copytree(index.path, tmp_path / "copy"))

    def test_no_folder_or_another(self, tmp_path: Path, run: Path) -> None:
        with pytest.raises(PairJEPAError, match=r"nix is no index .*it is not there.*pairjepa index RUN"):
            Index.open(tmp_path / "nix")
        (tmp_path / "my.index").mkdir()
        with pytest.raises(PairJEPAError, match=r"it is not there\)\. Did you mean '.*my\.index'\? Make one"):
            Index.open(tmp_path / "my.inde")
        with pytest.raises(PairJEPAError, match=r"no meta\.json; it holds .*hubness"):
            Index.open(run)

    @pytest.mark.parametrize(
        "record", ['{"format": 99}', "[]", '{"format": 2}', '{"format": 2, "approximate": {}}']
    )
    def test_another_version_or_a_damaged_record(self, copy: Path, record: str) -> None:
        (copy / "meta.json").write_text(record)
        with pytest.raises(PairJEPAError, match=r"meta\.json must (have format 2|hold a table|hold run)"):
            Index.open(copy)

    def test_a_table_is_missing(self, copy: Path) -> None:
        shutil.rmtree(copy / "images.lance")
        with pytest.raises(PairJEPAError, match=r"images\.lance is damaged or not all there"):
            Index.open(copy)

    def test_a_table_is_damaged(self, copy: Path) -> None:
        for file in (copy / "images.lance" / "data").iterdir():
            file.write_bytes(b"\0" * file.stat().st_size)
        with pytest.raises(PairJEPAError, match=r"images\.lance is damaged or not all there"):
            Index.open(copy).search(ANY)

    def test_a_table_at_which_lance_panics(self, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """An exception of Rust's, which is no `Exception`, as of a changed byte in a table's schema."""

        class PanicException(BaseException):
            pass

        def schema(_: Any) -> None:
            raise PanicException("called `Result::unwrap()` on an `Err` value")

        monkeypatch.setattr(lance_module().LanceDataset, "schema", property(schema))
        with pytest.raises(PairJEPAError, match=r"images\.lance is damaged or not all there"):
            Index.open(copy)

    def test_a_table_of_other_weights(self, copy: Path) -> None:
        """Another run's index of the same width, copied over this one while it is read."""
        meta = json.loads((copy / "meta.json").read_text())
        (copy / "meta.json").write_text(json.dumps(signed(unsigned(meta)[0] | {"digest": "0" * 32})))
        with pytest.raises(
            PairJEPAError, match=r"images\.lance must hold vectors of the weights 00000000, as the"
        ):
            Index.open(copy)

    @pytest.mark.parametrize("by", COLUMNS)
    def test_a_changed_byte_of_a_vector(self, copy: Path, by: Any) -> None:
        table = lance_module().dataset(str(copy / "images.lance"))
        row = table.to_table(columns=["id", COLUMNS[by]], limit=1).to_pylist()[0]
        (file,) = (copy / "images.lance" / "data").iterdir()
        data = bytearray(file.read_bytes())
        at = data.index(np.array(row[COLUMNS[by]], np.float32).tobytes())
        data[at] ^= 1  # the last bit of a mantissa: its norm is 1, and no score tells
        file.write_bytes(data)
        opened = Index.open(copy)
        with pytest.raises(
            PairJEPAError, match=r"images\.lance must hold the vectors that were written, got 1 oth"
        ):
            opened.search(ANY, by=by)
        if by == "both":
            with pytest.raises(PairJEPAError, match="got 1 others"):
                Index.open(copy).warm()
        if by == "image":
            with pytest.raises(PairJEPAError, match="got 1 others"):
                opened.vector(row["id"])

    def test_vectors_of_0_1_are_checked_by_their_norm(
        self, run: Path, tmp_path: Path, without_onnx: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pairjepa.apps.search.build.correction.load", lambda *_: None)
        build(run, [SHAPES], copy := tmp_path / "copy")
        table = lance_module().dataset(str(copy / "images.lance"))
        table.drop_columns([name for name in ALL_COLUMNS if name != "vector"])
        old = Index.open(copy)
        assert len(old.search(ANY)) == 10
        assert old.search(ANY) == old.search(ANY, by="image")
        with pytest.raises(
            UsageError, match="by must be image for this index, got both: another version made it"
        ):
            old.search(ANY, by="both")
        table.update({"vector": f"[{', '.join(['1e18'] * 16)}]"}, where="split = 'dev'")
        with pytest.raises(
            PairJEPAError, match=r"images\.lance must hold vectors of norm 1, got norm 4e\+18"
        ):
            Index.open(copy).search(ANY)

    def test_a_model_of_another_run(self, copy: Path) -> None:
        file = copy / "model" / "pairjepa_onnx.json"
        file.write_text(json.dumps(signed(unsigned(json.loads(file.read_text()))[0] | {"run": "0" * 32})))
        with pytest.raises(
            PairJEPAError, match=r"must be the model that .* was made with .* Remove .*/model, and"
        ):
            Index.open(copy).encoder()
