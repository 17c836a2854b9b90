"""What the processes of test_extract.py do, several at once: run with `CACHE`, a folder, among its globals."""

import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from pairjepa.features import extract, work
from pairjepa.util.files import digest

IMAGES = 64


class Backbone(torch.nn.Module):
    """What is needed of an `ImageBackbone`, without Transformers, which takes seconds to import."""

    digest, width, preprocessing = "stand-in", 32, SimpleNamespace(min_decode_size=(48, 48))

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(-1, 1, 3 * 16 * 16 * 32).reshape(-1, 32))

    def prepare(self, image: Image.Image, view: str) -> np.ndarray:
        return np.asarray(image)

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.float() / 255

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.flatten(1) @ self.weight


class Pairs:
    """Images of noise, slow enough to be killed in between."""

    n_images, names = IMAGES, [str(row) for row in range(IMAGES)]

    def image(self, row: int, draft: tuple[int, int]) -> Image.Image:
        time.sleep(0.004)
        return Image.fromarray(np.random.default_rng(row).integers(0, 256, (16, 16, 3), dtype=np.uint8))


def fill(cache: Path) -> None:
    """64 images in shards of 8."""
    work.IMAGE_SHARD = 8
    sides = [16] * IMAGES
    facts = SimpleNamespace(
        digest=[digest(row) for row in range(IMAGES)], width=sides, height=sides, values=[None] * IMAGES
    )
    images = work.ImageWork.of(Backbone(), Pairs(), facts, ("whole", "whole-mirrored"))
    extract.fill(images, cache, "torch")


if "CACHE" in globals():
    fill(globals()["CACHE"])
