"""Shards on disk: equal to the bit, and never wrong numbers, whatever happened to the files."""

import errno
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from itertools import compress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairjepa.features import cache as caching
from pairjepa.features.cache import FeatureStore, FeatureTable
from pairjepa.util.errors import PairJEPAError

MADE_OF = {"kind": "image", "backbone": "abc", "views": ["whole"]}
ITEMS = [f"item {i}" for i in range(7)]


def numbers(items: list[str]) -> np.ndarray:
    """(items, 2, 3), different for each item."""
    return np.stack([np.random.default_rng(len(i) + ord(i[-1])).normal(size=(2, 3)) for i in items]).astype(
        "f4"
    )


def store(cache, made_of=MADE_OF) -> FeatureStore:
    return FeatureStore(cache, made_of, (2, 3))


@pytest.fixture
def filled(tmp_path):
    first = store(tmp_path)
    first.write(ITEMS[:4], numbers(ITEMS[:4]))
    first.write(ITEMS[4:], numbers(ITEMS[4:]))
    return tmp_path


def shards(cache, suffix: str) -> list:
    return sorted(p for p in cache.glob(f"features/*/*{suffix}") if p.name != "manifest.json")


def test_rows_come_back_to_the_bit_in_any_order(filled):
    wanted = [ITEMS[i] for i in (6, 0, 0, 3, 4)]
    table = store(filled).table(wanted)
    assert table.shape == (5, 2, 3)
    assert len(table) == 5
    rows = np.array([4, 0, 3, 1])
    got = table.gather(rows)
    np.testing.assert_array_equal(got, numbers(wanted)[rows])
    assert got.dtype == np.float32
    assert got.flags.writeable


def test_one_view_of_each_row(filled):
    wanted = [ITEMS[i] for i in (6, 0, 3)]
    rows, views = np.array([2, 0, 1, 0]), np.array([1, 1, 0, 0])
    got = store(filled).table(wanted).gather(rows, views)
    np.testing.assert_array_equal(got, numbers(wanted)[rows, views])


def test_pages_of_a_large_table_are_given_back_and_read_again(filled, monkeypatch):
    given_back, give_back = [], caching._give_back
    monkeypatch.setattr(caching, "KEPT_BYTES", 0)
    monkeypatch.setattr(caching, "_give_back", lambda mapped: given_back.append(give_back(mapped)))
    table, rows = store(filled).table(ITEMS), np.arange(len(ITEMS))
    for _ in range(2):
        np.testing.assert_array_equal(table.gather(rows), numbers(ITEMS))
    assert len(given_back) >= 2


def test_pages_of_a_large_store_are_given_back_for_a_few_rows_too(filled, monkeypatch):
    given_back, row = [], 4 * 2 * 3
    monkeypatch.setattr(caching, "KEPT_BYTES", row * (len(ITEMS) - 1))
    monkeypatch.setattr(caching, "_give_back", given_back.append)
    store(filled).table(ITEMS[:1]).gather(np.arange(1))
    assert len(given_back) == 1


@settings(max_examples=30, deadline=None)
@given(
    kept=st.lists(
        st.sets(st.text("ab/", min_size=1, max_size=4), min_size=1, max_size=4),
        max_size=4,
        unique_by=frozenset,
    ),
    asked=st.lists(st.text("ab/", min_size=1, max_size=5), max_size=6),
)
def test_items_are_found_whatever_their_length_and_the_first_of_equal_ones(kept, asked):
    with tempfile.TemporaryDirectory() as folder:
        written, places = store(Path(folder)), dict[str, float]()
        for number, items in enumerate(kept):
            written.write(sorted(items), np.full((len(items), 2, 3), number, np.float32))
            for item in items:
                places.setdefault(item, number)
            assert written.holds(asked).tolist() == [item in places for item in asked]
        there = [item for item in asked if item in places]
        rows = written.table(there).gather(np.arange(len(there)))
        assert rows[:, 0, 0].tolist() == [places[item] for item in there]


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4), data=st.data())
def test_gather_is_indexing_of_the_shards_laid_end_to_end(sizes, data):
    whole = np.arange(sum(sizes) * 2, dtype=np.float32).reshape(-1, 2)
    parts = np.split(whole, np.cumsum(sizes)[:-1])
    table = FeatureTable(
        [lambda part=part: part for part in parts],
        np.repeat(np.arange(len(sizes)), sizes),
        np.concatenate([np.arange(s) for s in sizes]),
        (2,),
    )
    rows = np.array(data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=8)), np.int64)
    np.testing.assert_array_equal(table.gather(rows), whole[rows])


def test_an_empty_table(tmp_path):
    table = store(tmp_path).table([])
    assert table.shape[0] == 0
    assert len(table.gather(np.array([], np.int64))) == 0


