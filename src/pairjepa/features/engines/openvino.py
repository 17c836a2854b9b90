"""OpenVINO on the CPU, in float32, converted from the PyTorch module."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float32

from pairjepa.backbones.image import ImageBackbone
from pairjepa.backbones.text import TextBackbone
from pairjepa.features.engines import Inputs, Unconvertible, no_telemetry
from pairjepa.features.engines.graphs import converting, graph_of
from pairjepa.util.errors import first_line

FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}
"""Its own choice on many CPUs is bfloat16: twice as fast, with a cosine to float32 down to 0.966."""


class OpenVinoEngine:
    """A compiled model with as many requests as it computes at once, and one that is being filled."""

    def __init__(self, compiled: Any) -> None:
        """`compiled`: what `Core.compile_model` gave."""
        count = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") + 1
        self._requests = [compiled.create_infer_request() for _ in range(count)]

    def results(self, batches: Iterable[Inputs]) -> Iterator[Float32[np.ndarray, "batch width"]]:
        """Features of each batch; some are computed while the next are made."""
        idle, busy = deque(self._requests), deque[Any]()
        try:
            for batch in batches:
                if not idle:
                    yield self._finished(busy, idle)
                request = idle.popleft()
                request.start_async(dict(enumerate(batch)))
                busy.append(request)
            while busy:
                yield self._finished(busy, idle)
        finally:
            for request in busy:  # a caller that stops halfway must not leave one running
                request.wait()

    @staticmethod
    def _finished(busy: deque[Any], idle: deque[Any]) -> np.ndarray:
        request = busy.popleft()
        request.wait()
        features: np.ndarray = request.get_output_tensor(0).data.copy()
        idle.append(request)
        return features


def make(backbone: ImageBackbone | TextBackbone) -> OpenVinoEngine:
    """Convert and compile.

    Raises:
        Unconvertible: OpenVINO does not take the model.
    """
    no_telemetry()
    import openvino

    graph = graph_of(backbone)
    try:
        with converting():
            model = openvino.convert_model(graph.module, example_input=tuple(graph.inputs.values()))
        shapes = {}
        for number, example in enumerate(graph.inputs.values()):
            shapes[number] = [
                -1 if axis in graph.axes else length for axis, length in enumerate(example.shape)
            ]
        model.reshape(shapes)
        compiled = openvino.Core().compile_model(model, "CPU", {**FLOAT32, "PERFORMANCE_HINT": "THROUGHPUT"})
    except Exception as error:  # its converters fail in every way there is
        raise Unconvertible(first_line(error)) from None
    return OpenVinoEngine(compiled)
