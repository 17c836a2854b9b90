#!/usr/bin/env bash
# torchmetrics 1.9.0 with transformers 5.24.0: CLIPScore cannot score a CLIP model, and its floor is not the paper's.
#
# Guessed: the metric works with any installed transformers that its guard (">= 4.10") lets in, and is the mean of
# max(100 * cosine, 0) over the pairs, as in the formula of its documentation.
# Seen: (1) `get_image_features` of transformers 5 returns an output object, not a tensor; CLIPScore calls `.norm` on
# it: AttributeError for every CLIP model. (2) With a wrapper that returns tensors, the maximum is taken after the mean:
# a pair at +1 and one at -1 score 0, where the formula gives 50.
. "$(dirname "$0")/_setup.sh"
install torchmetrics==1.9.0 transformers==5.24.0 torch==2.13.0 numpy==2.4.6
run <<'PY'
import sys
import torch
from torchmetrics.multimodal import CLIPScore
from transformers import CLIPConfig, CLIPModel, logging

logging.set_verbosity_error()
tower = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
text = dict(tower, vocab_size=50, max_position_embeddings=16, bos_token_id=3, eos_token_id=49, pad_token_id=1)
clip = CLIPModel(CLIPConfig(text_config=text, vision_config=dict(tower, image_size=32, patch_size=16))).eval()


def processor(images=None, text=None, **_):
    if images is not None:
        return {"pixel_values": torch.stack(images).float()}
    return {"input_ids": torch.tensor([[3, 5, 49]] * len(text)), "attention_mask": torch.ones(len(text), 3).long()}


class Tensors(torch.nn.Module):
    """A stand-in whose image feature is the picture's first pixel, and whose text feature is always (1, 0, 0)."""

    config = None

    def get_image_features(self, pixels):
        return pixels[:, :, 0, 0]

    def get_text_features(self, ids, mask):
        return torch.tensor([[1.0, 0.0, 0.0]]).expand(len(ids), 3)


error = ""
try:
    CLIPScore(lambda: (clip, processor)).update(torch.randint(0, 255, (2, 3, 32, 32)), ["a dog", "a cat"])
except AttributeError as found:
    error = str(found)
print("a CLIPModel:", error or "worked")
metric = CLIPScore(lambda: (Tensors(), processor))
pictures = torch.zeros(2, 3, 4, 4)
pictures[0, 0], pictures[1, 0] = 1, -1
metric.update(pictures, ["a dog", "a cat"])
print("cosines +1 and -1:", metric.compute().item(), "instead of", (100 + 0) / 2)
sys.exit(0 if "norm" in error and metric.compute().item() == 0 else "changed: this is no longer what CLIPScore does")
PY
