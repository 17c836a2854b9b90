#!/usr/bin/env bash
# transformers 5.24.0: FLAVA's `get_text_features(...).pooler_output` is one vector a token, and ranks differ by model.
#
# Guessed: of all dual encoders, `get_text_features` and `get_image_features` give one vector a caption or picture in
# `pooler_output`: (batch, width). It does for CLIP, SigLIP, MetaCLIP 2, ALIGN, BLIP and others.
# Seen: FLAVA projects every position and calls the whole (batch, tokens, width) `pooler_output`. Padding positions are
# in it. Code that flattens or means over "the rest" runs, and gives embeddings that depend on the padding.
# The embedding that FLAVA was trained with is the first position.
# Where it matters: anything that takes the pooled output of "any dual encoder of Transformers".
. "$(dirname "$0")/_setup.sh"
install transformers==5.24.0 torch==2.13.0 numpy==2.4.6
run <<'PY'
import sys
import torch
from transformers import CLIPConfig, CLIPModel, FlavaConfig, FlavaModel, logging

logging.set_verbosity_error()
tower = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
text = dict(tower, vocab_size=50, max_position_embeddings=16)
vision = dict(tower, image_size=32, patch_size=16)
torch.manual_seed(0)
clip = CLIPModel(CLIPConfig(text_config=dict(text, eos_token_id=49), vision_config=vision, projection_dim=8))
flava = FlavaModel(
    FlavaConfig(text_config=text, image_config=vision, multimodal_config=tower, projection_dim=8,
                init_codebook=False)
)
ids = torch.tensor([[3, 5, 7, 49, 1, 1], [3, 5, 7, 9, 11, 49]])
mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1] * 6])
shapes = {}
for name, model in (("clip", clip), ("flava", flava)):
    with torch.no_grad():
        words = model.eval().get_text_features(input_ids=ids, attention_mask=mask).pooler_output
        picture = model.get_image_features(pixel_values=torch.randn(2, 3, 32, 32)).pooler_output
    shapes[name] = tuple(words.shape), tuple(picture.shape)
    print(f"{name}: pooler_output of the text {shapes[name][0]}, of the picture {shapes[name][1]}")
as_described = shapes == {"clip": ((2, 8), (2, 8)), "flava": ((2, 6, 8), (2, 5, 8))}
sys.exit(0 if as_described else "changed: this is no longer what transformers does")
PY
