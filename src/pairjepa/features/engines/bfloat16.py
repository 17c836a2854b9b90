"""PyTorch in bfloat16, where a GPU, or a CPU with AMX, computes it many times as fast; features are float32 again."""

import torch

from pairjepa.backbones.image import ImageBackbone
from pairjepa.backbones.text import TextBackbone
from pairjepa.features.engines.torch import TorchEngine


def make(backbone: ImageBackbone | TextBackbone) -> TorchEngine:
    """The backbone under autocast: matrix products and convolutions in bfloat16, the rest in float32."""
    return TorchEngine(backbone, torch.bfloat16)
