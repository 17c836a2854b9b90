"""The sum of named terms. A new term is one function in the file of its family and one line in `TERMS`."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from pairjepa.config import ObjectiveConfig
from pairjepa.errors import unknown
from pairjepa.objectives.info_nce import info_nce, log_temperature
from pairjepa.objectives.regression import cosine, l1, l2, smooth_l1
from pairjepa.objectives.regularizers import sigreg, vicreg_covariance, vicreg_variance


@dataclass(frozen=True)
class Batch:
    """What every term may look at. All vectors are as the heads give them, before L2 normalisation."""

    prediction: Float[Tensor, "sample dim"]
    target: Float[Tensor, "sample dim"]
    """What the prediction is compared with; cut off from its gradient where `stop_gradient` says so."""
    sides: tuple[Float[Tensor, "sample dim"], Float[Tensor, "sample dim"]]
    """Prediction and target for the regularizers, each with its gradient."""
    positives: Bool[Tensor, "sample sample"]
    temperature: float | Float[Tensor, ""]
    config: ObjectiveConfig


@dataclass(frozen=True)
class ObjectiveValue:
    """The sum to differentiate and its terms, unweighted, for the record."""

    total: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]


def _info_nce(batch: Batch) -> Tensor:
    return info_nce(
        F.normalize(batch.prediction, dim=1),
        F.normalize(batch.target, dim=1),
        temperature=batch.temperature,
        positives=batch.positives,
        label_smoothing=batch.config.label_smoothing,
    )


def _both(regularizer: Callable[[Tensor], Tensor], batch: Batch) -> Tensor:
    """The mean of a regularizer over both sides."""
    prediction, target = batch.sides
    return (regularizer(prediction) + regularizer(target)) / 2


TERMS: dict[str, Callable[[Batch], Tensor]] = {
    "info_nce": _info_nce,
    "cosine": lambda batch: cosine(batch.prediction, batch.target),
    "l1": lambda batch: l1(batch.prediction, batch.target),
    "l2": lambda batch: l2(batch.prediction, batch.target),
    "smooth_l1": lambda batch: smooth_l1(batch.prediction, batch.target),
    "vicreg_variance": lambda batch: _both(vicreg_variance, batch),
    "vicreg_covariance": lambda batch: _both(vicreg_covariance, batch),
    "sigreg": lambda batch: _both(partial(sigreg, directions=batch.config.sigreg_directions), batch),
}


def check_terms(config: ObjectiveConfig) -> None:
    """Raise `UsageError` for a term that is not in `TERMS`, before anything is computed."""
    for name in config.weights:
        if name not in TERMS:
            raise unknown("objective term", name, TERMS)


class Objective(nn.Module):
    """The weighted sum of terms that a configuration names, and the learned temperature."""

    def __init__(self, config: ObjectiveConfig) -> None:
        """Raises `UsageError` for a term that is not in `TERMS`."""
        super().__init__()
        check_terms(config)
        self.config = config
        self.log_temperature = nn.Parameter(
            log_temperature(config.temperature), requires_grad=config.learn_temperature
        )

    @property
    def temperature(self) -> Tensor:
        """τ, clamped to [0.01, 1] as in CLIP."""
        return self.log_temperature.clamp(math.log(0.01), 0.0).exp()

    @torch.no_grad()
    def clamp_(self) -> None:
        """Keep log τ itself in range, so that it can come back from the border."""
        self.log_temperature.clamp_(math.log(0.01), 0.0)

    def forward(
        self,
        prediction: Float[Tensor, "sample dim"],
        target: Float[Tensor, "sample dim"],
        positives: Bool[Tensor, "sample sample"],
    ) -> ObjectiveValue:
        """Compute every term with a positive weight; a weight of 0 costs nothing and changes nothing.

        Args:
            prediction: before L2 normalisation.
            target: before L2 normalisation.
            positives: see `positives_of`.
        """
        batch = Batch(
            prediction,
            target.detach() if self.config.stop_gradient else target,
            (prediction, target),
            positives,
            self.temperature,
            self.config,
        )
        terms = {name: TERMS[name](batch) for name, weight in self.config.weights.items() if weight > 0}
        total = torch.stack([self.config.weights[name] * value for name, value in terms.items()]).sum()
        return ObjectiveValue(total, {name: value.detach() for name, value in terms.items()})
