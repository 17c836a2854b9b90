#!/usr/bin/env bash
# peft 0.21.2: `add_weighted_adapter(["a", "b"], [0.5, 0.5], "mean")` is not half of adapter a plus half of adapter b.
#
# Guessed: the change of the outputs is 0.5 * a's + 0.5 * b's, at least with `combination_type="linear"`.
# Seen: "linear" averages the two factors A and B apart from each other, and the product of the averages has cross
# terms: the error is larger than the wanted change itself. The default, "svd", keeps only the larger rank of the two
# and loses 30 to 40 % here. Only "cat" is exact. Two adapters switched on together add up exactly, too.
# Where it matters: averaging the adapters of several seeds, or of a text and a picture domain.
. "$(dirname "$0")/_setup.sh"
install peft==0.21.2 transformers==5.24.0 torch==2.13.0 numpy==2.4.6
run <<'PY'
import sys
import torch
from peft import LoraConfig, get_peft_model


class Tower(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.projection = torch.nn.Linear(16, 16, bias=False)

    def forward(self, x):
        return self.projection(x)


torch.manual_seed(0)
config = LoraConfig(r=4, target_modules=["projection"], init_lora_weights=False)
model = get_peft_model(Tower(), config, adapter_name="a").eval()
model.add_adapter("b", config)
x = torch.randn(64, 16)
with torch.no_grad(), model.disable_adapter():
    base = model(x)


def change(name):
    model.set_adapter(name)
    with torch.no_grad():
        return model(x) - base


wanted = 0.5 * change("a") + 0.5 * change("b")
error = {}
for kind in ("svd", "linear", "cat"):
    model.add_weighted_adapter(["a", "b"], [0.5, 0.5], kind, combination_type=kind)
    error[kind] = ((change(kind) - wanted).norm() / wanted.norm()).item()
model.add_weighted_adapter(["a", "b"], [0.5, 0.5], "default")
error["default"] = ((change("default") - wanted).norm() / wanted.norm()).item()
for kind, value in error.items():
    print(f"{kind:8} relative error of the average: {value:.3g}")
as_described = error["linear"] > 0.7 and 0.1 < error["default"] < 0.8 and error["cat"] < 1e-4
sys.exit(0 if as_described else "changed: this is no longer what peft does")
PY
