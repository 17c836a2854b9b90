"""PyTorch, in full float32: what every other engine is measured by."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from pairjepa.backbones.device import to_device
from pairjepa.backbones.image import ImageBackbone
from pairjepa.backbones.text import TextBackbone
from pairjepa.features.engines import Inputs


class TorchEngine:
    """The backbone itself, where it is."""

    def __init__(self, backbone: ImageBackbone | TextBackbone, autocast: torch.dtype | None = None) -> None:
        """Nothing is copied; `autocast`: what is computed in where that may be less than float32."""
        self._backbone, self._autocast = backbone, autocast

    def results(self, batches: Iterable[Inputs]) -> Iterator[Float32[np.ndarray, "batch width"]]:
        """Features of each batch; a GPU computes one while the one before is taken and the next is prepared."""
        waiting = None
        for batch in batches:
            features = self._forward(batch)
            if waiting is not None:
                yield waiting.cpu().numpy()
            waiting = features
        if waiting is not None:
            yield waiting.cpu().numpy()

    def _forward(self, batch: Inputs) -> Tensor:
        backbone = self._backbone
        device = next(backbone.parameters()).device
        # cuDNN's own choice of algorithm would cost the equality of two runs.
        exact = torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )
        with torch.inference_mode(), exact:
            inputs = to_device([torch.from_numpy(np.ascontiguousarray(array)) for array in batch], device)
            if not isinstance(backbone, TextBackbone):
                inputs = (backbone.normalise(*inputs),)
            with torch.autocast(device.type, self._autocast, enabled=self._autocast is not None):
                features: Tensor = backbone(*inputs)
            return features.float()


def make(backbone: ImageBackbone | TextBackbone) -> TorchEngine:
    """The backbone as an engine."""
    return TorchEngine(backbone)
