#!/usr/bin/env bash
# transformers 5.24.0: a word added to CLIP's vocabulary takes the place of the end token; what follows is not read.
#
# Guessed: CLIP's caption embedding is the output at the end token, also after `resize_token_embeddings` and a caption
# with one of the new words. The config names the end token.
# Seen: if `eos_token_id` is 2, the end token is searched as the largest id of the row. A new word has a larger id, so
# its own position is pooled. Attention is causal: the words after it do not matter at all; "new word runs" and "new
# word sleeps" are one vector. With the tokenizer's real end token in the config it is as guessed. 2 is the default of
# older configs, and is what the first published CLIP checkpoints have.
# Where it matters: textual inversion, new class names, domain words learned on top of a pretrained CLIP.
# Way round: `model.config.text_config.eos_token_id = tokenizer.eos_token_id` before the model is built.
. "$(dirname "$0")/_setup.sh"
install transformers==5.24.0 torch==2.13.0 numpy==2.4.6
run <<'PY'
import sys
import torch
from transformers import CLIPTextConfig, CLIPTextModel, logging

logging.set_verbosity_error()
START, END, NEW = 48, 49, 50
captions = {
    "old words": torch.tensor([[START, 5, 7, 9, END], [START, 5, 7, 11, END]]),
    "a new word": torch.tensor([[START, 5, NEW, 9, END], [START, 5, NEW, 11, END]]),
}
seen = {}
for end in (2, END):
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=12, bos_token_id=START, eos_token_id=end,
    )
    model = CLIPTextModel(config).eval()
    model.resize_token_embeddings(51)
    for name, ids in captions.items():
        with torch.no_grad():
            out = model(ids)
        position = (out.last_hidden_state[0] - out.pooler_output[0]).abs().sum(-1).argmin().item()
        seen[end, name] = position, torch.equal(out.pooler_output[0], out.pooler_output[1])
        print(f"eos_token_id {end}, {name}: position {position} of 0 to 4, different captions equal: {seen[end, name][1]}")
as_described = seen == {
    (2, "old words"): (4, False), (2, "a new word"): (2, True),
    (END, "old words"): (4, False), (END, "a new word"): (4, False),
}
sys.exit(0 if as_described else "changed: this is no longer what transformers does")
PY
