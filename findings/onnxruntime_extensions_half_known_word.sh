#!/usr/bin/env bash
# onnxruntime-extensions 0.15.2: a word with an unknown part keeps the pieces in front of it; in Python it is one [UNK].
#
# Guessed: the ONNX graph made from a BERT tokenizer gives its ids; a word that cannot be made of pieces is one
# [UNK], as WordPiece has it and transformers does.
# Seen: the pieces in front of the unknown part stay, and [UNK] comes behind them: "dog7x" is [UNK] in transformers and
# "dog", "[UNK]" here; such captions are longer, and truncation cuts other words. A word added by `add_tokens` is one
# more piece of the vocabulary: "zebras" is "zebra", "##s" in place of "zebra", "[UNK]", and "<img>" is not found at all
# and becomes three [UNK]. Captions of known words are equal. Nothing is said.
# Where it matters: names, sizes and file numbers in captions, letters of another script: the model served with ONNX
# Runtime reads other tokens than in training.
# Way round: `tokenizers` in front of the graph.
. "$(dirname "$0")/_setup.sh"
install onnxruntime-extensions==0.15.2 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
install transformers==5.24.0 tokenizers==0.23.3
run <<'PY'
import sys
import numpy as np
import onnxruntime
from onnxruntime_extensions import gen_processing_models, get_library_path
from transformers import BertTokenizer

pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "##s", "##x", "on", "##on", "red"]
tokenizer = BertTokenizer(vocab={token: i for i, token in enumerate(pieces)})
tokenizer.add_tokens(["zebra", "<img>"])
options = onnxruntime.SessionOptions()
options.register_custom_ops_library(get_library_path())
graph = gen_processing_models(tokenizer, pre_kwargs={})[0]
session = onnxruntime.InferenceSession(graph.SerializeToString(), options)
cases = {
    # caption: tokens guessed, as in transformers, and tokens seen
    "a red dog": ("a red dog", "a red dog"),
    "two dogs": ("[UNK] dog ##s", "[UNK] dog ##s"),
    "a dog7x": ("a [UNK]", "a dog [UNK]"),
    "reddish dog": ("[UNK] dog", "red [UNK] dog"),
    "a zebra": ("a zebra", "a zebra"),
    "zebras": ("zebra [UNK]", "zebra ##s"),
    "<img> a dog": ("<img> a dog", "[UNK] [UNK] [UNK] a dog"),
}
as_described = True
for caption, (guessed, expected) in cases.items():
    ids = session.run(["input_ids"], {"text": np.array([caption])})[0].reshape(-1).tolist()
    here = " ".join(tokenizer.convert_ids_to_tokens(tokenizer(caption)["input_ids"])[1:-1])
    seen = " ".join(tokenizer.convert_ids_to_tokens(ids)[1:-1])
    print(f"{caption!r}: transformers {here!r}, onnxruntime-extensions {seen!r}")
    as_described &= here == guessed and seen == expected
sys.exit(0 if as_described else "changed: this is no longer what onnxruntime-extensions does")
PY
