"""PyTorch in bfloat16, where a GPU computes it many times as fast; features are float32 again."""

from contextlib import AbstractContextManager
from typing import Any

import torch

from pairjepa.backbones.image import ImageBackbone
from pairjepa.backbones.text import TextBackbone
from pairjepa.features.engines.torch import TorchEngine


class BFloat16Engine(TorchEngine):
    """The backbone under autocast."""

    def precision(self, device: torch.device) -> AbstractContextManager[Any]:
        """Matrix products and convolutions in bfloat16, the rest in float32."""
        return torch.autocast(device.type, torch.bfloat16)


def make(backbone: ImageBackbone | TextBackbone) -> BFloat16Engine:
    """`backbone` itself."""
    return BFloat16Engine(backbone)
