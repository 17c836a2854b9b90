"""ONNX files from PyTorch modules."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pairjepa.features.engines import Unconvertible
from pairjepa.features.engines.graphs import converting
from pairjepa.util.errors import first_line

OPSET = 20


def write_graph(
    module: nn.Module, inputs: dict[str, tuple[Tensor, Any]], outputs: list[str], path: Path
) -> None:
    """Export one graph; weights lie beside it in PATH.data.

    Args:
        module: what is exported.
        inputs: name → an example and its dynamic axes (`torch.export.Dim`).
        outputs: names of what it gives.
        path: the .onnx file.

    Raises:
        Unconvertible: PyTorch cannot export the module.
    """
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    with converting():
        try:
            program = torch.onnx.export(
                module.eval(),
                tuple(example for example, _ in inputs.values()),
                input_names=list(inputs),
                output_names=outputs,
                dynamic_shapes=tuple(axes for _, axes in inputs.values()),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            reason = first_line(error.__cause__ if isinstance(error.__cause__, Exception) else error)
            raise Unconvertible(reason) from None
        assert program is not None
        ClearMetadataAndDocStringPass()(program.model)  # stack traces, with the paths of this machine
        program.save(path, external_data=True)
