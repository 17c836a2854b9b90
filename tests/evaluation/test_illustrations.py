import json
from dataclasses import replace

import numpy as np
import pytest

from pairjepa.evaluation.illustrations import Illustrations, found
from pairjepa.util.checksums import unsigned
from pairjepa.util.errors import PairJEPAError

from .arrays import naive_rank, unit

NO_QUERIES = {"shuffled_image": 2, "with_image": None, "shuffled": None, "text_only": None}
CAPTION = "<script>alert(1)</script> \udcff 犬"


@pytest.fixture
def illustrations():
    token = {"text": CAPTION, "hidden": True}
    partial = [{"caption": 3, "image": 1, "ratio": 0.3, "tokens": [token]} | NO_QUERIES]
    maps = [{"text": CAPTION, "values": [0.25, -0.5], "cosine": 0.125}]
    maps_of = [{"image": row, "picture": b"jpeg %d" % row, "grid": [1, 2], "maps": maps} for row in (2, 0)]
    twins = [{"caption": 3, "kind": "colour", "text": CAPTION, "margin": -0.125}]
    return Illustrations([b"\xff\xd8a", None, b"\xff\xd8b"], partial, maps_of, "abc", ["No maps."], twins)


def equal(one: Illustrations, other: Illustrations) -> bool:
    return vars(one) == vars(other)


def test_what_is_saved_is_loaded(illustrations, tmp_path):
    illustrations.save(tmp_path / "deep" / "test")
    assert equal(Illustrations.load(tmp_path / "deep" / "test", 3), illustrations)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["test"]


def test_it_takes_the_place_of_an_earlier_one_or_leaves_it_whole(illustrations, tmp_path):
    illustrations.save(tmp_path / "test")
    bare = Illustrations([None] * 3, [], [], "def")
    bare.save(tmp_path / "test")
    assert equal(Illustrations.load(tmp_path / "test", 3), bare)
    with pytest.raises(ValueError, match="not JSON compliant"):
        replace(illustrations, partial=[{"rank": float("nan")}]).save(tmp_path / "test")
    assert equal(Illustrations.load(tmp_path / "test", 3), bare)
    assert [path.name for path in tmp_path.iterdir()] == ["test"]


def test_where_there_is_none_all_is_empty(tmp_path):
    assert equal(Illustrations.load(tmp_path / "nothing", 2), Illustrations([None, None], [], [], ""))


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (
            lambda folder: (folder / "thumbnails.parquet").write_bytes(b"PAR1"),
            r"thumbnails\.parquet is damaged",
        ),
        (lambda folder: (folder / "pictures.parquet").unlink(), r"pictures\.parquet is not there"),
        (lambda folder: (folder / "partial.json").unlink(), r"partial\.json is not there"),
        (
            lambda folder: (folder / "saliency.json").write_text('[{"image": 1}]'),
            "must hold .0..grid, got none",
        ),
        (
            lambda folder: (folder / "saliency.json").write_text('[{"image": 1, "grid": [], "maps": []}]'),
            "a picture for every saliency map",
        ),
        (
            lambda folder: (folder / "partial.json").write_text("{}"),
            "partial.json must hold a list, got a table",
        ),
        (lambda folder: (folder / "saliency.json").write_text("[{"), r"saliency\.json is not valid JSON"),
        (lambda folder: (folder / "meta.json").write_text("[]"), "meta.json must hold a table"),
        (lambda folder: (folder / "meta.json").write_text('{"format": 99, "images": 3}'), "format 1, got 99"),
    ],
)
def test_damage_is_a_sentence(illustrations, tmp_path, damage, match):
    illustrations.save(tmp_path / "test")
    (tmp_path / "test" / "checksums.json").unlink()  # as of 0.1
    damage(tmp_path / "test")
    with pytest.raises(PairJEPAError, match=match) as raised:
        Illustrations.load(tmp_path / "test", 3)
    assert "pairjepa evaluate RUN --split test" in str(raised.value)


def test_maps_of_0_1_are_read(illustrations, tmp_path):
    folder = tmp_path / "test"
    illustrations.save(folder)
    (folder / "saliency.json").rename(folder / "looks.json")
    (folder / "checksums.json").unlink()
    bare, _ = unsigned(json.loads((folder / "meta.json").read_text()))
    (folder / "meta.json").write_text(json.dumps({k: v for k, v in bare.items() if k != "sealed"}))
    assert equal(Illustrations.load(folder, 3), illustrations)


@pytest.mark.parametrize("name", ["thumbnails.parquet", "pictures.parquet", "saliency.json", "partial.json"])
def test_one_changed_byte_is_found(illustrations, tmp_path, name):
    illustrations.save(tmp_path / "test")
    file = tmp_path / "test" / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(PairJEPAError, match=f"{name} must be as it was written"):
        Illustrations.load(tmp_path / "test", 3)


def test_other_images_are_refused(illustrations, tmp_path):
    illustrations.save(tmp_path / "test")
    with pytest.raises(PairJEPAError, match=r"be of 4 images, got 3. Evaluate the run again"):
        Illustrations.load(tmp_path / "test", 4)
    (tmp_path / "test" / "checksums.json").unlink()
    meta, _ = unsigned(json.loads((tmp_path / "test" / "meta.json").read_text()))
    (tmp_path / "test" / "meta.json").write_text(json.dumps(meta | {"images": 2}))
    with pytest.raises(PairJEPAError, match=r"name rows of 2 images in pictures\.parquet"):
        Illustrations.load(tmp_path / "test", 2)


def test_what_was_found_is_the_naive_rank_and_the_nearest_captions():
    rng = np.random.default_rng(0)
    predictions, targets = unit(rng.normal(size=(30, 8))), unit(rng.normal(size=(30, 8)))
    targets[7] = targets[3]  # equal captions count against each other
    chosen = np.array([3, 0, 29])
    for row, answer in zip(chosen, found((predictions, targets), chosen), strict=True):
        assert answer["rank"] == naive_rank(predictions[row], targets, {row})
        scores = targets @ predictions[row]
        assert answer["top"] == sorted(range(30), key=lambda c: (-scores[c], c))[:3]


def test_fewer_captions_than_places():
    rows = unit(np.random.default_rng(0).normal(size=(2, 4)))
    assert found((rows, rows), np.array([1])) == [{"rank": 1, "top": [1, 0]}]
