#!/usr/bin/env bash
# transformers 5.24.0 with tokenizers 0.23.3: tokenizer.json remembers the last call's truncation and padding.
#
# Guessed: `tokenizer(text, truncation=True, max_length=4, padding="max_length")` is about that call; what is saved
# afterwards is the tokenizer, and both libraries read the same ids from its file.
# Seen: the call leaves its length and padding in the saved tokenizer.json. transformers ignores them on loading,
# `tokenizers.Tokenizer.from_file` obeys: it cuts each caption to 4 tokens and pads shorter ones, unasked.
# Where it matters: a folder saved after a short warm-up call, read by a server without transformers (Rust, ONNX).
# Way round: `no_truncation()` and `no_padding()` on the backend before saving, or after loading.
. "$(dirname "$0")/_setup.sh"
install transformers==5.24.0 tokenizers==0.23.3
run <<'PY'
import os, sys

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

words = {word: i for i, word in enumerate("[PAD] [UNK] a dog runs on the beach".split())}
backend = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
backend.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]")
caption, short = "a dog runs on the beach", "a dog"
ids = {}
for when in ("before the call", "after the call"):
    tokenizer.save_pretrained("folder")
    mine = PreTrainedTokenizerFast.from_pretrained("folder")
    peer = Tokenizer.from_file("folder/tokenizer.json")
    ids[when] = [mine(caption).input_ids, peer.encode(caption).ids, mine(short).input_ids, peer.encode(short).ids]
    print(f"{when}: transformers {ids[when][0]}, tokenizers {ids[when][1]}; short: {ids[when][2]}, {ids[when][3]}")
    tokenizer("a dog runs", truncation=True, max_length=4, padding="max_length")
first, second = ids.values()
as_described = first[0] == first[1] == second[0] and len(second[1]) == 4 and second[2] == [2, 3] and len(second[3]) == 4
sys.exit(0 if as_described else "changed: this is no longer what transformers and tokenizers do")
PY