def test_the_table_is_memory_mapped(filled):
    assert all(isinstance(shard().base, np.memmap) for shard in store(filled)._shards)


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("refused", [".npy", "/manifest.json", ".json", "folder"])
def test_what_cannot_be_read_is_not_damaged(filled, error, refused, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in filled.rglob("*")}

    def refuse(real):
        def maybe(where, *arguments, **options):
            if str(where).endswith(refused) or (refused == "folder" and real.__name__ == "listdir"):
                raise OSError(error, os.strerror(error), str(where))
            return real(where, *arguments, **options)

        return maybe

    with monkeypatch.context() as patch:
        patch.setattr(io, "open", refuse(io.open))  # what pathlib opens with
        patch.setattr(os, "listdir", refuse(os.listdir))
        with pytest.raises(PairJEPAError, match=rf"cannot be read \({os.strerror(error)}\)\. "):
            store(filled)
    assert {path: path.stat().st_mtime_ns for path in filled.rglob("*")} == before
    assert store(filled).holds(ITEMS).all()


FEW_DESCRIPTORS = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
import numpy as np
from pairjepa.features.cache import FeatureStore
store = FeatureStore(Path(sys.argv[1]), {"kind": "text"}, (2,))
items = [f"item {number}" for number in range(100)]
if sys.argv[2:]:
    for number, item in enumerate(items):
        store.write([item], np.full((1, 2), number, np.float32))
table = store.table(items)
for rows in (np.arange(100), np.arange(100)[::-1], np.random.default_rng(0).permutation(100)):
    assert table.gather(rows)[:, 0].tolist() == rows.tolist()
"""


def test_open_files_are_bounded_whatever_the_cache_holds(tmp_path):
    for arguments in (["write"], []):
        command = [sys.executable, "-c", FEW_DESCRIPTORS, str(tmp_path), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
    assert len(shards(tmp_path, ".json")) == len(shards(tmp_path, ".npy")) == 100


def test_features_that_are_taken_away_while_they_are_used(filled):
    table = store(filled).table(ITEMS)
    shutil.rmtree(filled / "features")
    caching._mapped.cache_clear()
    with pytest.raises(PairJEPAError, match=r"is not there\. .* run the same command again"):
        table.gather(np.arange(len(ITEMS)))


def test_features_of_other_makings_stay_apart(filled):
    assert store(filled).holds(ITEMS[:1]) == [True]
    assert store(filled, {**MADE_OF, "backbone": "abd"}).holds(ITEMS[:1]) == [False]
    assert store(filled, {**MADE_OF, "views": ["centre"]}).holds(ITEMS[:1]) == [False]


def damage_short(data, _label):
    data.write_bytes(data.read_bytes()[:-4])


def damage_bit(data, _label):
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)


def damage_label(_data, label):
    label.write_text("{")


def damage_items(_data, label):
    content = json.loads(label.read_text())
    label.write_text(json.dumps({**content, "items": content["items"][::-1]}))


def damage_kind(_data, label):
    label.write_text("[]")


@pytest.mark.parametrize("damage", [damage_short, damage_bit, damage_label, damage_items, damage_kind])
def test_a_damaged_shard_is_said_and_not_used(filled, damage, capsys):
    label = shards(filled, ".json")[0]
    names = json.loads(label.read_text())["items"]
    damage(label.with_suffix(".npy"), label)
    again = store(filled)
    assert list(compress(ITEMS, ~again.holds(ITEMS))) == names
    assert "Damaged feature shard" in capsys.readouterr().err
    again.refresh()
    assert capsys.readouterr().err == ""  # said once
    again.write(names, numbers(names))
    rows = store(filled).table(ITEMS).gather(np.arange(len(ITEMS)))
    np.testing.assert_array_equal(rows, numbers(ITEMS))


@pytest.mark.parametrize("part", [".json", ".npy"])
def test_a_shard_without_label_or_numbers_is_not_there(filled, part, capsys):
    shards(filled, part)[0].unlink()
    assert store(filled).holds(ITEMS).sum() in (3, 4)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("text", ["{", "{}", '{"kind": "text"}'])
def test_a_manifest_that_does_not_fit_voids_the_shards(filled, text, capsys):
    next(filled.glob("features/*/manifest.json")).write_text(text)
    assert not store(filled).holds(ITEMS).any()
    assert "does not fit its features: they are computed again" in capsys.readouterr().err
    assert not store(filled).holds(ITEMS).any()
    assert capsys.readouterr().err == ""  # the manifest is right again


def test_a_shard_of_another_store_is_refused(filled, capsys):
    other = store(filled, {**MADE_OF, "backbone": "other"})
    for shard in shards(filled, ".json"):
        shutil.copy(shard, other.folder)
        shutil.copy(shard.with_suffix(".npy"), other.folder)
    assert not store(filled, {**MADE_OF, "backbone": "other"}).holds(ITEMS).any()
    assert "of another shard" in capsys.readouterr().err


def test_a_shard_that_another_process_wrote_meanwhile_is_seen(tmp_path):
    one, two = store(tmp_path), store(tmp_path)
    two.write(ITEMS[:4], numbers(ITEMS[:4]))
    assert not one.holds(ITEMS).any()
    assert one.refresh() == set(ITEMS[:4])
    assert one.holds(ITEMS).tolist() == [True] * 4 + [False] * (len(ITEMS) - 4)
    assert one.refresh() == set()


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "features").write_text("a file, not a folder")
    with pytest.raises(PairJEPAError, match=r"cannot be written: .* set PAIRJEPA_CACHE"):
        store(tmp_path)
