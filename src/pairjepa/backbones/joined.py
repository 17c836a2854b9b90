"""Several image backbones as one: their features of the same picture side by side.

Axes: as in `image`; `channel` = 3 for each backbone.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from pairjepa.backbones.image import ImageBackbone
from pairjepa.util.errors import PairJEPAError, UsageError
from pairjepa.util.files import digest


class JoinedImage(ImageBackbone):
    """Frozen image backbones of one input size; each has its own preprocessing, whose pixels stand as channels."""

    def __init__(self, parts: Sequence[ImageBackbone]) -> None:
        """Raises `UsageError` if they take pictures of different sizes."""
        nn.Module.__init__(self)
        first, *others = (part.preprocessing for part in parts)
        if sizes := sorted({one.size for one in others} - {first.size}):
            raise UsageError(
                f"model.image must name backbones of one input size, got {first.size} and {sizes[0]} pixels. "
                "Give model.image_size."
            )
        self.parts = nn.ModuleList(parts)
        self.preprocessing = replace(first, others=tuple(others))
        self.stages, self.grid = (), None
        self.width = self.pooled = sum(part.width for part in parts)
        self.digest = digest("joined", *(part.digest for part in parts))
        self.eval()

    def normalise(
        self, pixels: UInt8[Tensor, "batch size size channel"]
    ) -> Float[Tensor, "batch channel size size"]:
        """Pixels as the backbones take them."""
        each = zip(self.parts, pixels.split(3, dim=3), strict=True)
        return torch.cat([part.normalise(own) for part, own in each], dim=1)  # type: ignore[operator]

    def forward(self, pixels: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch feature"]:
        """Features of normalised pictures."""
        each = zip(self.parts, pixels.split(3, dim=1), strict=True)
        return torch.cat([part(own) for part, own in each], dim=1)

    def positions(
        self, pixels: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch row column pooled"]:
        """Features of each position, where the last maps are of one size.

        Raises:
            PairJEPAError: they are not, or a backbone has no map.
        """
        each = zip(self.parts, pixels.split(3, dim=1), strict=True)
        maps = [part.positions(own) for part, own in each]  # type: ignore[operator]
        if len({tuple(one.shape[1:3]) for one in maps}) > 1:
            raise PairJEPAError("The image backbones have last maps of different sizes.")
        return torch.cat(maps, dim=3)

    def save(self, folder: Path) -> None:
        """Not kept: a run names its backbones."""
        raise UsageError("A run on several image backbones is shared with --to onnx.")
