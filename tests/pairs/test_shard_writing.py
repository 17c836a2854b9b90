"""From pairs to shards and back: nothing lost, nothing changed, nothing half written, and others can read it."""

import errno
import json
import os
import sys
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pairjepa.config.settings import DataConfig
from pairjepa.pairs import Pairs, open_pairs
from pairjepa.pairs.scan import pairs_digest, scan
from pairjepa.pairs.shards import places, targets, writing
from pairjepa.pairs.shards.convert import convert
from pairjepa.util.errors import PairJEPAError, UsageError
from pairjepa.util.files import atomic_path

Six = Any


def _table(six: Six, folder: Path) -> Path:
    rows = [
        {
            "image": {"bytes": one.data, "path": f"deep/{one.name}"},
            "captions": one.captions,
            "split": one.split,
            "likes": number,
            "area": float("nan") if number else 0.5,
            "path": f"p{number}",
        }
        for number, one in enumerate(six)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "pairs.parquet")
    return folder / "pairs.parquet"


def _tars(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".tar"}


def test_there_and_back(six: Six, tmp_path: Path) -> None:
    source = Pairs.open(_table(six, tmp_path / "in"))
    done = convert(DataConfig(source=str(tmp_path / "in" / "pairs.parquet")), str(tmp_path / "out"), 3)
    assert sorted(Path(path).name for path in done.shards) == [
        "dev-00000.tar", "test-00000.tar", "train-00000.tar", "train-00001.tar",
    ]  # fmt: skip
    assert (done.kept, done.images, done.captions) == (0, 6, 11)
    assert done.bytes == sum(len(data) for data in _tars(tmp_path / "out").values())
    back = Pairs.open(tmp_path / "out")
    assert not back.problems.counts
    for split in ("train", "dev", "test"):
        there, here = source.split(split), back.split(split)
        for column in ("name", "captions", "split", "likes", "path_"):
            assert here.table[column].to_pylist() == there.table[column].to_pylist()
        assert here.table["area"].to_pylist() == [0.5, None, None, None][: here.n_images] or split != "train"
        assert pairs_digest(here, scan(here)) == pairs_digest(there, scan(there))


def test_another_library_reads_them(six: Six, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    convert(DataConfig(source=str(_table(six, tmp_path / "in"))), str(tmp_path / "out"), 3)
    shards = sorted(str(path) for path in (tmp_path / "out").glob("*.tar"))
    samples = list(webdataset.WebDataset(shards, shardshuffle=False))
    assert {sample["png"] for sample in samples} == {one.data for one in six}
    for sample in samples:
        one = next(one for one in six if one.data == sample["png"])
        assert sample["__key__"] == f"deep/{one.name[0]}"
        assert sample["txt"].decode() == "".join(f"{caption}\n" for caption in one.captions)
        assert json.loads(sample["json"])["captions"] == one.captions


def test_pairs_that_another_library_wrote(six: Six, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    with webdataset.ShardWriter(str(tmp_path / "train-%03d.tar"), maxcount=4, verbose=0) as writer:
        for one in six:
            writer.write({"__key__": one.name[0], "png": one.data, "txt": "\n".join(one.captions)})
    pairs = Pairs.open(tmp_path)
    assert not pairs.problems.counts
    assert {pairs.read_bytes(row): list(pairs.table["captions"][row].as_py()) for row in range(6)} == {
        one.data: one.captions for one in six
    }
    assert np.bincount(pairs.shards).tolist() == [4, 2]


def test_the_same_pairs_make_the_same_bytes_and_are_not_written_twice(six: Six, tmp_path: Path) -> None:
    config = DataConfig(source=str(_table(six, tmp_path / "in")))
    convert(config, str(tmp_path / "a"), 1)
    convert(config, str(tmp_path / "b"), 1)
    whole = _tars(tmp_path / "a")
    assert whole == _tars(tmp_path / "b")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").iterdir()}
    again = convert(config, str(tmp_path / "a"), 1)
    assert (again.shards, again.kept, again.images) == ([], 6, 0)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "a").iterdir()} == times
    (tmp_path / "a" / "train-00002.tar").unlink()
    assert convert(config, str(tmp_path / "a"), 1).kept == 5
    assert _tars(tmp_path / "a") == whole


