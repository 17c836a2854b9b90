"""Twins of captions, wrong in one thing, as negatives. Axes: `sample`, `dim`."""

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from pairjepa.objectives.terms import objective


@objective("hard_negatives")
def hard_negatives(
    prediction: Float[Tensor, "sample dim"],
    target: Float[Tensor, "sample dim"],
    *,
    twins: tuple[Float[Tensor, "sample dim"], Bool[Tensor, " sample"]],
    temperature: float | Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """Cross-entropy of caption against twin, softmax(cos / τ) over these two, in nats; mean of samples with a twin.

    It has two parts. Predictions, as unit vectors minus their mean over the batch, are to prefer the caption; the mean
    itself is to prefer neither (its target distribution is ½ and ½). For what all images prefer can be known from the
    grammar of a twin alone (Hsieh et al. 2023, SugarCrepe).

    Source: Yuksekgonul et al. 2023 (NegCLIP, arXiv 2210.01936), where twins are further rows of InfoNCE.

    Start with: 1, with `info_nce` 1.

    Args:
        prediction: rows of any length; directions count.
        target: the same.
        twins: targets of the captions' twins, and which captions have one.
        temperature: τ; scores are cosine / τ.
    """
    twin, there = twins
    unit = F.normalize(prediction, dim=1)
    common = unit.mean(dim=0)
    apart = (F.normalize(target, dim=1) - F.normalize(twin, dim=1)) / temperature
    lead, bias = ((unit - common) * apart).sum(dim=1), apart @ common
    terms = F.softplus(-lead) + (F.softplus(bias) + F.softplus(-bias)) / 2
    return (terms * there).sum() / there.sum().clamp(min=1)
