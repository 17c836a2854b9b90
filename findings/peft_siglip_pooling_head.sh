#!/usr/bin/env bash
# peft 0.21.2 with transformers 5.24.0: LoRA on SigLIP's pooling head is counted, never used, and merged all the same.
#
# Guessed: every layer that `target_modules="all-linear"` (or "out_proj") wraps takes part in the forward pass and gets
# a gradient; merging changes nothing.
# Seen: SigLIP pools with `torch.nn.MultiheadAttention`, which reads its `out_proj.weight` itself and never calls the
# layer. So the adapter on `head.attention.out_proj` has no effect and no gradient (DistributedDataParallel calls it an
# unused parameter). `merge_and_unload()` adds it to the weight after all: where it is not zero, as with
# `init_lora_weights=False`, the merged model differs from the adapted one. Naming the module "attention" itself works.
# Where it matters: tuning SigLIP and SigLIP2 vision towers; "all-linear" is the usual advice.
. "$(dirname "$0")/_setup.sh"
install peft==0.21.2 transformers==5.24.0 torch==2.13.0 numpy==2.4.6
run <<'PY'
import sys
import torch
from peft import LoraConfig, get_peft_model
from transformers import SiglipVisionConfig, SiglipVisionModel

config = SiglipVisionConfig(
    hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=16
)
pictures = torch.randn(4, 3, 32, 32)
idle, merged_apart = {}, {}
for targets in ("all-linear", ("out_proj",), ("attention",)):
    torch.manual_seed(0)
    wanted = targets if isinstance(targets, str) else list(targets)
    model = get_peft_model(
        SiglipVisionModel(config), LoraConfig(r=2, target_modules=wanted, init_lora_weights=False)
    ).eval()
    model(pictures).pooler_output.sum().backward()
    idle[targets] = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    with torch.no_grad():
        adapted = model(pictures).pooler_output
        merged = model.merge_and_unload()(pictures).pooler_output
    merged_apart[targets] = (adapted - merged).abs().max().item()
    print(f"{targets}: without gradient {[n.removeprefix('base_model.model.') for n in idle[targets]]}, "
          f"adapted and merged differ by {merged_apart[targets]:.2g}")
as_described = (
    all(len(idle[t]) == 2 and "head.attention.out_proj" in idle[t][0] for t in ("all-linear", ("out_proj",)))
    and min(merged_apart["all-linear"], merged_apart["out_proj",]) > 0.1
    and not idle["attention",]
    and merged_apart["attention",] < 1e-4
)
sys.exit(0 if as_described else "changed: this is no longer what peft does")
PY
