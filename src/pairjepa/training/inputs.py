"""What a batch is made of, on either side: cached features, or what a tuned backbone takes.

Axes: `row` = images or captions of one split, `view` = renditions of an image, `width` = backbone features.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from pairjepa.backbones.device import to_device
from pairjepa.backbones.image import ImageBackbone
from pairjepa.backbones.layers import UpperLayers
from pairjepa.backbones.masking import Masking
from pairjepa.backbones.text import TextBackbone
from pairjepa.backbones.words import WordEmbeddings
from pairjepa.config.settings import View
from pairjepa.features.cache import FeatureTable
from pairjepa.pairs.caption_twins import Twin
from pairjepa.pairs.table import Pairs
from pairjepa.util.threads import cores

PIXEL_BYTES = 1 << 30  # prepared images are kept in memory up to here, decoded anew beyond
MOMENT_ROWS = 64  # at once: they stay in a core's own cache
CHUNK = 256  # samples that a tuned backbone forwards at once where no gradient is needed
FEATURES_CHUNK = 512  # samples whose features are read at once


class Inputs:
    """One side of all samples of one split."""

    backbone: nn.Module | None = None
    """What still has to be run on a batch; None where the batch holds features already."""
    views = 1

    def __init__(self, count: int) -> None:
        """`count`: of the samples."""
        self._count = count

    def __len__(self) -> int:
        return self._count

    def batch(self, rows: np.ndarray, views: np.ndarray) -> tuple[Tensor, ...]:
        """One view of each row, as the backbone's arguments (or as a single tensor of features)."""
        raise NotImplementedError


