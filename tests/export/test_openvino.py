"""OpenVINO graphs of a contrastive run; the export itself compares what they compute in float32."""

from pathlib import Path

import numpy as np
import pytest

import pairjepa
from pairjepa.apps.export.openvino import export_openvino
from pairjepa.embedder.embedder import Embedder


def test_graphs_that_openvino_computes(embedder: Embedder, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    export_openvino(embedder, tmp_path / "ir")
    assert sorted(path.name for path in (tmp_path / "ir").iterdir()) == [
        "image.bin",
        "image.xml",
        "pairjepa_export.json",
        "pairjepa_openvino.json",
        "text.bin",
        "text.xml",
        "tokenizer.json",
    ]
    model = openvino.Core().compile_model(
        tmp_path / "ir" / "text.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    ids, mask = embedder.text.collate(embedder.text.tokenize(["a red circle", "a circle above a square"]))
    target = model({"input_ids": ids.numpy(), "attention_mask": mask.numpy()})["target"]
    expected = embedder.encode_text(["a red circle", "a circle above a square"])
    np.testing.assert_allclose(target, expected, atol=1e-5)
    for graph in (tmp_path / "ir").glob("*.xml"):
        assert str(Path(pairjepa.__file__).parent) not in graph.read_text()
