"""PyTorch: in full float32 what every other engine is measured by, in bfloat16 many times as fast on a GPU."""

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from pairjepa.backbones.device import to_device
from pairjepa.backbones.image import ImageBackbone
from pairjepa.backbones.text import TextBackbone
from pairjepa.features.engines import Engine, Inputs


def torch_engine(backbone: ImageBackbone | TextBackbone, *, half: bool = False) -> Engine:
    """The backbone itself, where it is; nothing is copied.

    Args:
        backbone: what is forwarded.
        half: whether matrix products and convolutions are computed in bfloat16, and the rest in float32.
    """

    def features(batch: Inputs) -> Float32[np.ndarray, "batch ..."]:
        device = next(backbone.parameters()).device
        # cuDNN's own choice of algorithm would cost the equality of two runs.
        exact = torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )
        with torch.inference_mode(), exact:
            inputs = to_device([torch.from_numpy(np.ascontiguousarray(array)) for array in batch], device)
            if not isinstance(backbone, TextBackbone):
                inputs = (backbone.normalise(*inputs),)
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                found: Tensor = backbone(*inputs)
            return found.float().cpu().numpy()

    return features
