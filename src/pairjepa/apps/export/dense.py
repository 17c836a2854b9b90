"""The heads of a run as a chain of maps `activation(W x + b) + S x`, the only kind that other libraries have.

Standardisers and BatchNorm, which are fixed, become a part of the linear map beside them. Computed in float64.

Axes: `out` x `in` of a weight.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pairjepa.model.heads import MLP, Identity, Residual, Standardizer


@dataclass(frozen=True)
class Map:
    """x → W x + b, or with a skip x → relu(W x + b) + S x."""

    weight: Tensor
    bias: Tensor
    relu: bool = False
    skip: Tensor | None = None


def maps_of(standardizer: Standardizer, heads: Sequence[nn.Module]) -> list[Map]:
    """The standardiser and the heads after it, one after the other.

    A head that takes more than it is given (the predictor of a masked run, whose caption is hidden) takes zeros.
    """
    standardizer = copy.deepcopy(standardizer).double().cpu()
    heads = [copy.deepcopy(head).double().cpu() for head in heads]
    maps: list[Map] = []
    for head in heads:
        if not isinstance(head, Identity):
            width = len(maps[-1].bias) if maps else len(standardizer.mean)
            maps += _head(head, width, None if maps else standardizer)
    return maps or [_standardise(standardizer)]


def _head(head: nn.Module, width: int, standardizer: Standardizer | None) -> list[Map]:
    def first(layer: nn.Module) -> Map:
        """A linear map of what is given, standardised before."""
        assert isinstance(layer, nn.Linear)
        weight: Tensor = layer.weight[:, :width]
        bias: Tensor = layer.bias
        if standardizer is not None:
            weight = weight / standardizer.scale
            bias = bias - weight @ standardizer.mean
        return Map(weight, bias)

    if isinstance(head, Residual):
        return _residual(first(head.mlp[0]), first(head.linear), head.mlp[-1], width)
    if isinstance(head, MLP):
        inner, norm, last = head[1], head[2], head[-1]
        assert isinstance(norm, nn.BatchNorm1d)
        assert isinstance(last, nn.Linear)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        before = first(inner)
        bias = (before.bias - norm.running_mean) * gain + norm.bias
        return [
            Map(before.weight * gain[:, None], bias, relu=True),
            Map(last.weight, last.bias),
        ]
    return [first(head[-1])]  # type: ignore[index]


def _residual(hidden: Map, linear: Map, last: nn.Module, width: int) -> list[Map]:
    """The hidden layer and, below it, the linear map; then the last layer of the one plus the other."""
    assert isinstance(last, nn.Linear)
    units, dim = len(hidden.bias), len(linear.bias)
    unused = int(units + dim == width)  # sentence-transformers takes a square S for the identity
    add = torch.cat([last.weight, torch.eye(dim, dtype=torch.double)], dim=1)
    return [
        Map(
            F.pad(hidden.weight, (0, 0, 0, dim + unused)),
            F.pad(hidden.bias, (0, dim + unused)),
            relu=True,
            skip=F.pad(linear.weight, (0, 0, units, unused)),
        ),
        Map(F.pad(add, (0, unused)), last.bias + linear.bias),
    ]


def _standardise(standardizer: Standardizer) -> Map:
    mean, scale = standardizer.mean, standardizer.scale
    return Map(torch.diag(1 / scale), -mean / scale)
