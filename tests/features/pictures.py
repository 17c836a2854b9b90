"""Pictures in memory, in place of `Pairs` and `ImageFacts`."""

from types import SimpleNamespace

import numpy as np
from PIL import Image

from pairjepa.util.files import digest


def picture(seed: int, width: int = 90, height: int = 64) -> Image.Image:
    """A smooth RGB picture with some noise."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int64)
    return Image.fromarray(np.clip(pixels + rng.integers(-20, 20, pixels.shape), 0, 255).astype(np.uint8))


class MemoryPairs:
    """Pictures by seed, in place of `Pairs` and `ImageFacts`; counts what is decoded."""

    def __init__(self, seeds: list[int]) -> None:
        self.seeds, self.decoded = seeds, []
        self.facts = SimpleNamespace(
            digest=np.array([digest(seed) for seed in seeds], dtype=object),
            width=np.full(len(seeds), 90),
            height=np.full(len(seeds), 64),
            values=np.full(len(seeds), None),
        )

    @property
    def n_images(self) -> int:
        return len(self.seeds)

    @property
    def names(self) -> list[str]:
        return [f"{seed}.png" for seed in self.seeds]

    def image(self, row: int, draft: tuple[int, int] | None = None) -> Image.Image:
        self.decoded.append(self.seeds[row])
        return picture(self.seeds[row])

    def take(self, rows: np.ndarray) -> "MemoryPairs":
        return MemoryPairs([self.seeds[row] for row in rows])
