#!/usr/bin/env bash
# openvino 2026.4.1: an ONNX file's `Resize` with antialiasing runs without it.
#
# Guessed: `antialias=1` is obeyed, as in ONNX Runtime, or the file is refused.
# Seen: the attribute is dropped. One-pixel stripes at a third of their size keep all of their contrast,
# where torch and ONNX Runtime have grey. The same torch module handed to `convert_model` is antialiased. So
# one module has two results in OpenVINO, after the way it came in. No warning. (Its tracker knows of it.)
# Where it matters: resizing that is exported with the image encoder, so that a program needs no Pillow: every
# photograph is shrunk.
# Way round: convert from torch, or resize before the model.
. "$(dirname "$0")/_setup.sh"
install openvino==2026.4.1 torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 numpy==2.4.6
run <<'PY'
import logging, sys
import onnxruntime
import openvino
import torch

logging.disable(logging.WARNING)


class Shrink(torch.nn.Module):
    def __init__(self, mode):
        super().__init__()
        self.mode = mode

    def forward(self, pictures):
        return torch.nn.functional.interpolate(pictures, (32, 32), mode=self.mode, antialias=True)


stripes = torch.zeros(1, 3, 96, 96)
stripes[..., 1::2] = 1
core, as_described = openvino.Core(), True
for mode in ("bilinear", "bicubic"):
    module, file = Shrink(mode).eval(), f"{mode}.onnx"
    torch.onnx.export(module, (stripes,), file, input_names=["pictures"], opset_version=20, dynamo=True, verbose=False)
    contrast = {
        "torch": module(stripes).numpy().std(),
        "ONNX Runtime": onnxruntime.InferenceSession(file).run(None, {"pictures": stripes.numpy()})[0].std(),
        "OpenVINO, from torch": core.compile_model(openvino.convert_model(module, example_input=stripes), "CPU")(
            stripes.numpy()
        )[0].std(),
        "OpenVINO, from ONNX": core.compile_model(core.read_model(file), "CPU")(stripes.numpy())[0].std(),
    }
    print(mode, {name: round(float(value), 3) for name, value in contrast.items()})
    as_described &= contrast.pop("OpenVINO, from ONNX") > 0.4 and max(contrast.values()) < 0.1
sys.exit(0 if as_described else "changed: this is no longer what OpenVINO does")
PY
