#!/usr/bin/env bash
# peft 0.21.2: on a convolution that pads with "reflect", adapters pad with zeros: merged and unmerged models differ.
#
# Guessed: an adapter of a layer works on the input that the layer works on, so that base + adapter is one convolution.
# Seen: `padding_mode` of the base layer is not looked at. LoRA, DoRA, LoHa and LoKr add a zero-padded convolution to a
# reflect-padded one: right in the middle, wrong at the border, and merging (which is right everywhere) changes the
# outputs. BOFT and HRA run the whole layer with zeros: a new adapter, that should be the identity, changes the base.
# Nothing is said. With zero padding all of them are exact.
# Where it matters: models with reflect, replicate or circular padding (panoramas, audio as pictures, decoders) whose
# adapter is validated unmerged and shipped merged.
. "$(dirname "$0")/_setup.sh"
install peft==0.21.2 transformers==5.24.0 torch==2.13.0 numpy==2.4.6
run <<'PY'
import copy, sys
import torch
from peft import BOFTConfig, HRAConfig, LoHaConfig, LoKrConfig, LoraConfig, get_peft_model

makers = {
    "LoRA": lambda: LoraConfig(target_modules=["0"], r=4),
    "DoRA": lambda: LoraConfig(target_modules=["0"], r=4, use_dora=True),
    "LoHa": lambda: LoHaConfig(target_modules=["0"], r=4),
    "LoKr": lambda: LoKrConfig(target_modules=["0"], r=4),
    "BOFT": lambda: BOFTConfig(target_modules=["0"], boft_block_size=4),
    "HRA": lambda: HRAConfig(target_modules=["0"], r=4),
}
pictures = torch.randn(2, 8, 8, 8, generator=torch.Generator().manual_seed(0))


def distance(a, b):
    return ((a - b).norm() / b.norm()).item()


new, merged = {}, {}
for mode in ("zeros", "reflect"):
    torch.manual_seed(0)
    base = torch.nn.Sequential(torch.nn.Conv2d(8, 8, 3, padding=1, padding_mode=mode)).eval()
    for name, maker in makers.items():
        model = get_peft_model(copy.deepcopy(base), maker()).eval()
        with torch.no_grad():
            new[mode, name] = distance(model(pictures), base(pictures))
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * 0.3)
            unmerged = model(pictures)
            merged[mode, name] = distance(model.merge_and_unload()(pictures), unmerged)
        print(f"{mode}, {name}: a new adapter changes {new[mode, name]:.1%}, merging changes {merged[mode, name]:.1%}")
as_described = (
    all(x < 1e-4 for (mode, _), x in [*new.items(), *merged.items()] if mode == "zeros")
    and all(merged["reflect", name] > 0.005 for name in makers)
    and all((new["reflect", name] > 0.01) == (name in ("BOFT", "HRA")) for name in makers)
)
sys.exit(0 if as_described else "changed: this is no longer what peft does")
PY
