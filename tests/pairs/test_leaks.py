"""Images in two splits are found, others are not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from pairjepa.pairs import Pairs
from pairjepa.pairs import leaks as leaking
from pairjepa.pairs.leaks import leaks, near_pairs, similarity
from pairjepa.pairs.scan import scan

Picture = Callable[..., Image.Image]
Encoded = Callable[..., bytes]
Find = Callable[[list[tuple[str, str, bytes]]], dict[str, Any]]


@pytest.fixture
def find(tmp_path: Path) -> Find:
    def find(images: list[tuple[str, str, bytes]]) -> dict[str, Any]:
        rows = [
            {"image": {"path": n, "bytes": data}, "split": split, "caption": n} for n, split, data in images
        ]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
        pairs = Pairs.open(tmp_path / "t.parquet")
        return leaks(pairs, scan(pairs, tmp_path / "cache"), tmp_path / "cache")

    return find


def test_same_bytes_and_near_duplicates(find: Find, picture: Picture, encoded: Encoded) -> None:
    images = [picture(seed, (200, 150)) for seed in range(6)]
    data = [encoded(image, "JPEG", quality=90) for image in images]
    found = find(
        [(f"{n}.jpg", "train", one) for n, one in enumerate(data)]
        + [
            ("fresh.jpg", "dev", encoded(picture(20), "JPEG")),
            ("copy.jpg", "test", data[0]),
            ("copy2.jpg", "test", data[0]),
            ("small.jpg", "test", encoded(images[1].resize((100, 75)), "JPEG", quality=60)),
            ("bright.png", "test", encoded(ImageEnhance.Brightness(images[2]).enhance(0.85))),
            ("mirrored.jpg", "test", encoded(images[3].transpose(Image.Transpose.FLIP_LEFT_RIGHT), "JPEG")),
            ("other.jpg", "test", encoded(picture(21), "JPEG")),
        ]
    )
    assert found["counts"] == [
        {"splits": ["train", "dev"], "same_bytes": 0, "near": 0, "images": 1},
        {"splits": ["train", "test"], "same_bytes": 2, "near": 2, "images": 6},
        {"splits": ["dev", "test"], "same_bytes": 0, "near": 0, "images": 6},
    ]
    assert [(one["kind"], one["names"]) for one in found["examples"]] == [
        ("same_bytes", ["0.jpg", "copy.jpg"]),
        ("same_bytes", ["0.jpg", "copy2.jpg"]),
        ("near", ["1.jpg", "small.jpg"]),
        ("near", ["2.jpg", "bright.png"]),
    ]


def test_other_colours_flat_and_unreadable_images_are_no_leak(find: Find, encoded: Encoded) -> None:
    def drawn(colour: str) -> bytes:
        image = Image.new("RGB", (64, 64), "white")
        image.paste(colour, (10, 14, 50, 40))
        return encoded(image)

    found = find(
        [
            ("red.png", "train", drawn("red")), ("white.png", "train", encoded(Image.new("RGB", (64, 64), "white"))),
            ("bad.png", "train", b"bad"), ("blue.png", "test", drawn("blue")),
            ("grey.png", "test", encoded(Image.new("RGB", (64, 64), "grey"))), ("bad2.png", "test", b"worse"),
        ]
    )  # fmt: skip
    assert all(not count["same_bytes"] and not count["near"] for count in found["counts"])


def test_within_a_split_is_no_leak(find: Find, picture: Picture, encoded: Encoded) -> None:
    one = encoded(picture(0), "JPEG")
    other = encoded(picture(1), "JPEG")
    found = find(
        [("a", "train", one), ("b", "train", one), ("c", "test", other), ("d", "dev", encoded(picture(2)))]
    )
    assert all(not count["same_bytes"] and not count["near"] for count in found["counts"])
    assert found["examples"] == []


def test_every_two_splits_get_examples(find: Find, picture: Picture, encoded: Encoded) -> None:
    images = [encoded(picture(seed)) for seed in range(30)]
    found = find(
        [(f"{split}{n}", split, data) for split in ("train", "dev", "test") for n, data in enumerate(images)]
    )
    assert [count["same_bytes"] for count in found["counts"]] == [30, 30, 30]
    assert {tuple(one["splits"]) for one in found["examples"]} == {
        ("train", "dev"),
        ("train", "test"),
        ("dev", "test"),
    }
    assert len(found["examples"]) == 18


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(0, 8), st.booleans())
def test_near_pairs_are_those_of_a_naive_loop(seed: int, distance: int, many: bool) -> None:
    random = np.random.default_rng(seed)
    centres = random.integers(0, 2**64, 4, dtype=np.uint64)
    flips = np.array(
        [
            sum(1 << int(b) for b in random.integers(0, 64, random.integers(0, 7))) & (2**64 - 1)
            for _ in range(40)
        ],
        np.uint64,
    )
    hashes = centres[random.integers(0, 4, 40)] ^ flips
    queries, references = hashes[:15], hashes[15:]
    expected = {
        (i, j)
        for i, query in enumerate(queries)
        for j, reference in enumerate(references)
        if (int(query) ^ int(reference)).bit_count() <= distance
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leaking, "_MANY", 0 if many else 50_000)
        patch.setattr(leaking, "_BLOCK", 4)
        got = [
            (int(one), int(other))
            for left, right in near_pairs(queries, references, distance)
            for one, other in zip(left, right, strict=True)
        ]
    assert len(got) == len(set(got))
    assert set(got) == expected


def test_no_hashes_have_no_pairs() -> None:
    some, none = np.arange(3, dtype=np.uint64), np.array([], np.uint64)
    for queries, references in ((some, none), (none, some), (none, none)):
        assert list(near_pairs(queries, references, 8)) == []


def test_what_was_found_is_kept_and_made_again_if_it_is_damaged(
    find: Find, picture: Picture, encoded: Encoded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [("a", "train", encoded(picture(0))), ("b", "test", encoded(picture(0)))]
    found = find(images)
    kept = list((tmp_path / "cache" / "leaks").iterdir())
    assert len(kept) == 1
    with monkeypatch.context() as patch:
        patch.setattr(leaking, "near_pairs", None)
        assert find(images) == found
    kept[0].write_text(kept[0].read_text().replace('"same_bytes": 1', '"same_bytes": 0'))
    assert find(images) == found
    other = find([*images, ("c", "test", encoded(picture(1)))])
    assert other["counts"][0]["images"] == 2


def test_similarity_is_the_cosine_around_the_mean(picture: Picture) -> None:
    thumbnails = np.stack([np.asarray(picture(seed, (8, 8))) for seed in range(3)])
    left, right = np.array([0, 1]), np.array([1, 2])
    expected = [
        np.corrcoef(thumbnails[a].ravel(), thumbnails[b].ravel())[0, 1]
        for a, b in zip(left, right, strict=True)
    ]
    assert similarity(thumbnails, left, right) == pytest.approx(expected, abs=1e-5)
