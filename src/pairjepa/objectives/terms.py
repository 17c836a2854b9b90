"""Registry of objective terms: a decorator above a pure function of tensors is all that a new term needs.

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
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from jaxtyping import Int
from torch import Tensor

from pairjepa.config.settings import ObjectiveConfig
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
