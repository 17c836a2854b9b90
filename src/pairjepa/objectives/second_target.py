"""Terms on what is predicted beside the target (`model.auxiliary`): frozen features, or the context from the target.

Axes: `sample`, `width` = of that second target. Both are means, as in `regression`.
"""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from pairjepa.objectives.regularizers import sigreg
from pairjepa.objectives.terms import objective

Pair = tuple[Float[Tensor, "sample width"], Float[Tensor, "sample width"]]


@objective("auxiliary_l2")
def auxiliary_l2(
    prediction: Float[Tensor, "sample dim"], target: Float[Tensor, "sample dim"], *, auxiliary: Pair
) -> Float[Tensor, ""]:
    """Mean of (auxiliary prediction - auxiliary target)² over samples and dims.

    Source: latent prediction beside a separate alignment, X-JEPA (AACL-IJCNLP 2026); the second of two ways, LeVLJEPA
    (arXiv 2607.00784).

    Start with: 1, beside `info_nce` with `model.auxiliary` features; beside `l2` 1 with `model.auxiliary` context.
    """
    return F.mse_loss(*auxiliary)


@objective("auxiliary_sigreg")
def auxiliary_sigreg(
    prediction: Float[Tensor, "sample dim"],
    target: Float[Tensor, "sample dim"],
    *,
    auxiliary: Pair,
    sigreg_directions: int,
) -> Float[Tensor, ""]:
    """`sigreg` of both projections before the maps between them: the auxiliary target's and the target's, their mean.

    Source: Balestriero and LeCun 2025 (LeJEPA), section 4; on both sides of a pair, LeVLJEPA (arXiv 2607.00784).

    Start with: 10 beside `l2` 1 and `auxiliary_l2` 1.
    """
    return (
        sigreg(auxiliary[1], sigreg_directions=sigreg_directions)
        + sigreg(target, sigreg_directions=sigreg_directions)
    ) / 2