def test_killed_in_the_middle(six: Six, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = DataConfig(source=str(_table(six, tmp_path / "in")))
    convert(config, str(tmp_path / "whole"), 2)
    plain, read = Pairs.read_bytes, []

    def stops(self: Pairs, row: int) -> bytes:
        read.append(row)
        if row == 3 and read.count(3) == 2:  # once for its digest
            raise KeyboardInterrupt
        return plain(self, row)

    monkeypatch.setattr(Pairs, "read_bytes", stops)
    with pytest.raises(KeyboardInterrupt):
        convert(config, str(tmp_path / "out"), 2)
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == ["shards.json", "train-00000.tar"]
    (tmp_path / "out" / ".train-00009.tar.old.tmp").mkdir()  # of kill -9
    with atomic_path(tmp_path / "out" / "train-00009.tar"):  # of another process, which is at work
        done = convert(config, str(tmp_path / "out"), 2)
        (left,) = (tmp_path / "out").glob(".*")
        assert left.name != ".train-00009.tar.old.tmp"
    assert done.kept == 1
    (tmp_path / "out" / "train-00009.tar").unlink()
    assert _tars(tmp_path / "out") == _tars(tmp_path / "whole")


def test_what_has_changed_is_written_again(
    six: Six, write_images: Callable[[str], Path], picture: Any, encoded: Any
) -> None:
    root, out = write_images("data/{name}") / "data", "out"

    def converted(likes: int = 0, caption: str = "x") -> tuple[list[str], int]:
        lines = [f"{one.name},{caption if one.name == 'b.png' else 'y'},{one.split},{likes}\n" for one in six]
        (root / "t.csv").write_text("image,caption,split,likes\n" + "".join(lines))
        done = convert(DataConfig(source=str(root / "t.csv")), str(root / out), 2)
        fresh = root / f"fresh {len(list(root.glob('fresh*')))}"
        convert(DataConfig(source=str(root / "t.csv")), str(fresh), 2)
        assert _tars(root / out) == _tars(fresh)
        return [Path(path).name for path in done.shards], done.kept

    names = ["train-00000.tar", "train-00001.tar", "dev-00000.tar", "test-00000.tar"]
    assert converted() == (names, 0)
    assert converted() == ([], 4)
    old = (root / "c.png").stat()
    (root / "c.png").write_bytes(encoded(picture(9), "BMP").ljust(old.st_size, b"\0")[: old.st_size])
    os.utime(root / "c.png", ns=(old.st_atime_ns, old.st_mtime_ns))  # of the same size and time
    assert converted() == (names[1:2], 3)
    assert converted(caption="z") == (names[:1], 3)
    assert converted(likes=1, caption="z") == (names, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_bytes", _refuse("d.png"))
        (root / "d.png").touch()
        assert converted(likes=1, caption="z") == (names[1:2], 3)
    assert converted(likes=1, caption="z") == (names[1:2], 3)  # it was left out
    assert converted(likes=1, caption="z") == ([], 4)


def _refuse(name: str) -> Callable[[Path], bytes]:
    read = Path.read_bytes

    def maybe(path: Path) -> bytes:
        if path.name == name:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(path)

    return maybe


def test_a_full_disk(six: Six, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = DataConfig(source=str(_table(six, tmp_path / "in")))

    def full(self: tarfile.TarFile, *args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    with pytest.raises(
        PairJEPAError, match=r"train-00000\.tar cannot be written: No space left on device\. Make room"
    ):
        convert(config, str(tmp_path / "out"), 2)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["shards.json"]


def test_other_shards_are_not_mixed_in(six: Six, tmp_path: Path) -> None:
    config = DataConfig(source=str(_table(six, tmp_path / "in")))
    convert(config, str(tmp_path / "out"), 2)
    for other, size in ((config, 3), (DataConfig(source=str(_table(six[:5], tmp_path / "other"))), 2)):
        with pytest.raises(PairJEPAError, match=r"--out must be a new folder, .* which holds others"):
            convert(other, str(tmp_path / "out"), size)
    (tmp_path / "out" / "shards.json").unlink()
    with pytest.raises(PairJEPAError, match="which holds others"):
        convert(config, str(tmp_path / "out"), 2)
    with pytest.raises(PairJEPAError, match="--out must be a folder, got the file"):
        convert(config, str(tmp_path / "in" / "pairs.parquet"), 2)
    with pytest.raises(UsageError, match="--images-per-shard must be at least 1, got 0"):
        convert(config, str(tmp_path / "new"), 0)


def test_names_that_a_key_cannot_be(six: Six, tmp_path: Path, encoded: Any, picture: Any) -> None:
    jpeg = encoded(picture(9), "JPEG")
    names = ["/abs/a.b.png", "../x.png", "same.png", "same.jpg", "none", "ünï cödé.png"]
    rows = [
        {
            "image": {"bytes": jpeg if number == 4 else one.data, "path": name},
            "caption": f"{number}\r\nx",
            "split": "train",
        }
        for number, (one, name) in enumerate(zip(six, names, strict=True))
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    convert(DataConfig(source=str(tmp_path / "t.parquet")), str(tmp_path / "out"))
    pairs = Pairs.open(tmp_path / "out")
    assert not pairs.problems.counts
    assert pairs.names == ["abs/a.b.png", "x.png", "same.png", "same_.jpg", "none.jpg", "ünï cödé.png"]
    assert pairs.captions.to_pylist() == [f"{number} x" for number in range(6)]


def test_images_that_are_gone_are_left_out(six: Six, write_images: Callable[[str], Path]) -> None:
    root = write_images("data/{name}") / "data"
    (root / "t.csv").write_text(
        "image,caption,split\n" + "".join(f"{one.name},x,{one.split}\n" for one in six)
    )

    def gone(config: DataConfig) -> Pairs:
        pairs = open_pairs(config)
        (root / "b.png").unlink(missing_ok=True)
        return pairs

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pairjepa.pairs.shards.convert.open_pairs", gone)
        done = convert(DataConfig(source=str(root / "t.csv")), str(root.parent / "out"), 2)
    assert done.problems.to_dict() == {
        "images that cannot be read (left out)": {
            "count": 1,
            "examples": ["b.png: cannot be read: No such file or directory"],
        }
    }
    assert sorted(Pairs.open(root.parent / "out").names) == ["a.png", "c.png", "d.png", "e.png", "f.png"]


def test_to_a_url_and_what_arrives_in_part(six: Six, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "WAITS", (0.0,))
    fs = fsspec.filesystem("memory")
    config = DataConfig(source=str(_table(six, tmp_path / "in")))
    local = convert(config, str(tmp_path / "out"), 2)
    try:
        remote = convert(config, "memory://out", 2)
        assert (remote.images, remote.bytes) == (6, local.bytes)
        tars = {path.rpartition("/")[2]: fs.cat_file(path) for path in fs.glob("/out/*.tar")}
        assert tars == _tars(tmp_path / "out")
        fs.pipe_file("/out/train-00001.tar", tars["train-00001.tar"][:3000])  # of a process that was killed
        assert convert(config, "memory://out", 2).kept == 3
        assert fs.cat_file("/out/train-00001.tar") == tars["train-00001.tar"]

        def loses(self: Any, source: str, target: str) -> None:
            fs.pipe_file(target, b"half")

        fs.rm("/out/train-00001.tar")
        monkeypatch.setattr(type(fs), "put_file", loses)
        with pytest.raises(
            PairJEPAError, match=r"train-00001\.tar must be within reach, got 2 times: 4 bytes arrived of"
        ):
            convert(config, "memory://out", 2)
        with pytest.raises(PairJEPAError, match="which holds others"):
            convert(config, "memory://out", 3)
    finally:
        fs.rm("/", recursive=True)


def _hub(six: Six, monkeypatch: pytest.MonkeyPatch, *, fails_at: int | None = None) -> list[int]:
    """A data set of the hub that can only be gone through from its beginning; gives the rows that were taken."""
    datasets = pytest.importorskip("datasets")
    taken: list[int] = []

    def rows(some: Six, first: int) -> Any:
        for number, one in enumerate(some, first):
            taken.append(number)
            if number == fails_at:
                raise ConnectionError("the hub is gone")
            yield {
                "image": {"bytes": one.data, "path": f"x/{one.name}"},
                "text": one.captions,
                "likes": number,
            }

    kinds = datasets.Features(
        {"image": datasets.Image(), "text": [datasets.Value("string")], "likes": datasets.Value("int64")}
    )

    def load(name: str, streaming: bool) -> Any:
        assert (name, streaming) == ("someone/pairs", True)
        parts = {"train": (six[:4], 0), "validation": (six[4:5], 4), "test": (six[5:], 5)}
        return {
            word: datasets.IterableDataset.from_generator(partial(rows, some, first), features=kinds)
            for word, (some, first) in parts.items()
        }

    monkeypatch.setattr(datasets, "load_dataset", load)
    return taken


def test_a_data_set_of_the_hub_is_streamed(six: Six, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _hub(six, monkeypatch)
    done = convert(DataConfig(source="someone/pairs"), str(tmp_path / "out"), 3)
    assert (done.images, done.captions) == (6, 11)
    assert sorted(_tars(tmp_path / "out")) == [
        "dev-00000.tar",
        "test-00000.tar",
        "train-00000.tar",
        "train-00001.tar",
    ]
    pairs = Pairs.open(tmp_path / "out")
    assert pairs.splits == {"train": (4, 8), "dev": (1, 1), "test": (1, 2)}
    assert pairs.split("train").names == ["a.png", "b.png", "c.png", "d.png"]
    assert pairs.split("train").table["likes"].to_pylist() == [0, 1, 2, 3]
    assert convert(DataConfig(source="someone/pairs"), str(tmp_path / "out"), 3).shards == []


def test_a_stream_that_breaks_goes_on_after_the_last_whole_shard(
    six: Six, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        _hub(six, patch, fails_at=3)
        with pytest.raises(
            PairJEPAError, match=r"someone/pairs must be read to its end, got: the hub is gone\. Run"
        ):
            convert(DataConfig(source="someone/pairs"), str(tmp_path / "out"), 2)
    assert list(_tars(tmp_path / "out")) == ["train-00000.tar"]
    _hub(six, monkeypatch)
    assert convert(DataConfig(source="someone/pairs"), str(tmp_path / "out"), 2).kept == 1
    pairs = Pairs.open(tmp_path / "out")
    assert {pairs.read_bytes(row) for row in range(6)} == {one.data for one in six}


def test_a_stream_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(PairJEPAError, match=r"pip install 'pairjepa\[hub\]'"):
        convert(DataConfig(source="someone/pairs"), str(tmp_path / "out"))


def test_the_manifest_says_what_the_shards_are(six: Six, tmp_path: Path) -> None:
    convert(DataConfig(source=str(_table(six, tmp_path / "in"))), str(tmp_path / "out"), 2)
    manifest = json.loads((tmp_path / "out" / targets.MANIFEST).read_text())
    assert manifest["format"] == writing.FORMAT
    assert manifest["images_per_shard"] == 2
    assert manifest["pairs"] == writing.identity_of(Pairs.open(tmp_path / "in" / "pairs.parquet"))
