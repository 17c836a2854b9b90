#!/usr/bin/env bash
# transformers 5.24.0: AIMv2 reads a caption in both directions, and causally once a caption of the batch is padded.
#
# Guessed: with an attention mask a caption has one embedding, alone, among captions of its length, or padded, as with
# CLIP, whose end token is pooled in the same way.
# Seen: a mask of ones is left out for SDPA, the default, as "causal" can be told by a flag. AIMv2's attention does not
# set that flag: the caption is read in both directions. One padding token anywhere brings the whole mask, causal and
# all. So the embedding of a caption depends on the lengths of the others. Without a mask it is always both directions,
# with `eager` and a mask always causal. Nothing is said.
# Where it matters: an index that was made in batches (padded) and is searched with one query (not padded).
# Way round: `model.set_attn_implementation("eager")`, with a mask in every call; or pad each batch by one token more.
. "$(dirname "$0")/_setup.sh"
install transformers==5.24.0 torch==2.13.0 numpy==2.4.6
run <<'PY'
import sys
import torch
from transformers import Aimv2Config, Aimv2Model, CLIPConfig, CLIPModel

text = {"vocab_size": 60, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
text |= {"max_position_embeddings": 20, "bos_token_id": 58, "eos_token_id": 59}
vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
vision |= {"image_size": 16, "patch_size": 4}
caption, longer = [58, 5, 6, 59], [58, 5, 6, 7, 8, 59]
alone, ones = torch.tensor([caption]), torch.ones(1, 4, dtype=torch.long)
batch = torch.tensor([caption + [0, 0], longer])
mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
changed = torch.tensor([[58, 5, 7, 59]])
seen = {}
for name, kind, config in (("AIMv2", Aimv2Model, Aimv2Config), ("CLIP", CLIPModel, CLIPConfig)):
    torch.manual_seed(0)
    model = kind(config(text_config=text, vision_config=vision, projection_dim=8)).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    for attention in ("sdpa", "eager"):
        model.set_attn_implementation(attention)
        with torch.no_grad():
            one = model.get_text_features(input_ids=alone, attention_mask=ones).pooler_output[0]
            padded = model.get_text_features(input_ids=batch, attention_mask=mask).pooler_output[0]
            states = [model.text_model(input_ids=x, attention_mask=ones).last_hidden_state for x in (alone, changed)]
        cosine = torch.cosine_similarity(one, padded, dim=0).item()
        looks_ahead = not torch.allclose(states[0][:, :2], states[1][:, :2], atol=1e-5)
        seen[name, attention] = cosine, looks_ahead
        print(f"{name}, {attention}: cosine of alone and padded {cosine:.2f}; looks ahead when alone: {looks_ahead}")
as_described = all(
    (cosine < 0.95, looks_ahead) == ((name, attention) == ("AIMv2", "sdpa"),) * 2 and (cosine < 0.95 or cosine > 0.9999)
    for (name, attention), (cosine, looks_ahead) in seen.items()
)
sys.exit(0 if as_described else "changed: this is no longer what transformers does")
PY
