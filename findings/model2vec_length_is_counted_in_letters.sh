#!/usr/bin/env bash
# model2vec 0.10.0: `max_length` cuts a text at a number of letters, in the middle of a word, before it counts tokens.
#
# Guessed: `encode(max_length=16)` reads the first 16 tokens, as its docstring has it ("any tokens beyond this length
# will be truncated").
# Seen: the text is first cut after 16 times the median length of the vocabulary's entries, spaces and all. Of 12 words
# with `max_length=12` eight are read and the rest is dropped, so that a caption that ends otherwise has the same
# embedding; the last word is cut, and "a red carpet" becomes "a red car" (cosine 1.0 to it, 0.6 to itself). With no
# limit both are right. The model's own limit of 512 tokens reads 284 of 512 words with 8 letters.
# Where it matters: captions and tags of longer words than the vocabulary's median, and long texts of such words.
# Way round: `max_length=None`; for a limit, the mean of the first rows of `encode_as_sequence`.
. "$(dirname "$0")/_setup.sh"
install model2vec==0.10.0 tokenizers==0.23.3 numpy==2.4.6
run <<'PY'
import sys
import numpy as np
from model2vec import StaticModel
from tokenizers import Tokenizer, models, pre_tokenizers


def model(words):
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    vectors = np.random.default_rng(0).standard_normal((len(words), 64)).astype(np.float32)
    return StaticModel(vectors, tokenizer, normalize=True)


words = "[UNK] a dog cat man bird house plays grass woman beside children standing mountains photograph".split()
one = model(words)
caption = "a woman beside children standing beside mountains a photograph a bird house"
other = "a woman beside children standing beside mountains a photograph a dog plays"
count = len(one.tokenize([caption])[0])
limited, unlimited = one.encode([caption, other], max_length=count), one.encode([caption, other], max_length=None)
read = len(one.encode_as_sequence(caption, max_length=count))
print(f"{count} tokens, median length {one.median_token_length}, max_length={count}: {read} read")
print("two captions that end otherwise are one:", np.allclose(*limited), "without a limit:", np.allclose(*unlimited))
as_described = count == 12 and read == 8 and np.allclose(*limited) and not np.allclose(*unlimited)

small = model("[UNK] a red car cat dog man sky carpet".split())
carpet, car = "a red carpet", "a red car"
cut, whole, of_car = small.encode(carpet, max_length=3), small.encode(carpet, max_length=None), small.encode(car)
print(f"{carpet!r} with max_length=3: cosine to {car!r} {cut @ of_car:.2f}, to itself unlimited {cut @ whole:.2f}")
as_described &= cut @ of_car > 0.999 and cut @ whole < 0.9

text = " ".join(["children"] * 512)
read = len(one.encode_as_sequence(text, max_length=one.max_length))
print(f"default max_length {one.max_length}: of 512 words of 8 letters {read} are read")
as_described &= one.max_length == 512 and read == 284
sys.exit(0 if as_described else "changed: this is no longer what model2vec does")
PY
