"""A backbone as other runtimes take it: a module, an example of each input, and which axes may vary.

image   pixels (batch, size, size, 3) uint8 → features (batch, width)
text    input_ids, attention_mask (batch, token) int64 → features (batch, width)
"""

import contextlib
import copy
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pairjepa.backbones.image import ImageBackbone
from pairjepa.backbones.loading import quiet
from pairjepa.backbones.text import TextBackbone


@dataclass(frozen=True)
class Graph:
    """A module to be converted."""

    module: nn.Module
    inputs: dict[str, Tensor]
    """Name → example."""
    axes: dict[int, str]
    """The axes of every input that vary: number → name."""
    most_tokens: int | None = None
    """How long the axis `token` may be."""


class _Pixels(nn.Module):
    """Pixels → features."""

    def __init__(self, backbone: ImageBackbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.backbone(self.backbone.normalise(pixels))
        return features


def graph_of(backbone: ImageBackbone | TextBackbone) -> Graph:
    """The graph of a backbone, pixels or tokens → features."""
    device = next(backbone.parameters()).device
    if isinstance(backbone, ImageBackbone):
        return Graph(_Pixels(portable(backbone)).eval(), {"pixels": example_pixels(backbone)}, {0: "batch"})
    ids, mask = (tensor.to(device) for tensor in example_tokens(backbone))
    axes = {0: "batch", 1: "token"}
    return Graph(backbone.eval(), {"input_ids": ids, "attention_mask": mask}, axes, backbone.max_tokens)


def example_pixels(backbone: ImageBackbone) -> Tensor:
    """Two black pictures: (2, size, size, 3) uint8."""
    size, device = backbone.preprocessing.size, next(backbone.parameters()).device
    return torch.zeros((2, size, size, 3), dtype=torch.uint8, device=device)


def example_tokens(backbone: TextBackbone) -> tuple[Tensor, Tensor]:
    """Ids and mask of two captions of different length."""
    ids, mask = backbone.collate(backbone.tokenize(["a", "a dog"]))
    return ids, mask


def portable(image: ImageBackbone) -> ImageBackbone:
    """The same without EfficientNet's averaging by a window far larger than its map, which OpenVINO refuses."""
    if not isinstance(getattr(image.model, "pooler", None), nn.AvgPool2d):
        return image
    image = copy.deepcopy(image)
    image.model.pooler = nn.AdaptiveAvgPool2d(1)
    return image


@contextlib.contextmanager
def converting() -> Iterator[None]:
    """Without gradients, and without lines about torchvision, tracing and what an exporter tried."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with quiet(), torch.no_grad():
            yield
    finally:
        logger.setLevel(level)
