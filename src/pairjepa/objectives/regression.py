"""Distances between each prediction and its own target: no negatives, so nothing here keeps samples apart.

Axes: `sample`, `dim`; the mean over samples, and over dims where there is one, so that weights do not depend on the
batch or on the width. Gradients go to both arguments: a caller that wants the target to stay gives it detached.

`cosine` sees directions alone, as retrieval does. The others act on the vectors as the heads give them, before L2
normalisation: between unit vectors l2 would be cosine again (|x - y|² = 2 - 2 cos) and smooth_l1 nearly so. They are
of order 1 where dimensions have unit variance, which the regularizers ask for. Where both sides learn and nothing
holds the scale, shrinking both lowers them too.
"""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from pairjepa.objectives.terms import objective


@objective("cosine")
def cosine(prediction: Float[Tensor, "sample dim"], target: Float[Tensor, "sample dim"]) -> Float[Tensor, ""]:
    """Mean of 1 - cos(prediction, target): 0 where they point the same way, 2 where opposite ways.

    Half of the `alignment` of Wang and Isola 2020 (E|x - y|² of unit vectors, α = 2).

    Source: Grill et al. 2020 (BYOL), eq. 2, which is twice as much; Chen and He 2021 (SimSiam), eq. 1, which is less
    by 1.

    Start with: 1, with `info_nce` 0.1.
    """
    return (1 - F.cosine_similarity(prediction, target, dim=1)).mean()


@objective("l1")
def l1(prediction: Float[Tensor, "sample dim"], target: Float[Tensor, "sample dim"]) -> Float[Tensor, ""]:
    """Mean of |prediction - target| over samples and dims.

    Source: Bardes et al. 2024 (V-JEPA), section 3.1.

    Start with: 1, with a regularizer or `info_nce` 0.1.
    """
    return F.l1_loss(prediction, target)


@objective("l2")
def l2(prediction: Float[Tensor, "sample dim"], target: Float[Tensor, "sample dim"]) -> Float[Tensor, ""]:
    """Mean of (prediction - target)² over samples and dims.

    Source: Assran et al. 2023 (I-JEPA), section 3; Bardes et al. 2022 (VICReg), eq. 5. Both formulas sum over dims;
    their authors' code takes the mean, as here.

    Start with: 1, with a regularizer or `info_nce` 0.1; 25 as in VICReg.
    """
    return F.mse_loss(prediction, target)


@objective("smooth_l1")
def smooth_l1(
    prediction: Float[Tensor, "sample dim"], target: Float[Tensor, "sample dim"]
) -> Float[Tensor, ""]:
    """Mean over samples and dims of ½d² where |d| < 1 and |d| - ½ elsewhere, d = prediction - target.

    Squared near the target, absolute far from it, so that one odd sample does not rule the gradient. The I-JEPA
    authors' code trains with it.

    Source: Huber 1964; Girshick 2015 (Fast R-CNN), eq. 3.

    Start with: 1, with a regularizer or `info_nce` 0.1.
    """
    return F.smooth_l1_loss(prediction, target)
