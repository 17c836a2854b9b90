"""The sum of named terms. A new term is one function in a file of its own and one line in `TERMS`."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from pairjepa.config import ObjectiveConfig
from pairjepa.errors import unknown
from pairjepa.objectives.info_nce import info_nce, log_temperature


@dataclass(frozen=True)
class Batch:
    """What every term may look at."""

    prediction: Float[Tensor, "sample dim"]
    """Before L2 normalisation."""
    target: Float[Tensor, "sample dim"]
    """Before L2 normalisation."""
    positives: Bool[Tensor, "sample sample"]
    temperature: float | Float[Tensor, ""]
    label_smoothing: float


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
        label_smoothing=batch.label_smoothing,
    )


TERMS: dict[str, Callable[[Batch], Tensor]] = {
    "info_nce": _info_nce,
}


class Objective(nn.Module):
    """The weighted sum of terms that a configuration names, and the learned temperature."""

    def __init__(self, config: ObjectiveConfig) -> None:
        """Raises `UsageError` for a term that is not in `TERMS`."""
        super().__init__()
        for name in config.weights:
            if name not in TERMS:
                raise unknown("objective term", name, TERMS)
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
        """Compute every term with a positive weight; a weight of 0 costs nothing and changes nothing."""
        batch = Batch(prediction, target, positives, self.temperature, self.config.label_smoothing)
        terms = {name: TERMS[name](batch) for name, weight in self.config.weights.items() if weight > 0}
        total = torch.stack([self.config.weights[name] * value for name, value in terms.items()]).sum()
        return ObjectiveValue(total, {name: value.detach() for name, value in terms.items()})
