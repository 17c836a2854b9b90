"""InfoNCE with several positives. Axes: `query` = prediction, `key` = target; both are samples of one batch."""

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from pairjepa.objectives.terms import Labels, objective

ENTRIES = 1 << 24
"""Scores that are in memory at once: 64 MiB, the whole table of 4,096 samples."""


def positives_of(rows: Labels, columns: Labels | None = None) -> Bool[Tensor, "query key"]:
    """Which targets are no negatives of which predictions: captions of one image, and captions with the same words."""
    columns = rows if columns is None else columns
    return (rows.image[:, None] == columns.image[None, :]) | (rows.text[:, None] == columns.text[None, :])


@objective("info_nce")
def info_nce(
    prediction: Float[Tensor, "sample dim"],
    target: Float[Tensor, "sample dim"],
    *,
    labels: Labels,
    temperature: float | Float[Tensor, ""],
    label_smoothing: float = 0.0,
    entries: int = ENTRIES,
) -> Float[Tensor, ""]:
    """Cross-entropy of softmax(cos / τ) over the batch, mean of both directions, in nats; positives share the target.

    Each row's target distribution is uniform over its positives, so that a second caption of the same image is
    drawn near instead of pushed away; with one positive a row it is the usual cross-entropy.

    Source: van den Oord et al. 2018 (InfoNCE); Radford et al. 2021 (both directions); Khosla et al. 2020, eq. 2
    (several positives, the mean outside the logarithm); Szegedy et al. 2016 (label smoothing).

    Start with: 1, the default; 0.1 beside a regression.

    Args:
        prediction: rows of any length; directions count.
        target: the same.
        labels: what the samples are of; rows of one image, or of equal words, are positives of each other.
        temperature: τ; scores are cosine / τ.
        label_smoothing: share of the target distribution that is spread over all keys.
        entries: a table of more scores is made in blocks of rows, and once more in the backward pass: memory grows
            with the batch, not with its square.
    """
    sides = F.normalize(prediction, dim=1), F.normalize(target, dim=1)
    samples = len(labels)
    if samples**2 <= entries:
        logits, positives = sides[0] @ sides[1].T / temperature, positives_of(labels)
        return (
            _cross_entropy(logits, positives, label_smoothing)
            + _cross_entropy(logits.T, positives.T, label_smoothing)
        ) / 2
    rows, total = max(entries // samples, 1), prediction.new_zeros(())
    for start in range(0, samples, rows):
        for queries, keys in (sides, sides[::-1]):  # predictions ask targets, and targets ask predictions
            block = queries[start : start + rows], keys, temperature, labels, start, label_smoothing
            total = total + checkpoint(_block, *block, use_reentrant=False, preserve_rng_state=False)
    return total / (2 * samples)


def _block(
    queries: Float[Tensor, "row dim"],
    keys: Float[Tensor, "key dim"],
    temperature: float | Float[Tensor, ""],
    labels: Labels,
    start: int,
    label_smoothing: float,
) -> Float[Tensor, ""]:
    """The sum of the cross-entropies of some rows, from `start` on."""
    positives = positives_of(labels.rows(start, start + len(queries)), labels)
    return _cross_entropy(queries @ keys.T / temperature, positives, label_smoothing) * len(queries)


def _cross_entropy(
    logits: Float[Tensor, "query key"], positives: Bool[Tensor, "query key"], label_smoothing: float
) -> Float[Tensor, ""]:
    share = positives.to(logits.dtype)
    share = share / share.sum(dim=1, keepdim=True)
    share = share * (1 - label_smoothing) + label_smoothing / logits.shape[1]
    return -(share * F.log_softmax(logits, dim=1)).sum(dim=1).mean()
