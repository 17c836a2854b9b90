import json
from dataclasses import replace

import numpy as np
import pytest

from pairjepa.evaluation.embedding_set import FILES, EmbeddingSet
from pairjepa.util.checksums import unsigned
from pairjepa.util.errors import PairJEPAError

from .arrays import ragged


@pytest.fixture
def embeddings():
    image, text, owner = ragged(images=5)
    names = ["a.jpg", "ü/b.jpg", "raw\udcff.jpg", 'c"d.jpg', "e\n.jpg"]
    captions = ["two\nlines", "a\u2028b", "犬 🐕", "", 'he said "no"', *("plain" for _ in owner)][
        : len(owner)
    ]
    return EmbeddingSet(image, text, owner, names, captions, split="test", run="abc")


@pytest.mark.parametrize("mmap", [False, True])
def test_what_is_saved_is_loaded(embeddings, tmp_path, mmap):
    embeddings.save(tmp_path / "deep" / "out")
    loaded = EmbeddingSet.load(tmp_path / "deep" / "out", mmap=mmap)
    for field in ("image", "text", "owner"):
        assert np.array_equal(getattr(loaded, field), getattr(embeddings, field))
    assert (loaded.names, loaded.captions) == (embeddings.names, embeddings.captions)
    assert (loaded.split, loaded.run) == ("test", "abc")
    assert isinstance(loaded.image, np.memmap) == mmap
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]
    meta = json.loads((tmp_path / "deep" / "out" / "meta.json").read_text())
    assert unsigned(meta) == ({
        "format": 1, "split": "test", "run": "abc", "images": 5, "captions": len(embeddings.owner), "dim": 8
    }, True)  # fmt: skip


def test_an_earlier_export_is_replaced_and_nothing_else_is(embeddings, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    embeddings.save(folder)
    replace(embeddings, split="dev").save(folder)
    assert EmbeddingSet.load(folder).split == "dev"
    (folder / "thesis.tex").write_text("my only copy")
    with pytest.raises(PairJEPAError, match="must be new, empty or an earlier export"):
        embeddings.save(folder)
    with pytest.raises(PairJEPAError, match="must be new, empty or an earlier export"):
        embeddings.save(folder / "thesis.tex")
    assert (folder / "thesis.tex").read_text() == "my only copy"


def test_a_failed_save_leaves_the_earlier_one(embeddings, tmp_path):
    embeddings.save(tmp_path / "out")
    broken = replace(embeddings, split="dev", captions=[object() for _ in embeddings.captions])
    with pytest.raises(TypeError):
        broken.save(tmp_path / "out")
    assert EmbeddingSet.load(tmp_path / "out").split == "test"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "text.npy").unlink(), "must hold .* got no text.npy"),
        (lambda f: (f / "image.npy").write_bytes(b"\x93NUMPY"), "image.npy is damaged .EOF"),
        (lambda f: (f / "text.npy").write_bytes((f / "text.npy").read_bytes()[:-4]), "text.npy is damaged"),
        (lambda f: np.save(f / "owner.npy", np.array([{}])), "owner.npy is damaged"),
        (lambda f: np.save(f / "image.npy", np.eye(5)), r"image.npy must hold float32 of 2 axes, got float64"),
        (lambda f: np.save(f / "text.npy", np.eye(4, dtype="f4")), "text.npy must be 8 wide like image.npy, got 4"),
        (lambda f: np.save(f / "image.npy", np.eye(3, 8, dtype="f4")), "images.jsonl must have 3 rows, got 5"),
        (lambda f: np.save(f / "image.npy", 2 * np.eye(5, 8, dtype="f4")), "rows of norm 1, got norm 2 in row 0"),
        (
            lambda f: np.save(f / "image.npy", np.eye(5, 8, dtype="f4") / np.float32(0.0)),
            "image.npy must be finite, got norm nan in row 0",
        ),
        (lambda f: np.save(f / "owner.npy", np.load(f / "owner.npy")[:-1]), r"owner.npy must have \d+ rows, got"),
        (lambda f: np.save(f / "owner.npy", np.load(f / "owner.npy") + 1), "owner.npy must name rows of the 5"),
        (lambda f: np.save(f / "owner.npy", 4 - np.load(f / "owner.npy")), "captions.jsonl must agree with owner"),
        (lambda f: (f / "images.jsonl").write_text('{"name": 3}\n'), "images.jsonl must hold one JSON record a line"),
        (lambda f: (f / "captions.jsonl").write_text("{"), "captions.jsonl must hold one JSON record .* after 0"),
        (lambda f: (f / "meta.json").write_text('{"format": 2}'), "meta.json must have format 1, got 2"),
        (lambda f: (f / "meta.json").write_text('{"format": 1, "split": 1}'), "meta.json must hold run, got none"),
        (lambda f: (f / "meta.json").write_text("[]"), "meta.json must hold a table, got a list"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*invalid value|.*divide by zero")
def test_damage_is_named_with_its_file(embeddings, tmp_path, damage, message):
    embeddings.save(tmp_path / "out")
    (tmp_path / "out" / "checksums.json").unlink()  # as of 0.1
    assert EmbeddingSet.load(tmp_path / "out").captions == embeddings.captions
    damage(tmp_path / "out")
    with pytest.raises(PairJEPAError, match=message) as raised:
        EmbeddingSet.load(tmp_path / "out")
    assert str(tmp_path / "out") in str(raised.value)


@pytest.mark.parametrize("file", [*FILES, "checksums.json"])
def test_one_changed_byte_is_found_in_any_file(embeddings, tmp_path, file):
    embeddings.save(tmp_path / "out")
    data = bytearray((tmp_path / "out" / file).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "out" / file).write_bytes(data)
    with pytest.raises(
        PairJEPAError, match=f"{file}.* must be as it was written|is not valid JSON|must list"
    ):
        EmbeddingSet.load(tmp_path / "out", mmap=True)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(PairJEPAError, match="out is not there"):
        EmbeddingSet.load(tmp_path / "out")


def test_parts_that_disagree_are_refused_in_memory_too(embeddings):
    with pytest.raises(PairJEPAError, match=r"^captions.jsonl must have \d+ rows, got 1\.$"):
        replace(embeddings, captions=["one"])
