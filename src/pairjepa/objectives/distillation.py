"""A model that was trained before, or several as one, as the teacher. Axes: `query` = prediction, `key` = target."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from pairjepa.objectives.terms import objective


@objective("distillation")
def distillation(
    prediction: Float[Tensor, "sample dim"],
    target: Float[Tensor, "sample dim"],
    *,
    teacher: tuple[Float[Tensor, "sample taught"], Float[Tensor, "sample taught"]] | None,
    temperature: float | Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """Cross-entropy of softmax(cos / τ) against the teacher's over the batch, mean of both directions, in nats.

    Queries that also see words have no teacher: the term is 0.

    Source: Hinton et al. 2015 (distillation); Wu et al. 2023 (TinyCLIP, affinity mimicking).

    Start with: 1, beside `info_nce` 1.

    Args:
        prediction: rows of any length; directions count.
        target: the same.
        teacher: unit vectors of the same images and captions, of any width.
        temperature: τ, of both; the teacher's share of a key is softmax of its cosines / τ.
    """
    if teacher is None:
        return prediction.new_zeros(())
    own = F.normalize(prediction, dim=1) @ F.normalize(target, dim=1).T / temperature
    taught = (teacher[0] @ teacher[1].T / temperature).detach()
    of_keys, of_queries = taught.softmax(dim=1), taught.T.softmax(dim=1)
    return (F.cross_entropy(own, of_keys) + F.cross_entropy(own.T, of_queries)) / 2
