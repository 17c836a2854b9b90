#!/usr/bin/env bash
# peft 0.21.2: a LoRA adapter of a network with BatchNorm does not reload as the model that was trained.
#
# Guessed: the base model is frozen, so base + saved adapter = the trained model, and `disable_adapter()` = the base.
# Seen: `requires_grad=False` stops the weights, not the running means and variances. They move with every batch in
# training mode, belong to no adapter, and are not in the saved file. Loading it on the untouched base gives another
# model, and so does switching the adapter off in the trained one. Nothing is said.
# Where it matters: ResNet, MobileNet and EfficientNet backbones; adapters measured in memory and shipped as files.
# Way round: `eval()` on the normalisation layers while training, or name them in `modules_to_save`.
. "$(dirname "$0")/_setup.sh"
install peft==0.21.2 transformers==5.24.0 torch==2.13.0 numpy==2.4.6
run <<'PY'
import copy, sys
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import ResNetConfig, ResNetModel

torch.manual_seed(0)
config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
base = ResNetModel(config)
pictures = torch.randn(8, 3, 32, 32) * 2 + 1


def features(model):
    with torch.no_grad():
        return model.eval()(pictures).pooler_output.flatten(1)


def trained(norm_in_eval):
    torch.manual_seed(1)
    model = get_peft_model(copy.deepcopy(base), LoraConfig(r=2, target_modules=["convolution"]))
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 1e-2)
    model.train()
    if norm_in_eval:
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
    for _ in range(20):
        model(pictures).pooler_output.square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


cosines = {}
for norm_in_eval in (False, True):
    model = trained(norm_in_eval)
    model.save_pretrained("adapter")
    reloaded = PeftModel.from_pretrained(copy.deepcopy(base), "adapter")
    cosine = torch.nn.functional.cosine_similarity(features(model), features(reloaded)).min().item()
    with model.disable_adapter():
        off = torch.nn.functional.cosine_similarity(features(model), features(base)).min().item()
    cosines[norm_in_eval] = cosine, off
    print(f"BatchNorm in {'eval' if norm_in_eval else 'train'} mode: cosine of trained and reloaded {cosine:.4f}, "
          f"of adapter off and base {off:.4f}")
as_described = max(cosines[False]) < 0.95 and min(cosines[True]) > 0.9999
sys.exit(0 if as_described else "changed: this is no longer what peft does")
PY
