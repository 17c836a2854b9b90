"""One look at every image, kept on disk, whatever happens in between."""

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pairjepa.pairs import Pairs, images, scan
from pairjepa.pairs.scan import NO_HASH, ImageFacts, pairs_digest, perceptual_hash, readable
from pairjepa.pairs.scan import scan as scan_images
from pairjepa.util import lock
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import digest_file

Make = Callable[..., Pairs]


@pytest.fixture
def make(tmp_path: Path, encoded: Callable[..., bytes], picture: Callable[..., Image.Image]) -> Make:
    """Pairs of `count` JPEGs; `bad` gives other bytes by row."""

    def make(count: int = 8, bad: dict[int, bytes] | None = None) -> Pairs:
        folder = tmp_path / "data"
        folder.mkdir(exist_ok=True)
        lines = ["image,caption"]
        for row in range(count):
            path = folder / f"{row}.jpg"
            if not path.exists():
                path.write_bytes((bad or {}).get(row, encoded(picture(row, (200, 100)), "JPEG")))
            lines.append(f"{row}.jpg,caption {row}")
        (folder / "t.csv").write_text("\n".join(lines))
        return Pairs.open(folder / "t.csv")

    return make


def _equal(one: ImageFacts, other: ImageFacts) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("digest", "phash", "width", "height", "thumbnail", "error")
    )


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows that were really looked at."""
    rows: list[int] = []
    real = scan._fact
    monkeypatch.setattr(scan, "_fact", lambda pairs, row: rows.append(row) or real(pairs, row))
    return rows


def test_facts(make: Make, tmp_path: Path) -> None:
    pairs = make(4, {1: b"", 2: b"no image"})
    facts = scan_images(pairs, tmp_path / "cache")
    assert facts.digest[0] == digest_file(tmp_path / "data" / "0.jpg")
    assert facts.digest[1] is None
    assert facts.error[:2].tolist() == [None, "the file is empty"]
    assert facts.error[2].startswith("not an image that can be read")
    assert facts.error[3] is None
    assert facts.readable.tolist() == [True, False, False, True]
    assert (facts.width[0], facts.height[0], facts.width[1]) == (200, 100, 0)
    assert facts.phash.dtype == np.uint64
    assert facts.phash[1] == NO_HASH != facts.phash[0]
    assert facts.thumbnail.shape == (4, 8, 8, 3)


def test_a_second_scan_reads_nothing_and_a_changed_image_alone_is_read(
    make: Make, tmp_path: Path, seen: list[int]
) -> None:
    pairs, cache = make(), tmp_path / "cache"
    first = scan_images(pairs, cache)
    assert sorted(seen) == list(range(8))
    seen.clear()
    assert _equal(scan_images(pairs, cache), first)
    assert not seen
    (tmp_path / "data" / "3.jpg").write_bytes((tmp_path / "data" / "5.jpg").read_bytes())
    again = scan_images(pairs, cache)
    assert seen == [3]
    assert again.digest[3] == first.digest[5]


def test_a_scan_that_was_stopped_goes_on(
    make: Make, tmp_path: Path, seen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "_SHARD", 3)
    pairs, cache = make(), tmp_path / "cache"
    writes, real = [], scan._write

    def stop(shard: object, folder: Path) -> None:
        if len(writes) == 2:
            raise KeyboardInterrupt
        writes.append(real(shard, folder))

    with monkeypatch.context() as patch:
        patch.setattr(scan, "_write", stop)
        with pytest.raises(KeyboardInterrupt):
            scan_images(pairs, cache)
    seen.clear()
    facts = scan_images(pairs, cache)
    assert sorted(seen) == [6, 7]
    assert _equal(facts, scan_images(pairs, tmp_path / "other"))


@pytest.mark.parametrize("damage", [b"", b"PAR1 nonsense", None])
def test_a_damaged_or_foreign_shard_is_as_good_as_none(
    make: Make, tmp_path: Path, seen: list[int], damage: bytes | None
) -> None:
    pairs, cache = make(), tmp_path / "cache"
    first = scan_images(pairs, cache)
    (shard,) = (cache / "images").glob("*.parquet")
    if damage is None:
        pq.write_table(pq.read_table(shard).drop_columns("width"), shard)
    else:
        shard.write_bytes(damage)
    seen.clear()
    assert _equal(scan_images(pairs, cache), first)
    assert len(seen) == 8
    assert _equal(scan_images(pairs, cache), first)
    assert len(seen) == 8


def test_bytes_in_rows_are_known_by_their_content(tmp_path: Path, seen: list[int]) -> None:
    cache = tmp_path / "cache"
    first = scan_images(Pairs.open("shapes:20"), cache)
    seen.clear()
    more = scan_images(Pairs.open("shapes:24"), cache)
    assert sorted(seen) == [20, 21, 22, 23]
    assert _equal(more.take(np.arange(20)), first)


def test_what_cannot_be_read_today_is_tried_again(make: Make, tmp_path: Path) -> None:
    pairs, cache, path = make(3), tmp_path / "cache", tmp_path / "data" / "1.jpg"
    aside = path.rename(tmp_path / "aside")
    assert scan_images(pairs, cache).error[1].startswith("cannot be read")
    aside.rename(path)
    assert scan_images(pairs, cache).error[1] is None


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_an_image_is_not_to_blame_for_what_the_system_lacks(
    error: int, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs, cache = make(3), tmp_path / "cache"

    def refuse(path: Path) -> bytes:
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        with pytest.raises(PairJEPAError, match=rf"Image 0.jpg cannot be read \({os.strerror(error)}\)"):
            scan_images(pairs, cache)
    assert scan_images(pairs, cache).readable.all()


def test_an_image_that_was_too_large_for_the_memory_is_tried_again(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs, cache = make(3), tmp_path / "cache"

    def refuse(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(images, "_to_rgb", refuse)
        assert not scan_images(pairs, cache).readable.any()
    assert scan_images(pairs, cache).readable.all()


def test_what_was_seen_is_not_damaged_because_it_cannot_be_read(
    make: Make, tmp_path: Path, seen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs, cache = make(3), tmp_path / "cache"
    scan_images(pairs, cache)
    seen.clear()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(pq, "read_table", refuse)
        with pytest.raises(PairJEPAError, match=r"parquet cannot be read \(Too many open files\)"):
            scan_images(pairs, cache)
    assert seen == []


def test_a_change_of_the_same_size_and_time_is_seen(
    make: Make, tmp_path: Path, encoded: Callable[..., bytes], picture: Callable[..., Image.Image]
) -> None:
    pairs, cache, path = make(3), tmp_path / "cache", tmp_path / "data" / "1.jpg"
    old = path.stat()
    before = scan_images(pairs, cache)
    other = encoded(picture(9, (200, 100)), "JPEG")
    path.write_bytes(other[: old.st_size].ljust(old.st_size, b"\0"))
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    after = scan_images(pairs, cache)
    assert (after.digest == before.digest).tolist() == [True, False, True]


def test_of_two_at_once_the_second_takes_what_the_first_has_seen(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: list[int]
) -> None:
    pairs, cache = make(), tmp_path / "cache"
    real, asked, waiting = scan._fact, list[int](), threading.Event()
    monkeypatch.setattr(lock, "say", lambda line: waiting.set())

    def fact(pairs: Pairs, row: int) -> dict[str, Any]:
        asked.append(row)
        if asked.count(row) > 1:
            waiting.set()  # it does not wait
        return real(pairs, row) if waiting.wait(60) else {}

    monkeypatch.setattr(scan, "_fact", fact)
    with ThreadPoolExecutor() as pool:
        one, other = pool.map(lambda _: scan_images(pairs, cache), range(2))
    assert sorted(seen) == list(range(8))
    assert _equal(one, other)


def test_two_processes_on_one_cache(make: Make, tmp_path: Path) -> None:
    make(12)
    code = (
        "import sys; from pathlib import Path; from pairjepa.pairs import Pairs, scan; scan._SHARD = 2;"
        "scan.scan(Pairs.open(sys.argv[1]), Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "data" / "t.csv"), str(tmp_path / "cache")]
    running = [subprocess.Popen(command, env=os.environ) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    pairs = make(12)
    assert _equal(scan_images(pairs, tmp_path / "cache"), scan_images(pairs, tmp_path / "other"))
    assert not list((tmp_path / "cache" / "images").glob("*.tmp"))


def test_readable(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = make(8, {1: b"", 2: b"no image"})
    facts = scan_images(pairs, tmp_path / "cache")
    with pytest.raises(
        PairJEPAError,
        match=r"(?s)data\.max_bad\), got 2 of 8 .*--data\.max-bad 0\.26.*1\.jpg: the file is empty\n",
    ):
        readable(pairs, facts, 0.05)
    capsys.readouterr()
    kept, left = readable(pairs, facts, 0.25)
    assert kept.names == [f"{row}.jpg" for row in (0, 3, 4, 5, 6, 7)]
    assert len(left) == 6
    assert left.digest[1] == facts.digest[3]
    assert "2 of 8 images cannot be read" in capsys.readouterr().err
    assert readable(kept, left, 0.0) == (kept, left)
    with pytest.raises(PairJEPAError, match="No image is left"):
        readable(pairs.take(np.array([1])), facts.take(np.array([1])), 1.0)


def test_pairs_digest_is_of_content(make: Make, tmp_path: Path) -> None:
    pairs = make()
    facts = scan_images(pairs, tmp_path / "cache")
    base = pairs_digest(pairs, facts)
    rows = np.arange(8)[::-1]
    assert pairs_digest(pairs.take(rows), facts.take(rows)) != base
    (tmp_path / "data").rename(tmp_path / "moved")
    moved = Pairs.open(tmp_path / "moved" / "t.csv")
    assert pairs_digest(moved, scan_images(moved, tmp_path / "cache")) == base
    (tmp_path / "moved" / "t.csv").write_text(
        (tmp_path / "moved" / "t.csv").read_text().replace("caption 3", "changed")
    )
    changed = Pairs.open(tmp_path / "moved" / "t.csv")
    assert pairs_digest(changed, scan_images(changed, tmp_path / "cache")) != base


def test_perceptual_hash(picture: Callable[..., Image.Image]) -> None:
    """Oracle: the DCT of SciPy. And it hardly moves when the picture is scaled."""
    from scipy.fft import dctn

    image = picture(5, (300, 200))
    grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX), dtype=float)
    low = dctn(grey)[:8, :8].ravel()
    bits = low > np.median(low)
    assert int(perceptual_hash(image)) == int("".join(str(int(bit)) for bit in bits), 2)
    small = perceptual_hash(image.resize((90, 60), Image.Resampling.BILINEAR))
    assert np.bitwise_count(small ^ perceptual_hash(image)) <= 4
    assert np.bitwise_count(perceptual_hash(picture(6)) ^ perceptual_hash(image)) > 12
    assert perceptual_hash(Image.new("RGB", (50, 50), "white")) == NO_HASH


def test_a_cache_that_cannot_be_written(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PairJEPAError, match=r"must be writable, got: .* Set PAIRJEPA_CACHE"):
        scan_images(make(2), tmp_path / "file")
