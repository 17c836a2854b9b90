#!/usr/bin/env bash
# peft 0.21.2 with transformers 5.24.0: `modules_to_save=["logit_scale"]` is accepted, and the temperature never moves.
#
# Guessed: names in `modules_to_save` are trained in full and saved with the adapter; one that matches nothing that can
# be trained is an error, as a wrong name in `target_modules` is.
# Seen: CLIP's `logit_scale` (SigLIP's `logit_bias`, too) is a parameter, not a module. It is passed over without
# error or warning, stays frozen at its pretrained value, and is not in the saved file. `visual_projection`, a module, works.
# A misspelt name is passed over as well; in `target_modules` it is a ValueError.
# Where it matters: LoRA on a dual encoder, where the pretrained temperature (100 for CLIP) is too sharp for new data.
# Way round: `requires_grad_(True)` on the parameter after `get_peft_model`, and saving it oneself.
. "$(dirname "$0")/_setup.sh"
install peft==0.21.2 transformers==5.24.0 torch==2.13.0 numpy==2.4.6
run <<'PY'
import copy, sys, warnings
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import CLIPConfig, CLIPModel, logging

logging.set_verbosity_error()
tower = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
text = dict(tower, vocab_size=50, max_position_embeddings=16, eos_token_id=49)
torch.manual_seed(0)
clip = CLIPModel(CLIPConfig(text_config=text, vision_config=dict(tower, image_size=32, patch_size=16), projection_dim=8))
batch = dict(input_ids=torch.tensor([[3, 5, 49], [3, 7, 49]]), pixel_values=torch.randn(2, 3, 32, 32), return_loss=True)
trained, saved, said = {}, {}, {}
for name in ("logit_scale", "visual_projection", "no_such_name"):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        model = get_peft_model(copy.deepcopy(clip), LoraConfig(target_modules=["q_proj"], modules_to_save=[name]))
    said[name] = [str(w.message) for w in heard if name in str(w.message)]
    before = {key: value.clone() for key, value in model.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    model(**batch).loss.backward()
    optimizer.step()
    trained[name] = any(name in k and not torch.equal(v, before[k]) for k, v in model.named_parameters())
    model.save_pretrained("adapter")
    saved[name] = any(name in key for key in load_file("adapter/adapter_model.safetensors"))
    print(f"modules_to_save {name}: trained {trained[name]}, saved {saved[name]}, warnings {said[name]}")
error = ""
try:
    get_peft_model(copy.deepcopy(clip), LoraConfig(target_modules=["no_such_name"]))
except ValueError as found:
    error = str(found)
print("target_modules no_such_name:", error[:60])
as_described = list(trained.values()) == list(saved.values()) == [False, True, False] and not any(said.values()) and error
sys.exit(0 if as_described else "changed: this is no longer what peft does")
PY
