#!/usr/bin/env bash
# torch 2.13.0 and onnxruntime 1.32.0: attention over a caption with every token masked has four answers.
#
# Guessed: one convention (NaN, as softmax of all -inf), or at least the same one before and after the export.
# Seen, for one and the same mask where nothing may be attended to:
#   scaled_dot_product_attention, boolean or -inf mask    0
#   the same module exported to ONNX, in onnxruntime      the mean of all values, masked ones too
#   scaled_dot_product_attention, finfo.min as mask       the mean of all values
#   nn.MultiheadAttention                                 0 before its output projection
#   nn.MultiheadAttention asked for its weights           NaN
# So an exported model looks at tokens that it was told to ignore, and only on such rows, which no example shows.
# Where it matters: masked-prediction models, whose image-only query hides the whole caption; empty captions.
# Way round: keep one position that may always be attended to.
. "$(dirname "$0")/_setup.sh"
install torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 numpy==2.4.6
run <<'PY'
import contextlib, io, logging, sys
import numpy as np
import onnxruntime
import torch
from torch.nn.functional import scaled_dot_product_attention as attention

logging.disable(logging.WARNING)


class Attention(torch.nn.Module):
    def forward(self, query, key, value, mask):
        return attention(query, key, value, attn_mask=mask)


torch.manual_seed(0)
query, key, value = (torch.randn(1, 1, 3, 4) for _ in range(3))
mask = torch.tensor([[True, True, False], [True, False, False], [False, False, False]])
tensors = dict(query=query, key=key, value=value, mask=mask)
with contextlib.redirect_stdout(io.StringIO()):
    torch.onnx.export(Attention(), tuple(tensors.values()), "attention.onnx", dynamo=True, input_names=list(tensors))
session = onnxruntime.InferenceSession("attention.onnx", providers=["CPUExecutionProvider"])
eager = attention(query, key, value, attn_mask=mask)[0, 0]
exported = torch.from_numpy(session.run(None, {k: v.numpy() for k, v in tensors.items()})[0])[0, 0]
lowest = torch.zeros(3, 3).masked_fill(~mask, torch.finfo(torch.float32).min)
finite = attention(query, key, value, attn_mask=lowest)[0, 0]
heads = torch.nn.MultiheadAttention(4, 1, batch_first=True).eval()
hidden = torch.ones(1, 3, dtype=torch.bool)
with torch.no_grad():
    plain = heads(value[0], value[0], value[0], key_padding_mask=hidden, need_weights=False)[0]
    asked = heads(value[0], value[0], value[0], key_padding_mask=hidden)[0]
mean = value[0, 0].mean(0)
print("rows with something to see, torch and onnxruntime equal:", torch.allclose(eager[:2], exported[:2], atol=1e-5))
print("fully masked row, torch:      ", eager[2].tolist())
print("fully masked row, onnxruntime:", exported[2].tolist(), "mean of the values:", mean.tolist())
print("fully masked row, finfo.min:  ", finite[2].tolist())
print("MultiheadAttention:", plain[0, 0].tolist(), "with weights:", asked[0, 0].tolist())
as_described = (
    torch.allclose(eager[:2], exported[:2], atol=1e-5)
    and bool((eager[2] == 0).all())
    and torch.allclose(exported[2], mean, atol=1e-5)
    and torch.allclose(finite[2], mean, atol=1e-5)
    and bool(plain.isfinite().all())
    and bool(asked.isnan().all())
)
sys.exit(0 if as_described else "changed: this is no longer what torch and onnxruntime do")
PY
