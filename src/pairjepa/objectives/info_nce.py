"""InfoNCE with several positives. Axes: `query` = prediction, `key` = target; both are samples of one batch.

Where the table of all queries and keys is larger than `ENTRIES`, or its samples stand in several processes, it is made
in blocks of rows, and once more in the backward pass: memory grows with the batch, not with its square.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

ENTRIES = 1 << 24
"""Scores that are in memory at once: 64 MiB, the whole table of 4,096 samples."""


@dataclass(frozen=True)
class Labels:
    """What the samples are of. Equal numbers are the same image, or the same words."""

    image: Int[Tensor, " sample"]
    text: Int[Tensor, " sample"]

    def __len__(self) -> int:
        return len(self.image)

    def rows(self, start: int, end: int) -> "Labels":
        """The labels of some samples."""
        return Labels(self.image[start:end], self.text[start:end])


def positives_of(own: Labels, every: Labels | None = None) -> Bool[Tensor, "own every"]:
    """Which targets are no negatives of which predictions: captions of one image, and captions with the same words.

    Args:
        own: of the rows.
        every: of the columns; the rows' own if not given.
    """
    every = own if every is None else every
    return (own.image[:, None] == every.image[None, :]) | (own.text[:, None] == every.text[None, :])


def info_nce(
    prediction: Float[Tensor, "query dim"],
    target: Float[Tensor, "key dim"],
    *,
    temperature: float | Float[Tensor, ""],
    positives: Bool[Tensor, "query key"],
    label_smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """Symmetric InfoNCE, averaged over both directions and all samples, in nats.

    Each row's target distribution is uniform over its positives, so that a second caption of the same image is
    drawn near instead of pushed away; with one positive a row it is the usual cross-entropy.

    Source: van den Oord et al. 2018 (InfoNCE); Radford et al. 2021 (both directions); Khosla et al. 2020, eq. 2
    (several positives, the mean outside the logarithm); Szegedy et al. 2016 (label smoothing).

    Args:
        prediction: unit-norm rows.
        target: unit-norm rows.
        temperature: τ; scores are cosine / τ.
        positives: at least one in every row and every column.
        label_smoothing: share of the target distribution that is spread over all keys.
    """
    logits = prediction @ target.T / temperature
    return (
        _cross_entropy(logits, positives, label_smoothing)
        + _cross_entropy(logits.T, positives.T, label_smoothing)
    ) / 2


def info_nce_share(
    own: tuple[Float[Tensor, "own dim"], Float[Tensor, "own dim"]],
    every: tuple[Float[Tensor, "every dim"], Float[Tensor, "every dim"]],
    *,
    temperature: float | Float[Tensor, ""],
    own_labels: Labels,
    every_labels: Labels,
    label_smoothing: float = 0.0,
    entries: int = ENTRIES,
) -> Float[Tensor, ""]:
    """What some of the samples add to `info_nce` of all: the shares of samples that are all add up to it.

    Args:
        own: predictions and targets of these samples, unit-norm rows.
        every: those of all samples, these among them, in any order.
        temperature: τ.
        own_labels: of these samples; which pairs are positives is found block by block.
        every_labels: of all samples.
        label_smoothing: as in `info_nce`.
        entries: scores that are in memory at once, for each direction.
    """
    samples = len(every_labels)
    rows = max(entries // samples, 1)
    share = own[0].new_zeros(())
    for start in range(0, len(own_labels), rows):
        labels = own_labels.rows(start, start + rows)
        for queries, keys in zip(
            own, reversed(every), strict=True
        ):  # predictions ask targets, and targets them
            block = (queries[start : start + rows], keys, temperature, labels, every_labels, label_smoothing)
            if len(own_labels) <= rows:  # all of it fits: nothing is computed twice
                share = share + _block(*block)
            else:
                share = share + checkpoint(_block, *block, use_reentrant=False, preserve_rng_state=False)
    return share / (2 * samples)


def _block(
    queries: Float[Tensor, "row dim"],
    keys: Float[Tensor, "every dim"],
    temperature: float | Float[Tensor, ""],
    rows: Labels,
    columns: Labels,
    label_smoothing: float,
) -> Float[Tensor, ""]:
    """The sum of the rows' cross-entropies."""
    logits = queries @ keys.T / temperature
    return _cross_entropy(logits, positives_of(rows, columns), label_smoothing) * len(rows)


def _cross_entropy(
    logits: Float[Tensor, "query key"], positives: Bool[Tensor, "query key"], label_smoothing: float
) -> Float[Tensor, ""]:
    share = positives.to(logits.dtype)
    share = share / share.sum(dim=1, keepdim=True)
    share = share * (1 - label_smoothing) + label_smoothing / logits.shape[1]
    return -(share * F.log_softmax(logits, dim=1)).sum(dim=1).mean()


def log_temperature(temperature: float) -> Tensor:
    """The learned parameter: log τ, which keeps τ positive."""
    return torch.tensor(temperature).log()
