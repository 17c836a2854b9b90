"""Shards as other programs leave them, cut, damaged and out of reach: what is good is used, the rest is said."""

import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from pairjepa.pairs import BadImage, Pairs
from pairjepa.pairs.scan import image_keys, pairs_digest, scan
from pairjepa.pairs.shards import index as indexing
from pairjepa.pairs.shards import places, reading
from pairjepa.pairs.shards.tars import escaped, unescaped
from pairjepa.pairs.splits import from_words
from pairjepa.util.errors import PairJEPAError, UsageError

from .shard_files import write_tar

Six = Any


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAIRJEPA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(places, "WAITS", (0.0, 0.0))


@pytest.fixture
def memory() -> Iterator[Any]:
    fs = fsspec.filesystem("memory")
    yield fs
    fs.rm("/", recursive=True)


def _files(some: Six) -> list[tuple[str, bytes]]:
    return [
        file
        for one in some
        for file in (
            (one.name, one.data),
            (one.name.replace(".png", ".txt"), "\n".join(one.captions).encode()),
        )
    ]


def _members(path: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(path) as tar:
        return tar.getmembers()


def _content(pairs: Pairs) -> dict[str, tuple[bytes, list[str]]]:
    captions = pairs.table["captions"].to_pylist()
    return {name: (pairs.read_bytes(row), captions[row]) for row, name in enumerate(pairs.names)}


def _expected(some: Six) -> dict[str, tuple[bytes, list[str]]]:
    return {one.name: (one.data, one.captions) for one in some}


def test_a_shard_that_ends_in_the_middle(six: Six, tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "s" / "a.tar", _files(six)).read_bytes()
    ends = [member.offset_data + member.size for member in _members(tmp_path / "s" / "a.tar")]
    seen = set()
    for end in (*range(600, ends[-1], 499), *ends):
        (tmp_path / "s" / "a.tar").write_bytes(whole[:end])
        try:
            pairs = Pairs.open(tmp_path / "s")
        except PairJEPAError as error:
            assert "shards that end in the middle or are damaged" in str(error)  # noqa: PT017
            continue
        samples = sum(end >= whole_at for whole_at in ends[1::2])
        assert _content(pairs) == _expected(six[:samples])
        assert pairs.problems.to_dict()[
            "shards that end in the middle or are damaged (what is before that is used)"
        ] == {
            "count": 1,
            "examples": ["a.tar"],
        }
        seen.add(samples)
    assert seen == {1, 2, 3, 4, 5, 6}


def test_damaged_headers_end_a_shard_and_lead_nowhere(six: Six, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", _files(six))
    whole = bytearray(path.read_bytes())
    third = _members(path)[4].offset
    for content in (
        b"\xff" * 12,
        b"77777777777\0",
        b"-0000000100\0",
    ):  # lengths: negative, beyond the end, none
        damaged = whole[:]
        damaged[third + 124 : third + 136] = content
        header = bytes(damaged[third : third + 512])
        damaged[third + 148 : third + 156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 8 * 32)
        path.write_bytes(damaged)
        pairs = Pairs.open(path)
        assert pairs.names == ["a.png", "b.png"]
        assert len(pairs.problems.counts) == 1


def test_what_is_no_shard(six: Six, tmp_path: Path) -> None:
    (tmp_path / "page.tar").write_bytes(b"<html>404</html>" * 100)
    (tmp_path / "empty.tar").touch()
    with pytest.raises(
        PairJEPAError, match=r"got none\. There are shards that are no tar file .*: 2, such as empty\.tar"
    ):
        Pairs.open(tmp_path)
    write_tar(tmp_path / "a.tar", _files(six))
    pairs = Pairs.open(tmp_path)
    assert _content(pairs) == _expected(six)
    assert pairs.problems.counts == {"shards that are no tar file (skipped)": 2}
    (tmp_path / "a.tar.gz").touch()
    with pytest.raises(PairJEPAError, match=r"must be plain \.tar files, got .*a\.tar\.gz"):
        Pairs.open(tmp_path / "a.tar.gz")
    (tmp_path / "packed").mkdir()
    (tmp_path / "a.tar.gz").rename(tmp_path / "packed" / "a.tar.gz")
    with pytest.raises(PairJEPAError, match=r"must be plain \.tar files, got a\.tar\.gz"):
        Pairs.open(tmp_path / "packed")
    with pytest.raises(PairJEPAError, match=r"The shard .*b\.tar must be there, got: No such file"):
        Pairs.open(str(tmp_path / "{a,b}.tar"))
    with pytest.raises(PairJEPAError, match=r"must be \.tar shards that are there, got none"):
        Pairs.open(str(tmp_path / "x*.tar"))
    with pytest.raises(UsageError, match="at most 1,000,000 shards"):
        Pairs.open(str(tmp_path / "{0..2000000}.tar"))


def test_samples_that_cannot_be_used_are_counted(six: Six, tmp_path: Path) -> None:
    a, b, c, d, *_ = six
    write_tar(
        tmp_path / "s" / "0.tar",
        [
            *_files([a]),
            ("bare.txt", b"no image"),
            ("b.png", b.data),  # no caption
            ("c.png", c.data),
            ("c.json", b"[1, 2]"),
            ("c.txt", b"caf\xe9\ntea"),
            ("text.png", b"no image at all"),
            ("text.txt", b"a text"),
            ("._a.png", b"of a Mac"),
            ("weights.npy", b"1"),
            ("half.png", six[4].data),
            (
                "half.json",
                b'{"captions": ["\\ud800", "whole"], "note": "\\ud800", "huge": 1e400, "id": 99999999999999999999}',
            ),
            *_files([a]),  # the same key again
            ("d.png", d.data),
            ("d.png", d.data),  # and in a row
            ("d.txt", b"d"),
        ],
    )
    pairs = Pairs.open(tmp_path / "s")
    assert pairs.table["captions"].to_pylist() == [a.captions, ["tea"], ["a text"], ["whole"]]
    assert pairs.problems.counts == {
        "samples without an image (skipped)": 1,
        "samples whose .json is no JSON object (it is not used)": 1,
        "samples whose text is not UTF-8 (those captions are dropped)": 2,
        "samples whose key stands twice in its shard (the first counts; files apart? sort the tar by name)": 2,
        "images with no caption (left out)": 2,
    }
    assert [reason is None for reason in scan(pairs).error] == [True, True, False, True]


def test_nothing_is_ever_unpacked(six: Six, tmp_path: Path) -> None:
    path = write_tar(
        tmp_path / "s" / "0.tar",
        [
            ("../../evil.png", six[0].data),
            ("../../evil.txt", b"x"),
            ("/abs/b.png", six[1].data),
            ("/abs/b.txt", b"y"),
        ],
    )
    with tarfile.open(path, "a") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo(f"link{kind.decode()}.png")
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
    before = sorted(tmp_path.rglob("*"))
    pairs = Pairs.open(tmp_path / "s")
    assert [pairs.read_bytes(row) for row in range(2)] == [six[0].data, six[1].data]
    assert pairs.n_images == 2
    assert [
        path for path in sorted(tmp_path.rglob("*")) if path not in before and "cache" not in str(path)
    ] == []


def test_captions_of_text_of_json_and_of_a_named_column(six: Six, tmp_path: Path) -> None:
    record = {
        "caption": "of json",
        "alt": ["one", "two"],
        "likes": 3,
        "path": "p",
        "part": "val",
        "nested": {"a": 1},
    }
    write_tar(
        tmp_path / "s" / "0.tar",
        [
            ("x/a.png", six[0].data), ("x/a.json", json.dumps(record).encode()), ("x/a.txt", b"of text"),
            ("x/b.png", six[1].data), ("x/b.json", json.dumps(record).encode()), ("x/b.seg.png", six[2].data),
        ],
    )  # fmt: skip
    write_tar(
        tmp_path / "s" / "1.tar", [("c.png", six[3].data), ("c.json", b'{"caption": "c", "likes": "many"}')]
    )
    pairs = Pairs.open(tmp_path / "s", split_column="part")
    assert pairs.names == ["x/a.png", "x/b.png", "c.png"]
    assert pairs.table["captions"].to_pylist() == [["of text"], ["of json"], ["c"]]
    assert pairs.table["likes"].to_pylist() == ["3", "3", "many"], "numbers in one shard and text in another"
    assert pairs.table["path_"].to_pylist() == ["p", "p", None]
    assert pairs.table["split"].to_pylist() == ["dev", "dev", "rest"]
    assert (
        Pairs.open(tmp_path / "s", caption_column="alt").table["captions"].to_pylist() == [["one", "two"]] * 2
    )
    both = Pairs.open(tmp_path / "s", caption_column=["txt", "alt"])
    assert both.table["captions"].to_pylist() == [["of text", "one", "two"], ["one", "two"]]
    only = Pairs.open(tmp_path / "s", image_column="seg.png")
    assert _content(only) == {"x/b.seg.png": (six[2].data, ["of json"])}
    with pytest.raises(
        UsageError, match=r"data\.caption_column must be .* got 'atl'\. There are: alt, caption, "
    ):
        Pairs.open(tmp_path / "s", caption_column="atl")


def test_images_and_texts_under_any_suffix(six: Six, tmp_path: Path) -> None:
    path = tmp_path / "s" / "0.tar"
    write_tar(
        path,
        [file for one in six for file in ((f"{one.name[0]}.img", one.data), (f"{one.name[0]}.cap", b"x"))],
    )
    with pytest.raises(
        PairJEPAError,
        match=r"must hold images and captions, got .* names cap, img\. Name theirs with --data\.image-c",
    ):
        Pairs.open(tmp_path / "s")
    pairs = Pairs.open(tmp_path / "s", image_column="img", caption_column="cap")
    assert [pairs.read_bytes(row) for row in range(6)] == [one.data for one in six]
    assert pairs.captions.to_pylist() == ["x"] * 6


def test_shards_without_captions_name_what_is_there(six: Six, tmp_path: Path) -> None:
    files = ((f"{one.name[0]}.{suffix}", data) for one in six for suffix, data in _odd(one))
    write_tar(tmp_path / "s" / "0.tar", files)
    with pytest.raises(
        PairJEPAError, match=r"must hold captions, got .* cls, input\.png, json, text_en\. Name"
    ):
        Pairs.open(tmp_path / "s")
    assert Pairs.open(tmp_path / "s", caption_column="text_en").n_images == 6


def _odd(one: Any) -> list[tuple[str, bytes]]:
    return [("input.png", one.data), ("cls", b"1"), ("json", b'{"text_en": "x"}')]


def test_names_with_dots_are_counted(six: Six, tmp_path: Path) -> None:
    """A key ends at the first dot, so that these are one sample."""
    files = [
        (f"v1.{one.name[0]}.{end}", data) for one in six for end, data in (("png", one.data), ("txt", b"x"))
    ]
    write_tar(
        tmp_path / "s" / "0.tar", [*files, ("g.png", six[0].data), ("g.seg.png", b"mask"), ("g.txt", b"y")]
    )
    pairs = Pairs.open(tmp_path / "s")
    assert pairs.captions.to_pylist() == ["y"]
    kind = "samples of several images and texts (the first counts; a name ends at its first dot)"
    assert pairs.problems.to_dict()[kind] == {"count": 1, "examples": ["0.tar: v1"]}


def test_files_of_a_sample_that_are_apart(six: Six, tmp_path: Path) -> None:
    texts = [(f"{one.name[0]}.txt", b"x") for one in six]
    write_tar(tmp_path / "s" / "0.tar", [(one.name, one.data) for one in six] + texts)
    with pytest.raises(PairJEPAError, match=r"samples whose key stands twice .* sort the tar by name.: 6"):
        Pairs.open(tmp_path / "s")


def test_the_split_in_the_names_of_shards(six: Six, tmp_path: Path) -> None:
    assert from_words(["cc3m-train-0001.tar", "val/3.tar"]) == ["train", "dev"]
    assert from_words(["train-0.tar", "more-0.tar"]) is None
    assert from_words(["train-test-0.tar"]) is None
    root = tmp_path / "test"  # the user's own folder says nothing
    write_tar(root / "train" / "0.tar", _files(six[:4]))
    write_tar(root / "validation" / "0.tar", _files(six[4:5]))
    write_tar(root / "held-out-test" / "0.tar", _files(six[5:]))
    assert Pairs.open(root).splits == {"train": (4, 8), "dev": (1, 1), "test": (1, 2)}
    assert "as the shards are named" in Pairs.open(root).description
    assert Pairs.open(root / "train").table["split"].to_pylist() != ["train"] * 4, (
        "a hash, as the folder is named"
    )


def test_the_same_key_in_several_shards_is_several_images(six: Six, tmp_path: Path) -> None:
    for number, one in enumerate(six[:3]):
        name = "0.png" if number < 2 else "2.png"
        write_tar(
            tmp_path / "s" / f"{number}.tar", [(name, one.data), (name[0] + ".txt", one.captions[0].encode())]
        )
    pairs = Pairs.open(tmp_path / "s")
    assert pairs.names == ["0/0.png", "1/0.png", "2.png"]
    assert [pairs.read_bytes(row) for row in range(3)] == [one.data for one in six[:3]]


def test_a_folder_with_images_and_a_tar_is_no_folder_of_shards(
    six: Six, write_images: Callable[[str], Path]
) -> None:
    root = write_images("{name}")
    (root / "captions.csv").write_text("image,caption\n" + "".join(f"{one.name},x\n" for one in six))
    write_tar(root / "backup.tar", _files(six))
    assert "captions.csv" in Pairs.open(root).description


def test_a_folder_of_shards_with_tables_beside(six: Six, tmp_path: Path) -> None:
    write_tar(tmp_path / "00000.tar", _files(six))  # as img2dataset leaves it
    (tmp_path / "00000.csv").write_text("url\nx\n")
    (tmp_path / "00000_stats.json").write_text("{}")
    assert _content(Pairs.open(tmp_path)) == _expected(six)


def test_shards_are_gone_through_once(six: Six, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tar(tmp_path / "s" / "a.tar", [*_files(six[:5]), ("bare.txt", b"x")])
    first = Pairs.open(tmp_path / "s")
    monkeypatch.setattr(indexing, "_rows", None)  # what is kept needs no look into the tar
    again = Pairs.open(tmp_path / "s")
    assert again.table.equals(first.table)
    assert again.problems == first.problems
    monkeypatch.undo()
    monkeypatch.setenv("PAIRJEPA_CACHE", str(tmp_path / "cache"))
    write_tar(path, _files(six))
    changed = Pairs.open(tmp_path / "s")
    assert _content(changed) == _expected(six), (
        "a shard that has changed is another one, also where it is open"
    )
    assert not set(image_keys(changed)) & set(image_keys(first))
    for file in (tmp_path / "cache" / "shards").iterdir():
        file.write_bytes(b"damaged")
    assert Pairs.open(tmp_path / "s").table.equals(changed.table)


def test_a_shard_that_shrinks_or_goes_after_it_was_opened(six: Six, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", _files(six))
    pairs = Pairs.open(path)
    assert pairs.read_bytes(0) == six[0].data
    with path.open("r+b") as file:
        file.truncate(1024)
    with pytest.raises(BadImage, match=r"f\.png: cannot be read: its shard has become shorter"):
        pairs.read_bytes(5)
    gone = Pairs.open(write_tar(tmp_path / "b.tar", _files(six)))
    (tmp_path / "b.tar").unlink()
    with pytest.raises(BadImage, match=r"a\.png: cannot be read: No such file"):
        gone.image(0)


@pytest.mark.parametrize(
    "pattern", ["memory://in", "memory://in/*.tar", "memory://in/{test,train,val}-0.tar"]
)
def test_remote_shards_are_as_local_ones(six: Six, tmp_path: Path, memory: Any, pattern: str) -> None:
    for name, some in (("train-0.tar", six[:4]), ("val-0.tar", six[4:5]), ("test-0.tar", six[5:])):
        memory.put_file(str(write_tar(tmp_path / "in" / name, _files(some))), f"/in/{name}")
    local, remote = Pairs.open(tmp_path / "in"), Pairs.open(pattern)
    assert _content(remote) == _content(local) == _expected(six)
    assert remote.splits == local.splits == {"train": (4, 8), "dev": (1, 1), "test": (1, 2)}
    assert pairs_digest(remote, scan(remote)) == pairs_digest(local, scan(local))


def test_blocks_are_fetched_once_and_give_every_byte(
    tmp_path: Path, memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BLOCK", 1000)
    data = np.random.default_rng(0).bytes(25_500)
    memory.pipe_file("/one.tar", data)
    asked: list[tuple[int, int]] = []
    plain = type(memory).cat_file

    def counted(self: Any, path: str, *, start: int, end: int) -> bytes:
        asked.append((start, end))
        return bytes(plain(self, path, start=start, end=end))

    monkeypatch.setattr(type(memory), "cat_file", counted)
    places_ = [
        (int(start), int(length)) for start, length in np.random.default_rng(1).integers(0, 2500, (200, 2))
    ]
    places_ += [(start * 10, length) for start, length in places_]

    def look(place: tuple[int, int]) -> bool:
        start, length = place[0], min(place[1], len(data) - place[0])
        return reading.read("memory://one.tar", "stamp", start, length) == data[start : start + length]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(look, places_))
    assert len(asked) == len(set(asked)) <= 26
    with pytest.raises(BadImage, match="has become shorter"):
        reading.read("memory://one.tar", "stamp", 25_000, 1000)


def test_a_single_image_costs_a_single_block(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BLOCK", 1000)
    memory.pipe_file("/far.tar", bytes(100_000))
    asked: list[int] = []
    plain = type(memory).cat_file
    monkeypatch.setattr(
        type(memory),
        "cat_file",
        lambda self, path, *, start, end: asked.append(start) or plain(self, path, start, end),
    )
    for offset in (50_100, 20_100, 80_100):
        reading.read("memory://far.tar", "x", offset, 100)
    assert asked == [50_000, 20_000, 80_000]


def test_a_connection_that_breaks_is_tried_again_and_then_named(
    six: Six, tmp_path: Path, memory: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    memory.put_file(str(write_tar(tmp_path / "a.tar", _files(six))), "/in/a.tar")
    failures = threading.Semaphore(0)
    plain_open, plain_read = type(memory).open, type(memory).cat_file

    def breaks(work: Callable[..., Any]) -> Callable[..., Any]:
        def tried(*args: Any, **kwargs: Any) -> Any:
            if failures.acquire(blocking=False):
                raise ConnectionResetError("the other side\nhas gone.")
            return work(*args, **kwargs)

        return tried

    monkeypatch.setattr(type(memory), "open", breaks(plain_open))
    monkeypatch.setattr(type(memory), "cat_file", breaks(plain_read))
    failures.release(2)
    pairs = Pairs.open("memory://in/a.tar")
    assert "memory://in/a.tar: the other side; trying again in 0 s" in capsys.readouterr().err
    failures.release(2)
    assert _content(pairs) == _expected(six)
    reading._remote.cache_clear()
    failures.release(3)
    with pytest.raises(
        PairJEPAError, match=r"memory://in/a\.tar must be within reach, got 3 times: the other side"
    ) as error:
        scan(pairs)
    assert not isinstance(error.value, BadImage), "an image out of reach is no bad image"
    assert scan(pairs).readable.all(), "and is asked for again when the connection is back"


def test_file_systems_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"must be of a scheme that fsspec knows, got nope://x/a\.tar\."):
        Pairs.open("nope://x/a.tar")
    with pytest.raises(PairJEPAError, match=r"memory://gone/a\.tar must be there, got no such file"):
        Pairs.open("memory://gone/a.tar")

    def missing(scheme: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    with pytest.raises(PairJEPAError, match=r"s3:// needs a package .* pip install 's3fs'"):
        Pairs.open("s3://bucket/{0..9}.tar")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("{08..11}", ["08", "09", "10", "11"]),
        ("{2..0}", ["2", "1", "0"]),
        ("a{1,b}{x,y}", ["a1x", "a1y", "abx", "aby"]),
        ("{}{one}", ["{}{one}"]),
    ],
)
def test_braces_are_those_of_bash(pattern: str, names: list[str]) -> None:
    assert places.braces(pattern) == names


@pytest.mark.parametrize("name", ["a.jpg", "x.y/a.b.c.jpg", "100%.png", "a%2Eb.jpg"])
def test_names_with_dots_survive_as_keys(name: str) -> None:
    assert unescaped(escaped(name)) == name
    assert escaped(name).rpartition("/")[2].count(".") == 1


def test_pairs_of_shards_go_to_other_processes(six: Six, tmp_path: Path) -> None:
    import pickle

    pairs = Pairs.open(write_tar(tmp_path / "a.tar", _files(six)))
    copy = pickle.loads(pickle.dumps(pairs.take(np.array([4, 1]))))
    assert [copy.read_bytes(row) for row in range(2)] == [six[4].data, six[1].data]
    assert copy.shards.tolist() == [0, 0]
    assert io.BytesIO(copy.read_bytes(0)).getvalue() == six[4].data
