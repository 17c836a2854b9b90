"""What every peer is given, and what it must do."""

import argparse
import io
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from pairjepa.metrics.retrieval import retrieve, rsum
from pairjepa.pairs import Pairs

WARM_UP = 0.1  # share of the steps in which the learning rate rises

OnStep = Callable[[int], None]


def arguments(parser: argparse.ArgumentParser) -> None:
    """What a peer is trained on, and how."""
    parser.add_argument("data")
    parser.add_argument("--image", required=True, help="image backbone, a local folder")
    parser.add_argument("--text", required=True, help="text backbone, a local folder")
    parser.add_argument("--pairs", type=int, help="keep about this many pairs")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, help="learning rate; the peer's own default if not given")


class Peer(ABC):
    """A model of a peer, and its training.

    Attributes:
        what: in a sentence, for the page.
        lr: learning rate.
        model: what is trained, set by a subclass.
    """

    what: ClassVar[str]
    default_lr: ClassVar[float]
    model: Any

    def __init__(self, given: argparse.Namespace) -> None:
        """Open the pairs; a subclass loads its model."""
        self.given = given
        self.lr = given.lr or self.default_lr
        self.pairs = Pairs.open(given.data, pairs=given.pairs)

    @abstractmethod
    def train(self, steps: int, on_step: OnStep, *, counted: bool = False) -> None:
        """Train.

        Args:
            steps: batches.
            on_step: called with its number after each, from 1.
            counted: the course of the learning is wanted, not its time: a short cut to the same weights may be taken.
        """

    def embed(self, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
        """Vectors of all images and of all captions."""
        raise NotImplementedError

    def dev_rsum(self, most: int | None = None) -> float:
        """rsum of the first `most` images of dev, by the code that `pairjepa evaluate` runs."""
        dev = self.pairs.split("dev")
        if most is not None:
            dev = dev.take(np.arange(min(most, dev.n_images)))
        return round(rsum(retrieve(*self.embed(dev), dev.owner)), 2)


def samples(pairs: Pairs, seed: int = 0) -> list[tuple[int, str]]:
    """(row of the image, caption), all captions one at a time, shuffled."""
    found = list(zip(pairs.owner.tolist(), pairs.captions.to_pylist(), strict=True))
    random.Random(seed).shuffle(found)
    return found


def endless(items: list[Any], batch: int) -> Iterator[list[Any]]:
    """Whole batches, round and round."""
    size = min(batch, len(items))
    while True:
        for start in range(0, len(items) - size + 1, size):
            yield items[start : start + size]


def picture(pairs: Pairs, row: int) -> Image.Image:
    """An image of the data, decoded whole, as the peers do it."""
    return Image.open(io.BytesIO(pairs.read_bytes(row))).convert("RGB")