class CachedFeatures(Inputs):
    """Features of a frozen backbone, from the cache."""

    def __init__(self, table: FeatureTable, rows: np.ndarray) -> None:
        """`rows`: which rows of the table this split owns."""
        super().__init__(len(rows))
        self._table, self._rows = table, rows
        self.views = table.shape[1] if len(table.shape) == 3 else 1

    def batch(self, rows: np.ndarray, views: np.ndarray) -> tuple[Tensor, ...]:
        """Features, `(row, width)`."""
        several = len(self._table.shape) == 3
        return (torch.from_numpy(self._table.gather(self._rows[rows], views if several else None)),)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each feature over rows and views, summed in float64 chunk by chunk."""
        width, count = self._table.shape[-1], len(self) * self.views
        # shifted by the first row: squares of large means would cancel
        shift = self._table.gather(self._rows[:1]).reshape(-1, width)[0].astype(np.float64)
        total, squares = np.zeros(width), np.zeros(width)
        for start in range(0, len(self), MOMENT_ROWS):
            part = self._table.gather(self._rows[start : start + MOMENT_ROWS]).reshape(-1, width) - shift
            total += part.sum(axis=0)
            squares += np.square(part, out=part).sum(axis=0)
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
        return torch.from_numpy(mean + shift).float(), torch.from_numpy(deviation).float()


class NoImages(Inputs):
    """The images of a run that sees none: nothing is read."""

    def batch(self, rows: np.ndarray, views: np.ndarray) -> tuple[Tensor, ...]:
        """Empty features, `(row, 0)`."""
        return (torch.empty(len(rows), 0),)


class Pixels(Inputs):
    """Images for a tuned backbone, decoded in as many threads as there are cores."""

    def __init__(self, backbone: ImageBackbone, pairs: Pairs, views: Sequence[View]) -> None:
        """`pairs`: of this split."""
        super().__init__(pairs.n_images)
        self.backbone: ImageBackbone = backbone
        self._pairs, self._views, self.views = pairs, tuple(views), len(views)
        self._threads = ThreadPoolExecutor(cores())
        side = backbone.preprocessing.size
        fits = pairs.n_images * self.views * side * side * 3 <= PIXEL_BYTES
        self._kept: dict[tuple[int, int], np.ndarray] | None = {} if fits else None

    @property
    def shards(self) -> np.ndarray | None:
        """The shard that each image is read from at each step; None where there are none."""
        return self._pairs.shards

    def _one(self, item: tuple[int, int]) -> np.ndarray:
        if self._kept is not None and item in self._kept:
            return self._kept[item]
        row, view = item
        pixels = self.backbone.prepare(
            self._pairs.image(row, self.backbone.preprocessing.min_decode_size), self._views[view]
        )
        if self._kept is not None:
            self._kept[item] = pixels
        return pixels

    def batch(self, rows: np.ndarray, views: np.ndarray) -> tuple[Tensor, ...]:
        """Normalised pixels, `(row, 3, side, side)`."""
        pixels = list(self._threads.map(self._one, zip(rows.tolist(), views.tolist(), strict=True)))
        # as bytes to where the backbone is: its mean is there too, and floats would be four times as many
        device = next(self.backbone.parameters()).device
        return (self.backbone.normalise(*to_device((torch.from_numpy(np.stack(pixels)),), device)),)


class Tokens(Inputs):
    """Captions for a tuned backbone."""

    def __init__(self, backbone: TextBackbone, captions: Sequence[str]) -> None:
        """`captions`: of this split."""
        super().__init__(len(captions))
        self.backbone = backbone
        self._text, self._ids = backbone, backbone.tokenize(list(captions))

    def batch(self, rows: np.ndarray, views: np.ndarray) -> tuple[Tensor, ...]:
        """Token ids and attention mask, `(row, token)`."""
        return tuple(self._text.collate([self._ids[row] for row in rows.tolist()]))


class HiddenStates(Tokens):
    """Captions for the upper layers of a tuned text backbone: what its frozen lower layers make of them."""

    def __init__(self, upper: UpperLayers, captions: Sequence[str], table: FeatureTable) -> None:
        """`table`: a row a caption."""
        super().__init__(upper.text, captions)
        self.backbone = upper
        self._table = table

    def batch(self, rows: np.ndarray, views: np.ndarray) -> tuple[Tensor, ...]:
        """Hidden states, `(row, token, width)`, and attention mask, `(row, token)`."""
        _, mask = super().batch(rows, views)
        return torch.from_numpy(self._table.gather_states(rows, mask.shape[1])), mask


class MaskedTokens(Inputs):
    """Partly masked captions for a tuned backbone: a view is a fresh mask."""

    def __init__(
        self,
        text: TextBackbone,
        captions: Sequence[str],
        masking: Masking,
        masks: int,
        words: WordEmbeddings | None = None,
    ) -> None:
        """Tokenise.

        Args:
            text: the text backbone.
            captions: of this split.
            masking: which tokens are hidden.
            masks: how many different ones a caption can have.
            words: what turns tokens into features, where that is not the backbone itself.
        """
        super().__init__(len(captions))
        self.backbone = words if words is not None else text
        self.views, self._masking, self._text = masks, masking, text
        self._tokens = text.tokenize_words(list(captions))

    def batch(self, rows: np.ndarray, views: np.ndarray) -> tuple[Tensor, ...]:
        """Token ids and attention mask, `(row, token)`."""
        ids = [
            self._masking.masked(self._tokens[row], str(view))
            for row, view in zip(rows.tolist(), views.tolist(), strict=True)
        ]
        return tuple(self._text.collate(ids))


def all_features(
    inputs: Inputs, device: torch.device, views: int | None = None, among: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Chunks of rows and their features `(row, view, width)`, in order, without gradient.

    Args:
        inputs: one side.
        device: where the features go.
        views: the first so many; all if not given.
        among: rows; all if not given.
    """
    size = CHUNK if inputs.backbone is not None else FEATURES_CHUNK
    among = np.arange(len(inputs)) if among is None else among
    for start in range(0, len(among), size):
        rows = among[start : start + size]
        every = []
        for view in range(views or inputs.views):
            batch = to_device(inputs.batch(rows, np.full(len(rows), view)), device)
            every.append(batch[0] if inputs.backbone is None else inputs.backbone(*batch))
        yield rows, torch.stack(every, dim=1)


class CaptionTwins:
    """Twins of captions, wrong in one thing: several of some captions, none of others.

    A kind of which there are few is drawn the more often: else hardly any negative would be of that kind.
    """

    def __init__(self, twins: Sequence[Twin], texts: Inputs, captions: int) -> None:
        """`texts`: those of `twins`, in the order of the captions; `captions`: of the split."""
        self.texts = texts
        kinds = Counter(twin.kind for twin in twins)
        self._ends = np.cumsum([0.0, *(1 / kinds[twin.kind] for twin in twins)])
        self._first = np.searchsorted([twin.caption for twin in twins], np.arange(captions + 1))

    def draw(
        self, captions: Int[np.ndarray, " sample"], seed: int
    ) -> tuple[Int[np.ndarray, " sample"], Bool[np.ndarray, " sample"]]:
        """For each caption the row of one of its twins, and whether it has one; where not, the row is any."""
        first, end = self._first[captions], self._first[captions + 1]
        low, high = self._ends[first], self._ends[end]
        at = low + np.random.default_rng(seed).random(len(captions)) * (high - low)
        drawn = np.searchsorted(self._ends, at, side="right") - 1
        return np.where(end > first, np.clip(drawn, first, end - 1), 0), end > first
