"""ONNX files from PyTorch modules, and what a backbone's module and inputs are for that.

image   pixels (batch, size, size, 3) uint8
text    input_ids, attention_mask (batch, token) int64
"""

import contextlib
import copy
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pairjepa.backbones.image import ImageBackbone
from pairjepa.backbones.loading import quiet
from pairjepa.backbones.text import TextBackbone
from pairjepa.features.engines import Unconvertible
from pairjepa.util.errors import first_line

OPSET = 20

GraphInputs = dict[str, tuple[Tensor, Any]]
"""Name → an example and its dynamic axes (`torch.export.Dim`)."""


def pixel_inputs(backbone: ImageBackbone) -> GraphInputs:
    """Two black pictures."""
    size, device = backbone.preprocessing.size, next(backbone.parameters()).device
    channels = 3 * (1 + len(backbone.preprocessing.others))
    pixels = torch.zeros((2, size, size, channels), dtype=torch.uint8, device=device)
    return {"pixels": (pixels, {0: torch.export.Dim("batch")})}


def token_inputs(backbone: TextBackbone) -> GraphInputs:
    """Ids and mask of two captions of different length."""
    device = next(backbone.parameters()).device
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("token", max=backbone.max_tokens)}
    ids, mask = backbone.collate(backbone.tokenize(["a", "a dog"]))
    return {"input_ids": (ids.to(device), axes), "attention_mask": (mask.to(device), axes)}


class _MeanOfMap(nn.Module):
    """The mean of each channel, as an average over one window."""

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, channel, height, width) → (batch, channel, 1, 1)."""
        return F.avg_pool2d(maps, maps.shape[2:])


def portable(image: ImageBackbone) -> ImageBackbone:
    """The same with maps averaged over one window of their size.

    ONNX Runtime computes that in the layout of its convolutions, and a mean only after it has turned the map into
    another one: with squeeze-and-excitation a tenth of all time. EfficientNet's own window is far larger than its map,
    which OpenVINO refuses.
    """
    means = [
        name
        for name, module in image.named_modules()
        if (isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1)))
        or (isinstance(module, nn.AvgPool2d) and name.endswith("pooler"))
    ]
    if not means:
        return image
    image = copy.deepcopy(image)
    for name in means:
        parent, _, last = name.rpartition(".")
        setattr(image.get_submodule(parent), last, _MeanOfMap())
    return image


def write_graph(module: nn.Module, inputs: GraphInputs, outputs: list[str], path: Path) -> None:
    """Export one graph; weights lie beside it in PATH.data.

    Raises:
        Unconvertible: PyTorch cannot export the module.
    """
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    with _quietly():
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


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without gradients, and without lines about torchvision, tracing and what an exporter tried."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with quiet(), torch.no_grad():
            yield
    finally:
        logger.setLevel(level)
