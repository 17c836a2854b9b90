"""ONNX Runtime on the CPU, in float32."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float32
from torch import Tensor, nn

from pairjepa.backbones.image import ImageBackbone
from pairjepa.backbones.text import TextBackbone
from pairjepa.features.engines import Inputs, Unconvertible, no_telemetry
from pairjepa.features.engines.onnx_graph import pixel_inputs, portable, token_inputs, write_graph
from pairjepa.util.errors import first_line
from pairjepa.util.files import temporary_folder


class OnnxEngine:
    """A session."""

    def __init__(self, session: Any) -> None:
        """`session`: an `onnxruntime.InferenceSession`."""
        self._session = session
        self._names = [given.name for given in session.get_inputs()]

    def results(self, batches: Iterable[Inputs]) -> Iterator[Float32[np.ndarray, "batch width"]]:
        """Features of each batch."""
        for batch in batches:
            yield self._session.run(None, dict(zip(self._names, batch, strict=True)))[0]


class _Pixels(nn.Module):
    """Pixels → features."""

    def __init__(self, backbone: ImageBackbone) -> None:
        super().__init__()
        self.backbone = portable(backbone)

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.backbone(self.backbone.normalise(pixels))
        return features


def make(backbone: ImageBackbone | TextBackbone) -> OnnxEngine:
    """Export and load.

    Raises:
        Unconvertible: PyTorch cannot export the model, or ONNX Runtime does not take it.
    """
    no_telemetry()
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.log_severity_level = 4
    # its threads would otherwise burn the cores that decode the next images while they wait
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with temporary_folder() as folder:
        path = folder / "backbone.onnx"
        if isinstance(backbone, ImageBackbone):
            write_graph(_Pixels(backbone), pixel_inputs(backbone), ["features"], path)
        else:
            write_graph(backbone, token_inputs(backbone), ["features"], path)
        try:
            return OnnxEngine(InferenceSession(path, options, providers=["CPUExecutionProvider"]))
        except Exception as error:  # ONNX Runtime's own classes are private to its extension
            raise Unconvertible(first_line(error)) from None
