#!/usr/bin/env bash
# openvino 2026.4.1: int64 outputs hold 32 bits: every hit of a search model has the key 2,147,483,647.
#
# Guessed: an output that is declared int64 is int64; or the compiler says that it cannot be.
# Seen: all integers are computed in 32 bits, and the output is widened again: its type reads int64. A constant beyond
# 2,147,483,647 becomes that number, an input loses its upper bits. A model that ends in the keys of the three best rows
# gives one key for all of them; 4,294,967,297 equals 1. ONNX Runtime is right. `EXECUTION_MODE_HINT` does not
# help, nothing is said.
# Where it matters: a gallery exported with its encoder whose keys are hashes, time stamps or large ids.
# Way round: let the model give places (0 to N - 1), and look the keys up outside.
. "$(dirname "$0")/_setup.sh"
install openvino==2026.4.1 torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 numpy==2.4.6
run <<'PY'
import logging, sys
import numpy as np
import onnxruntime
import openvino
import torch

logging.disable(logging.WARNING)


class Search(torch.nn.Module):
    def __init__(self, rows, keys):
        super().__init__()
        self.register_buffer("rows", rows)
        self.register_buffer("keys", keys)

    def forward(self, query, wanted):
        scores, best = (query @ self.rows.T).topk(3)
        return self.keys[best], self.keys == wanted, wanted + 0


torch.manual_seed(0)
rows, keys = torch.randn(50, 8), torch.arange(50) * 1_000_000_007 + 2**40
keys[7] = 1
module, inputs = Search(rows, keys).eval(), (rows[:1], torch.tensor([2**32 + 1]))
names = ["query", "wanted"]
torch.onnx.export(module, inputs, "search.onnx", input_names=names, dynamo=True, verbose=False)
arrays = [value.numpy() for value in inputs]
compiled = openvino.Core().compile_model(openvino.Core().read_model("search.onnx"), "CPU")
results = {
    "torch": [value.numpy() for value in module(*inputs)],
    "ONNX Runtime": onnxruntime.InferenceSession("search.onnx").run(None, dict(zip(names, arrays))),
    "OpenVINO": [compiled(arrays)[i] for i in range(3)],
}
for name, (best, equal, wanted) in results.items():
    print(f"{name}: keys {best[0]} ({best.dtype})")
    print(f"    rows with the key {2**32 + 1}: {equal.sum()}; it comes back as {wanted[0]}")
best, equal, wanted = results["OpenVINO"]
as_described = best.dtype == np.int64 and (best == 2**31 - 1).all() and equal.sum() == 1 and wanted == 1
as_described &= all((a == b).all() for a, b in zip(results["torch"], results["ONNX Runtime"]))
sys.exit(0 if as_described else "changed: this is no longer what OpenVINO does")
PY
