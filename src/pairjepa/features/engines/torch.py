"""PyTorch, in full float32: what every other engine is measured by."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Float32

from pairjepa.backbones.image import ImageBackbone
from pairjepa.backbones.text import TextBackbone
from pairjepa.features.engines import Inputs


class TorchEngine:
    """The backbone itself, where it is."""

    def __init__(self, backbone: ImageBackbone | TextBackbone) -> None:
        """Nothing is copied."""
        self._backbone = backbone

    def results(self, batches: Iterable[Inputs]) -> Iterator[Float32[np.ndarray, "batch width"]]:
        """Features of each batch."""
        return map(self._forward, batches)

    def _forward(self, batch: Inputs) -> np.ndarray:
        backbone = self._backbone
        device = next(backbone.parameters()).device
        # TensorFloat-32 would cost three digits, and cuDNN's choice of algorithm the equality of two runs.
        exact = torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )
        with torch.inference_mode(), exact:
            inputs = [torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in batch]
            if not isinstance(backbone, TextBackbone):
                inputs = [backbone.normalise(*inputs)]
            return backbone(*inputs).float().cpu().numpy()


def make(backbone: ImageBackbone | TextBackbone) -> TorchEngine:
    """The backbone as an engine."""
    return TorchEngine(backbone)
