"""Registry of objective terms, and their weighted sum: a decorator above a pure function of tensors makes a term.

    @objective("l1")
    def l1(prediction, target): ...

    @regularizer("vicreg_variance")
    def vicreg_variance(projection): ...

A term sees the whole batch, also where several processes share it: ordinary tensors, samples first, as the heads give
them, before L2 normalisation. Keyword arguments are given by name: `labels`, `temperature` and `bias` (learned),
`auxiliary`, `twins`, `teacher`, and every field of `ObjectiveConfig`. The docstring's first line, `Source:` and
`Start with:` are the term's row in the documents.
"""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pairjepa.config.settings import TEMPERATURES, ObjectiveConfig
from pairjepa.util.errors import unknown

Function = TypeVar("Function", bound=Callable[..., Tensor])


@dataclass(frozen=True)
class Labels:
    """What the samples are of. Equal numbers are the same image, or the same words."""

    image: Int[Tensor, " sample"]
    text: Int[Tensor, " sample"]

    def __len__(self) -> int:
        return len(self.image)

    def rows(self, start: int, end: int) -> "Labels":
        """The labels of some samples."""
        return Labels(self.image[start:end], self.text[start:end])

    def to(self, device: torch.device) -> "Labels":
        """The labels on a device."""
        return Labels(self.image.to(device), self.text.to(device))


@dataclass(frozen=True)
class Term:
    """A registered function and the kind of its arguments."""

    function: Callable[..., Tensor]
    one_sided: bool
    """A regularizer, which takes one side's projections; the term is the mean of both sides."""

    def value(self, prediction: Tensor, target: Tensor, given: dict[str, Any]) -> Tensor:
        """The term of a batch; of `given` the function gets what it names."""
        chosen = {name: given[name] for name in inspect.signature(self.function).parameters if name in given}
        if self.one_sided:
            return (self.function(prediction, **chosen) + self.function(target, **chosen)) / 2
        return self.function(prediction, target, **chosen)


TERMS: dict[str, Term] = {}
"""Name → term, in the order of the files of `objectives/` and of the functions in them."""


def objective(name: str) -> Callable[[Function], Function]:
    """Register a function of prediction and target, which `stop_gradient` cuts off from its gradient."""
    return _registered(name, one_sided=False)


def regularizer(name: str) -> Callable[[Function], Function]:
    """Register a function of one side's projections; both sides always get its gradient."""
    return _registered(name, one_sided=True)


def _registered(name: str, one_sided: bool) -> Callable[[Function], Function]:
    def register(function: Function) -> Function:
        TERMS[name] = Term(function, one_sided)
        return function

    return register


def check_terms(config: ObjectiveConfig) -> None:
    """Raise `UsageError` for a term that is not in `TERMS`, before anything is computed."""
    for name in config.weights:
        if name not in TERMS:
            raise unknown("objective term", name, TERMS)


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
