"""SigLIP's loss: each pair of the batch is a yes or no of its own. Axes: `query` = prediction, `key` = target."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from pairjepa.objectives.info_nce import ENTRIES, positives_of
from pairjepa.objectives.terms import Labels, objective


@objective("sigmoid")
def sigmoid(
    prediction: Float[Tensor, "sample dim"],
    target: Float[Tensor, "sample dim"],
    *,
    labels: Labels,
    temperature: float | Float[Tensor, ""],
    bias: float | Float[Tensor, ""],
    entries: int = ENTRIES,
) -> Float[Tensor, ""]:
    """Sum over the batch's targets of -log sigmoid(± (cos / τ + bias)), + for positives; mean of samples, in nats.

    Source: Zhai et al. 2023 (SigLIP), algorithm 1.

    Start with: 1, in place of `info_nce`.

    Args:
        prediction: rows of any length; directions count.
        target: the same.
        labels: what the samples are of; rows of one image, or of equal words, are positives of each other.
        temperature: τ; scores are cosine / τ + bias.
        bias: learned; negative, as nearly all pairs of a batch are negatives.
        entries: a table of more scores is made in blocks of rows, and once more in the backward pass.
    """
    queries, keys = F.normalize(prediction, dim=1), F.normalize(target, dim=1)
    samples = len(labels)
    rows, total = max(entries // samples, 1), prediction.new_zeros(())
    for start in range(0, samples, rows):
        block = queries[start : start + rows], keys, temperature, bias, labels, start
        total = total + checkpoint(_block, *block, use_reentrant=False, preserve_rng_state=False)
    return total / samples


def _block(
    queries: Float[Tensor, "row dim"],
    keys: Float[Tensor, "key dim"],
    temperature: float | Float[Tensor, ""],
    bias: float | Float[Tensor, ""],
    labels: Labels,
    start: int,
) -> Float[Tensor, ""]:
    """The sum of the losses of some rows, from `start` on."""
    positives = positives_of(labels.rows(start, start + len(queries)), labels)
    logits = queries @ keys.T / temperature + bias
    return -F.logsigmoid(torch.where(positives, logits, -logits)).sum()
