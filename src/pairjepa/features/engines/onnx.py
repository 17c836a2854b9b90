"""ONNX Runtime on the CPU, in float32."""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from pairjepa.backbones.image import ImageBackbone
from pairjepa.backbones.text import TextBackbone
from pairjepa.features.engines import Inputs, Unconvertible, no_telemetry
from pairjepa.features.engines.graphs import graph_of
from pairjepa.features.engines.onnx_graph import write_graph
from pairjepa.util.errors import first_line


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


def make(backbone: ImageBackbone | TextBackbone) -> OnnxEngine:
    """Export and load.

    Raises:
        Unconvertible: PyTorch cannot export the model, or ONNX Runtime does not take it.
    """
    no_telemetry()
    from onnxruntime import InferenceSession, SessionOptions

    graph = graph_of(backbone)
    dims = {
        name: torch.export.Dim(name, max=graph.most_tokens if name == "token" else None)
        for name in graph.axes.values()
    }
    axes = {axis: dims[name] for axis, name in graph.axes.items()}
    options = SessionOptions()
    options.log_severity_level = 4
    # its threads would otherwise burn the cores that decode the next images while they wait
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "backbone.onnx"
        write_graph(
            graph.module,
            {name: (example, axes) for name, example in graph.inputs.items()},
            ["features"],
            path,
        )
        try:
            return OnnxEngine(InferenceSession(path, options, providers=["CPUExecutionProvider"]))
        except Exception as error:  # ONNX Runtime's own classes are private to its extension
            raise Unconvertible(first_line(error)) from None
