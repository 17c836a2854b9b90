"""InfoNCE with several positives. Axes: `query` = prediction, `key` = target; both are samples of one batch."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F


def positives_of(
    image: Int[Tensor, " sample"], text: Int[Tensor, " sample"]
) -> Bool[Tensor, "sample sample"]:
    """Which targets are no negatives of which predictions: captions of one image, and captions with the same words.

    Args:
        image: the sample's image.
        text: the sample's caption; identical strings share a number.
    """
    return (image[:, None] == image[None, :]) | (text[:, None] == text[None, :])


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
