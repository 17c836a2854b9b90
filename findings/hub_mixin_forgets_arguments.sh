#!/usr/bin/env bash
# huggingface_hub 2.4.0, PyTorchModelHubMixin: a temperature given as np.float32(0.5) comes back as the default.
#
# Guessed: `save_pretrained` and `from_pretrained` give the model that was built, or saving fails.
# Seen: for arguments of `__init__` that JSON does not know (a NumPy number, a torch dtype, a module) config.json gets
# the default of the signature in silence, and so does the loaded model. A tuple comes back as a list.
# Where it matters: temperatures and widths that come out of NumPy; the weights load, so nobody looks.
. "$(dirname "$0")/_setup.sh"
install huggingface_hub==2.4.0 safetensors==0.8.0 torch==2.13.0 numpy==2.4.6
run <<'PY'
import json, sys
import numpy as np
import torch
from huggingface_hub import PyTorchModelHubMixin


class Head(torch.nn.Module, PyTorchModelHubMixin):
    def __init__(self, width=4, temperature=0.07, activation=None, layers=(3, 4)):
        super().__init__()
        self.projection = torch.nn.Linear(width, 2)
        self.temperature, self.activation, self.layers = temperature, activation, layers


built = Head(temperature=np.float32(0.5), activation=torch.nn.GELU(), layers=(5, 6))
built.save_pretrained("head")
loaded = Head.from_pretrained("head")
print("config.json:", json.load(open("head/config.json")))
for name in ("temperature", "activation", "layers"):
    print(f"{name}: built {getattr(built, name)}, loaded {getattr(loaded, name)}")
as_described = (
    loaded.temperature == 0.07 and loaded.activation is None and loaded.layers == [5, 6]
    and torch.equal(built.projection.weight, loaded.projection.weight)
)
sys.exit(0 if as_described else "changed: this is no longer what huggingface_hub does")
PY
