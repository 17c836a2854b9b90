"""A run as graphs of OpenVINO (.xml and .bin), converted from those of `export.onnx`: the same inputs and outputs.

Weights stay float32. What computes them is chosen where they are loaded: on CPUs with bfloat16 OpenVINO takes that
unless it is told `{"INFERENCE_PRECISION_HINT": "f32"}`, and vectors then differ in the third digit.
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np

from pairjepa.apps.export.equal import check_equal
from pairjepa.apps.export.folder import check_installed, new_folder
from pairjepa.apps.export.onnx import export_onnx
from pairjepa.embedder.embedder import Embedder
from pairjepa.embedder.onnx_embedder import SETTINGS as ONNX_SETTINGS
from pairjepa.embedder.onnx_embedder import Graph, OnnxEmbedder
from pairjepa.features.engines import no_telemetry
from pairjepa.features.engines.openvino import FLOAT32
from pairjepa.util.checksums import seal

SETTINGS = "pairjepa_openvino.json"


def export_openvino(embedder: Embedder, folder: str | Path) -> None:
    """Write a run as OpenVINO graphs to a new or empty folder, with the settings and tokenizer of `export_onnx`.

    Raises:
        PairJEPAError: as `export_onnx`; or OpenVINO is missing.
    """
    check_installed("openvino")
    no_telemetry()
    import openvino

    with new_folder(Path(folder)) as temporary, tempfile.TemporaryDirectory() as scratch:
        onnx = Path(scratch) / "onnx"
        export_onnx(embedder, onnx)
        for graph in onnx.glob("*.onnx"):
            target = temporary / graph.with_suffix(".xml").name
            openvino.save_model(openvino.convert_model(graph), target, compress_to_fp16=False)
        shutil.copy(onnx / "tokenizer.json", temporary)
        shutil.copy(onnx / ONNX_SETTINGS, temporary / SETTINGS)
        seal(temporary)
        check_equal(embedder, OpenVinoEmbedder.load(temporary))


class _Compiled:
    """A graph in float32."""

    def __init__(self, path: Path) -> None:
        no_telemetry()
        import openvino

        self._model = openvino.Core().compile_model(path, "CPU", FLOAT32)

    def run(self, outputs: list[str], inputs: dict[str, np.ndarray], /) -> list[np.ndarray]:
        result = self._model(inputs)
        return [result[name] for name in outputs]


class OpenVinoEmbedder(OnnxEmbedder):
    """What was written, in float32, to compare it with the run."""

    _settings_file = SETTINGS

    def _graph(self, name: str) -> Graph:
        return _Compiled(self.folder / f"{name}.xml")
