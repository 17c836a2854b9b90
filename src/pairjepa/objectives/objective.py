"""The sum of named terms. A new term is one function in the file of its family and one line in `TERMS`.

Where several processes train one model, each has its own samples, and the value of a term is the sum of what each
process gives: its share. `_own` makes that of a mean over samples, `_whole` of a function that must see all of them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from pairjepa.config.settings import ObjectiveConfig
from pairjepa.objectives.info_nce import (
    ENTRIES,
    Labels,
    info_nce,
    info_nce_share,
    log_temperature,
    positives_of,
)
from pairjepa.objectives.regression import cosine, l1, l2, smooth_l1
from pairjepa.objectives.regularizers import sigreg, vicreg_covariance, vicreg_variance
from pairjepa.util.errors import unknown


@dataclass(frozen=True)
class Everyone:
    """The samples of all processes, in any order; gradients go through to the process that each is of."""

    prediction: Float[Tensor, "every dim"]
    target: Float[Tensor, "every dim"]
    labels: Labels
    processes: int


@dataclass(frozen=True)
class Batch:
    """What every term may look at. All vectors are as the heads give them, before L2 normalisation."""

    prediction: Float[Tensor, "sample dim"]
    target: Float[Tensor, "sample dim"]
    """What the prediction is compared with; cut off from its gradient where `stop_gradient` says so."""
    labels: Labels
    everyone: Everyone | None
    """Where there are other processes."""
    temperature: float | Float[Tensor, ""]
    config: ObjectiveConfig
    sides: tuple[Float[Tensor, "every dim"], Float[Tensor, "every dim"]]
    """Prediction and target of all processes for the regularizers, each with its gradient."""


@dataclass(frozen=True)
class ObjectiveValue:
    """The sum to differentiate and its terms, unweighted, for the record; of several processes, this one's shares."""

    total: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]


def _info_nce(batch: Batch) -> Tensor:
    own = F.normalize(batch.prediction, dim=1), F.normalize(batch.target, dim=1)
    settings: dict[str, Any] = {
        "temperature": batch.temperature,
        "label_smoothing": batch.config.label_smoothing,
    }
    if batch.everyone is None:
        if len(batch.labels) ** 2 <= ENTRIES:
            return info_nce(*own, positives=positives_of(batch.labels), **settings)
        every, labels = own, batch.labels
    else:
        target = batch.everyone.target.detach() if batch.config.stop_gradient else batch.everyone.target
        every = F.normalize(batch.everyone.prediction, dim=1), F.normalize(target, dim=1)
        labels = batch.everyone.labels
    return info_nce_share(own, every, own_labels=batch.labels, every_labels=labels, **settings)


def _own(distance: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Batch], Tensor]:
    """A mean over samples: each process has that of its own, weighted by their number."""

    def share(batch: Batch) -> Tensor:
        value = distance(batch.prediction, batch.target)
        return value if batch.everyone is None else value * (len(batch.labels) / len(batch.everyone.labels))

    return share


def _whole(regularizer: Callable[..., Tensor], **settings: str) -> Callable[[Batch], Tensor]:
    """The mean of a regularizer over both sides; each process computes it of all samples and gives a part of it.

    Args:
        regularizer: of one side.
        settings: its arguments → the fields of `ObjectiveConfig` that they are.
    """

    def share(batch: Batch) -> Tensor:
        given = {name: getattr(batch.config, field) for name, field in settings.items()}
        prediction, target = batch.sides
        value = (regularizer(prediction, **given) + regularizer(target, **given)) / 2
        return value if batch.everyone is None else value / batch.everyone.processes

    return share


TERMS: dict[str, Callable[[Batch], Tensor]] = {
    "info_nce": _info_nce,
    "cosine": _own(cosine),
    "l1": _own(l1),
    "l2": _own(l2),
    "smooth_l1": _own(smooth_l1),
    "vicreg_variance": _whole(vicreg_variance),
    "vicreg_covariance": _whole(vicreg_covariance),
    "sigreg": _whole(sigreg, directions="sigreg_directions"),
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
        assert config.temperature is not None  # `build_module` has taken the pair's
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
        labels: Labels,
        everyone: Everyone | None = None,
    ) -> ObjectiveValue:
        """Compute every term with a positive weight; a weight of 0 costs nothing and changes nothing.

        Args:
            prediction: before L2 normalisation.
            target: before L2 normalisation.
            labels: of the samples.
            everyone: the samples of all processes, where there are others; the value is then this one's share.
        """
        batch = Batch(
            prediction,
            target.detach() if self.config.stop_gradient else target,
            labels,
            everyone,
            self.temperature,
            self.config,
            (prediction, target) if everyone is None else (everyone.prediction, everyone.target),
        )
        terms = {name: TERMS[name](batch) for name, weight in self.config.weights.items() if weight > 0}
        total = torch.stack([self.config.weights[name] * value for name, value in terms.items()]).sum()
        return ObjectiveValue(total, {name: value.detach() for name, value in terms.items()})
