"""The weighted sum of the terms that a configuration names, and the learned temperature and bias."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pairjepa.config.settings import TEMPERATURES, ObjectiveConfig
from pairjepa.objectives.terms import TERMS, Labels, check_terms


@dataclass(frozen=True)
class ObjectiveValue:
    """The sum to differentiate and its terms, unweighted, for the record."""

    total: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]


class Objective(nn.Module):
    """The weighted sum of terms that a configuration names, the learned temperature and the bias of `sigmoid`."""

    def __init__(self, config: ObjectiveConfig) -> None:
        """Raises `UsageError` for a term that is not in `TERMS`."""
        super().__init__()
        check_terms(config)
        assert config.temperature is not None  # `build_module` has taken the pair's
        self.config = config
        self._least = math.log(min(TEMPERATURES[0], config.temperature))
        # log τ keeps τ positive
        self.log_temperature = nn.Parameter(
            torch.tensor(config.temperature).log(), requires_grad=config.learn_temperature
        )
        self.bias = None
        if config.weights.get("sigmoid"):
            start = torch.tensor(-10.0 if config.bias is None else config.bias)
            self.bias = nn.Parameter(start, requires_grad=config.learn_temperature)

    @property
    def temperature(self) -> Tensor:
        """τ, clamped to [0.01, 1] as in CLIP, or from where a pretrained pair has it (SigLIP: 0.0085)."""
        return self.log_temperature.clamp(self._least, 0.0).exp()

    @torch.no_grad()
    def clamp_(self) -> None:
        """Keep log τ itself in range, so that it can come back from the border."""
        self.log_temperature.clamp_(self._least, 0.0)

    def forward(
        self,
        prediction: Float[Tensor, "sample dim"],
        target: Float[Tensor, "sample dim"],
        labels: Labels,
        auxiliary: tuple[Float[Tensor, "sample width"], ...] = (),
        twins: tuple[Float[Tensor, "sample dim"], Bool[Tensor, " sample"]] | None = None,
        teacher: tuple[Float[Tensor, "sample taught"], Float[Tensor, "sample taught"]] | None = None,
    ) -> ObjectiveValue:
        """Compute every term with a positive weight; a weight of 0 costs nothing and changes nothing.

        Args:
            prediction: of the whole batch, before L2 normalisation.
            target: the same.
            labels: of the samples.
            auxiliary: what is predicted beside the target and what it should be, for the terms that name it.
            twins: targets of the captions' twins, and which captions have one, for `hard_negatives`.
            teacher: embeddings of the images and captions by other runs, for `distillation`.
        """
        given = vars(self.config) | {
            "labels": labels,
            "temperature": self.temperature,
            "bias": self.bias,
            "auxiliary": auxiliary,
            "twins": twins,
            "teacher": teacher,
        }
        compared = target
        if self.config.stop_gradient:
            compared = target.detach()
            given["twins"] = None if twins is None else (twins[0].detach(), twins[1])
        terms = {}
        for name, weight in self.config.weights.items():
            if weight > 0:
                term = TERMS[name]
                terms[name] = term.value(prediction, target if term.one_sided else compared, given)
        total = torch.stack([self.config.weights[name] * value for name, value in terms.items()]).sum()
        return ObjectiveValue(total, {name: value.detach() for name, value in terms.items()})
