"""What keeps one side's projections from collapsing. No function here knows of pairs.

Axes: `sample`, `dim`. Each takes the projections *before* L2 normalisation: it asks for unit variance in every
dimension, and rows of unit norm have 1/dim at most on average. No value grows with the batch.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from pairjepa.objectives.terms import regularizer


@regularizer("vicreg_variance")
def vicreg_variance(projection: Float[Tensor, "sample dim"], *, epsilon: float = 1e-4) -> Float[Tensor, ""]:
    """Mean over dims of max(0, 1 - √(variance + ε)): 0 where every dimension spreads at least 1, about 1 at one point.

    Source: Bardes et al. 2022 (VICReg), eqs. 1 and 2, γ = 1, unbiased variance.

    Start with: 25 beside `l2` 25.

    Args:
        projection: one side, before normalisation.
        epsilon: keeps the gradient of the root finite.
    """
    centred = _centred(projection)
    deviation = (centred.square().sum(dim=0) + epsilon).sqrt()
    return F.relu(1 - deviation).mean()


@regularizer("vicreg_covariance")
def vicreg_covariance(projection: Float[Tensor, "sample dim"]) -> Float[Tensor, ""]:
    """Sum of the squared covariances of different dimensions, over dim: 0 where dimensions do not repeat each other.

    It does not hold the scale: 0 at one point too.

    Source: Bardes et al. 2022 (VICReg), eqs. 3 and 4.

    Start with: 2 beside `l2` 25.
    """
    centred = _centred(projection)
    covariance = centred.T @ centred
    return 2 * covariance.triu(diagonal=1).square().sum() / projection.shape[1]


@regularizer("sigreg")
def sigreg(
    projection: Float[Tensor, "sample dim"], *, sigreg_directions: int, knots: int = 17
) -> Float[Tensor, ""]:
    """Sketched isotropic Gaussian regularization: distance of the distribution from N(0, I) along random directions.

    The Epps-Pulley distance between the characteristic functions of the samples and of N(0, 1),

        ∫ |mean exp(i t x) - exp(-t²/2)|² exp(-t²/2) dt   over t from -3 to 3, x = projection · direction,

    by the trapezoidal rule, averaged over unit directions that are drawn anew in each call. Only N(0, I) has 0 in every
    direction (Cramér and Wold 1936). N samples of it have 1.05 / N on average, N times the origin 0.40.

    Per sample: the test statistic, and with it the losses of LeJEPA's authors and of lightly, are N times this. Their
    weight λ at a batch of N is λ · N here.

    Source: Balestriero and LeCun 2025 (LeJEPA), section 4; Epps and Pulley 1983 (the test).

    Start with: 10 beside `l2` or `cosine` 1.

    Args:
        projection: one side, before normalisation.
        sigreg_directions: how many, from PyTorch's global generator of the projection's device. Time and memory grow
            with them, the noise of the value falls.
        knots: points of the rule from 0 to 3; the other half is the same.
    """
    shape = projection.shape[1], sigreg_directions
    direction = torch.randn(shape, dtype=projection.dtype, device=projection.device)
    t = torch.linspace(0, 3, knots, dtype=projection.dtype, device=projection.device)
    gaussian = torch.exp(-t.square() / 2)
    angle = (projection @ F.normalize(direction, dim=0)).unsqueeze(-1) * t  # sample, direction, knot
    distance = (angle.cos().mean(dim=0) - gaussian).square() + angle.sin().mean(dim=0).square()
    return 2 * torch.trapezoid(distance * gaussian, t, dim=-1).mean()


def _centred(projection: Float[Tensor, "sample dim"]) -> Float[Tensor, "sample dim"]:
    """Minus the mean, over √(N - 1), so that a product of two columns is their unbiased covariance."""
    count = max(len(projection) - 1, 1)  # one sample varies by 0, not by 0/0
    return (projection - projection.mean(dim=0)) / count**0.5
