"""What each step sees, as a function of seed and epoch alone: any step can be taken up again without a memory."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

from pairjepa.config.settings import TrainingConfig

SHARDS_AT_ONCE = 4
"""Shards whose images are mixed with each other: what is read at random must stay open, or be near."""


@dataclass(frozen=True)
class Samples:
    """The samples of one batch; all arrays have one entry a sample."""

    images: np.ndarray
    captions: np.ndarray
    views: np.ndarray
    masks: np.ndarray
    """Which of a caption's masks the context sees through."""

    def rows(self, rows: slice) -> "Samples":
        """Some of the samples."""
        return Samples(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


class Plan:
    """Batches of all epochs, and the learning rate of every step."""

    def __init__(
        self,
        owner: np.ndarray,
        views: int,
        config: TrainingConfig,
        masks: int = 1,
        shards: np.ndarray | None = None,
        span: tuple[int, int] | None = None,
        weights: np.ndarray | None = None,
    ) -> None:
        """Plan for one split.

        Args:
            owner: row of each caption's image, sorted, every image at least once.
            views: renditions an image.
            config: batch size, captions an image, seed, schedule.
            masks: masks a caption.
            shards: for each image the number of the shard that it has to be read from at each step; None where
                reading in any order costs the same. Then an epoch goes through the shards in random order, a few at a
                time, and mixes the images of those alone.
            span: epochs before those of this plan, and its last one; None are all of `config`.
            weights: how often each caption is drawn beside the others of its image; None is all alike.
        """
        self._count = np.bincount(owner)
        self._first = np.concatenate([[0], np.cumsum(self._count)[:-1]])
        # where captions end on a line on which each image is 1 long
        shares = None if weights is None else weights / np.bincount(owner, weights)[owner]
        self._ends = None if shares is None else np.cumsum(shares, dtype=np.float64)
        self._views, self._config, self._masks = views, config, masks
        self.captions_per_image = min(config.captions_per_image, int(self._count.max()))
        self._shards = shards
        self.images = len(self._count)
        # Batches of nearly equal size: a last one of two images would be a poor set of negatives.
        self.steps_per_epoch = math.ceil(self.images / config.batch_size)
        before, last = span or (0, config.epochs)
        self._before, self.steps = self.steps_per_epoch * before, self.steps_per_epoch * (last - before)

    def epoch(self, epoch: int) -> Iterator[Samples]:
        """The batches of an epoch (counted from 1): every image once, with `captions_per_image` of its captions."""
        rng = np.random.default_rng([self._config.seed, epoch])
        order = rng.permutation(self.images) if self._shards is None else _shard_by_shard(self._shards, rng)
        wanted = self.captions_per_image
        start = self._start(rng.random(self.images))
        view = rng.integers(0, self._views, (self.images, wanted))
        mask = rng.integers(0, self._masks, (self.images, wanted))
        for images in np.array_split(order, self.steps_per_epoch):
            if self._shards is not None:
                images = np.sort(images)  # a batch has no order: what lies together is read by one process
            # Neighbours in a circle from a random start: distinct as long as the image owns enough captions.
            offset = (start[images, None] + np.arange(wanted)) % self._count[images, None]
            yield Samples(
                np.repeat(images, wanted),
                (self._first[images, None] + offset).reshape(-1),
                view[images].reshape(-1),
                mask[images].reshape(-1),
            )

    def _start(self, drawn: np.ndarray) -> np.ndarray:
        """The first caption of each image, by a number in [0, 1) for each."""
        if self._ends is None:
            return (drawn * self._count).astype(np.int64)
        at = np.searchsorted(self._ends, np.arange(self.images) + drawn, side="right")
        return np.clip(at - self._first, 0, self._count - 1)

    def step_seed(self, step: int) -> int:
        """Seed of a step's dropout."""
        return int(np.random.SeedSequence([self._config.seed, step]).generate_state(1, np.uint64)[0] >> 1)

    def lr_multiplier(self, step: int) -> float:
        """Learning rate of a step (counted from 0) as a share of its peak: linear warm-up, then half a cosine."""
        warm, step = self._config.warmup * self.steps, step - self._before
        if step < warm:
            return (step + 1) / (math.floor(warm) + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(self.steps - warm, 1)))


def _shard_by_shard(shards: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """All images: the shards in random order, the images of each `SHARDS_AT_ONCE` of them shuffled together."""
    numbers = rng.permutation(np.unique(shards))
    place = np.empty(int(shards.max(initial=-1)) + 1, np.int64)
    place[numbers] = np.arange(len(numbers)) // SHARDS_AT_ONCE
    shuffled = rng.permutation(len(shards))
    return shuffled[np.argsort(place[shards[shuffled]], kind="stable")]
