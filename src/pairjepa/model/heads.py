"""Learned maps between vectors. A new one is a class here under `@head`."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from pairjepa.config.registered import registrar
from pairjepa.config.settings import HeadConfig
from pairjepa.util.errors import UsageError, unknown

HEADS: dict[str, Callable[[int, int, HeadConfig], nn.Module]] = {}
"""Kind → what makes a head from one width to another."""
head = registrar(HEADS)
CONSTANT = 1e-4  # of the largest mean: what rounding leaves of the deviation of equal rows


class Dropout(nn.Dropout):
    """Like `nn.Dropout`; its mask comes from `torch.rand`, which on a CPU is five times as fast as `bernoulli_`."""

    def forward(self, x: Tensor) -> Tensor:
        """Zero a share `p` of the entries and scale the rest by 1 / (1 - p)."""
        if not self.training or self.p == 0:
            return x
        return x * ((torch.rand_like(x, dtype=torch.float32) >= self.p) / (1 - self.p)).to(x.dtype)


class Standardizer(nn.Module):
    """Features minus their mean, over their standard deviation on the training images; the identity until fitted.

    The statistics are saved with the model, so that training, evaluation and use see the same inputs.
    """

    mean: Tensor
    scale: Tensor
    constant = False
    """Whether it was fitted to features that are the same in every row."""

    def __init__(self, width: int) -> None:
        """`width`: of the features."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def fit(self, mean: Float[Tensor, " width"], deviation: Float[Tensor, " width"]) -> None:
        """Take over statistics; a feature that is constant (dead) is only centred."""
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(deviation > 1e-6, deviation, torch.ones_like(deviation)))
        self.constant = bool(deviation.max() <= CONSTANT * mean.abs().max())

    def forward(self, features: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        """Standardise."""
        return (features - self.mean) / self.scale


@head("identity")
class Identity(Dropout):
    """Nothing but the input dropout; the width stays."""

    def __init__(self, width: int, dim: int, config: HeadConfig) -> None:
        """`dim` is not used: see `width_after`."""
        super().__init__(config.input_dropout)


@head("linear")
def linear(width: int, dim: int, config: HeadConfig) -> nn.Module:
    """A linear map behind the input dropout."""
    return nn.Sequential(Dropout(config.input_dropout), nn.Linear(width, dim))


@head("mlp")
class MLP(nn.Sequential):
    """Linear, BatchNorm, ReLU, linear: the reference's predictor."""

    def __init__(self, width: int, dim: int, config: HeadConfig) -> None:
        """From `width` to `dim` through `config.hidden_dim`."""
        super().__init__(
            Dropout(config.input_dropout),
            nn.Linear(width, config.hidden_dim),
            nn.BatchNorm1d(config.hidden_dim),
            nn.ReLU(),
            Dropout(config.dropout),
            nn.Linear(config.hidden_dim, dim),
        )


@head("residual")
class Residual(nn.Module):
    """A linear map plus a small MLP beside it: the linear part finds what CCA finds, the MLP what it cannot.

    There is no BatchNorm: inputs are standardised, and the map of one row does not depend on its batch.
    """

    def __init__(self, width: int, dim: int, config: HeadConfig) -> None:
        """From `width` to `dim`, the MLP through `config.hidden_dim`."""
        super().__init__()
        self.input_dropout = Dropout(config.input_dropout)
        self.linear = nn.Linear(width, dim)
        self.mlp = nn.Sequential(
            nn.Linear(width, config.hidden_dim),
            nn.ReLU(),
            Dropout(config.dropout),
            nn.Linear(config.hidden_dim, dim),
        )

    def forward(self, x: Float[Tensor, "batch width"]) -> Float[Tensor, "batch dim"]:
        """Both see the same dropped inputs."""
        x = self.input_dropout(x)
        out: Tensor = self.linear(x) + self.mlp(x)
        return out


@head("gated")
def gated(width: int, dim: int, config: HeadConfig) -> nn.Module:
    """Residual; where a predictor sees both sides, `Gated`."""
    return Residual(width, dim, config)


@head("adapter")
class Adapter(nn.Module):
    """A pretrained embedding plus a small MLP of it, whose last layer starts at zero: at first it is the identity.

    The embedding is brought to the norm √dim, so that the MLP sees numbers of size 1 whatever the pair's own scale is.
    Source: residual adapters on CLIP's features (Gao et al. 2021, arXiv 2110.04544).
    """

    scale: Tensor
    """How much of the MLP is added; 1 until the training is complete."""
    linear: Tensor | None
    """The map of the embedding, `(dim, dim)`; None is the identity."""

    def __init__(self, width: int, dim: int, config: HeadConfig) -> None:
        """From `width`, which is `dim`.

        Raises:
            UsageError: the shared space has another width than the pair.
        """
        super().__init__()
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("linear", None)
        if width != dim:
            raise UsageError(
                f"model.dim must be {width}, the width of the pretrained pair, got {dim}. Leave it out."
            )
        self.mlp = nn.Sequential(
            Dropout(config.input_dropout),
            nn.Linear(width, config.hidden_dim),
            nn.ReLU(),
            Dropout(config.dropout),
            nn.Linear(config.hidden_dim, dim),
        )
        nn.init.zeros_(self.mlp[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.mlp[-1].bias)  # type: ignore[arg-type]

    def forward(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        """The embedding on the sphere of radius √dim, and what is added to it."""
        x = sphere(x)
        out: Tensor = (x if self.linear is None else F.linear(x, self.linear)) + self.scale * self.mlp(x)
        return out

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        if (found := state_dict.get(prefix + "linear")) is not None:
            self.linear = torch.empty_like(found, device=self.scale.device)
        super()._load_from_state_dict(state_dict, prefix, *rest)


def sphere(x: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
    """Rows of norm √dim."""
    return F.normalize(x, dim=1) * x.shape[1] ** 0.5


class Gated(nn.Module):
    """A map a side, and one from the visible words to a gate: how much the image counts, by dimension.

    One map over both sides cannot: what it makes of the image must be large where the image stands alone, and small
    where most words are there. An image alone goes through its own map and no gate. The maps are residual; of a
    pretrained pair adapters, so that at first the prediction of an image alone is the pair's. What is added to the map
    of an image alone counts beside words as much as the gate lets through on average.
    """

    def __init__(self, image: int, caption: int, dim: int, config: HeadConfig) -> None:
        """From `image` and `caption` features to `dim`."""
        super().__init__()
        kind = Adapter if config.kind == "adapter" else Residual
        self.image, self.caption = kind(image, dim, config), kind(caption, dim, config)
        self.gate = Residual(caption, dim, config)
        self.alone: Residual | Adapter | None = None

    def of_image_alone(self) -> nn.Module:
        """The map of an image without words, which can be changed by itself."""
        if self.alone is None:
            self.alone = copy.deepcopy(self.image)
        return self.alone

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        if any(name.startswith(prefix + "alone.") for name in state_dict):
            self.of_image_alone()
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(
        self,
        image: Float[Tensor, "batch image"],
        caption: Float[Tensor, "batch caption"] | None,
    ) -> Float[Tensor, "batch dim"]:
        """Predict."""
        seen: Tensor = self.image(image)
        alone = seen if self.alone is None else self.alone(image)
        if caption is None:
            return alone
        gate = self.gate(sphere(caption) if isinstance(self.caption, Adapter) else caption).sigmoid()
        both: Tensor = gate * seen + self.caption(caption) + gate.mean(dim=1, keepdim=True) * (alone - seen)
        return both


@torch.no_grad()
def add_linear(
    head: nn.Module, keep: float, weight: Float[Tensor, "dim width"], bias: Float[Tensor, " dim"]
) -> None:
    """Change a linear, residual or adapter head f so that it gives keep·f(x) + weight·x + bias."""
    if isinstance(head, Adapter):
        start = torch.eye(len(weight), device=weight.device) if head.linear is None else head.linear
        head.linear = keep * start + weight
        last: Any = head.mlp[-1]
        last.weight *= keep * head.scale
        last.bias *= keep * head.scale
        last.bias += bias
        head.scale.fill_(1.0)
        return
    if isinstance(head, Residual):
        for parameter in head.mlp[-1].parameters():
            parameter.mul_(keep)
    linear: Any = head.linear if isinstance(head, Residual) else head[-1]  # type: ignore[index]
    linear.weight.mul_(keep).add_(weight)
    linear.bias.mul_(keep).add_(bias)


def build_head(width: int, dim: int, config: HeadConfig) -> nn.Module:
    """The head that `config.kind` names, from `width` to `width_after(width, dim, config)`."""
    if config.kind not in HEADS:
        raise unknown("head", config.kind, HEADS)
    return HEADS[config.kind](width, dim, config)


def width_after(width: int, dim: int, config: HeadConfig) -> int:
    """Width of a head's output."""
    return width if config.kind == "identity" else dim
