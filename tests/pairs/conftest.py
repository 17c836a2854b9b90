"""Tiny images and the same six pairs for every source."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


def _picture(seed: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A smooth random picture, as photographs are."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def _encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, form, **options)
    return data.getvalue()


@dataclass(frozen=True)
class One:
    """One image of the six, with its captions."""

    name: str
    split: str
    captions: list[str]
    data: bytes


@pytest.fixture
def picture() -> Callable[..., Image.Image]:
    return _picture


@pytest.fixture
def encoded() -> Callable[..., bytes]:
    return _encoded


@pytest.fixture(scope="session")
def six() -> list[One]:
    captions = [
        ["A dog runs .", 'Two dogs, "Rex" and Max, play .'],
        ["一只狗在草地上"],
        ["a child", "a child", "the child, again"],
        ["Ein Mädchen fährt Fahrrad .", "a girl"],
        ["a boat at sea"],
        ["a red car", "a car"],
    ]
    splits = ["train", "train", "train", "train", "dev", "test"]
    return [
        One(f"{letter}.png", split, own, _encoded(_picture(seed)))
        for seed, (letter, split, own) in enumerate(zip("abcdef", splits, captions, strict=True))
    ]


@pytest.fixture
def write_images(six: list[One], tmp_path: Path) -> Callable[[str], Path]:
    """Write the six images into a folder below the test's own, by a pattern such as `{split}/{name}`."""

    def write(pattern: str) -> Path:
        for one in six:
            path = tmp_path / pattern.format(split=one.split, name=one.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(one.data)
        return tmp_path

    return write
