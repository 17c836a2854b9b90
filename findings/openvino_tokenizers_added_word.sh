#!/usr/bin/env bash
# openvino-tokenizers 2026.4.1.0: a word added to a tokenizer is unknown, or brings four tokens along, once converted.
#
# Guessed: the converted tokenizer gives the ids of the one it was made from, with words added by `add_tokens` too.
# Seen: captions without an added word are equal. In a BERT tokenizer (WordPiece) each added word becomes [UNK], whose
# embedding all of them then share. In a CLIP tokenizer the word is found, and "</w>", the mark of a word's end, is put
# behind it as text: the tokens "<", "/", "w" and ">" follow. "<|endoftext|>" within a caption has the same tail.
# Neither the conversion nor the call says a word.
# Where it matters: names, products or "<img>" added before fine-tuning, then served with OpenVINO: the model reads
# other captions than in training; in CLIP 15 of 77 such words fill the whole row.
# Way round: `tokenizers` in front of the converted model, or the words in the vocabulary itself.
. "$(dirname "$0")/_setup.sh"
install openvino==2026.4.1 openvino-tokenizers==2026.4.1.0 transformers==5.24.0 tokenizers==0.23.3 numpy==2.4.6
run <<'PY'
import sys
import openvino
from openvino_tokenizers import convert_tokenizer
from tokenizers.pre_tokenizers import ByteLevel
from transformers import BertTokenizer, CLIPTokenizer

letters = sorted(ByteLevel.alphabet())
clip = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters), "do", "dog</w>"]
bert = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "on", "the"]
tokenizers = {
    "BERT": BertTokenizer(vocab={token: i for i, token in enumerate(bert)}),
    "CLIP": CLIPTokenizer(vocab={t: i for i, t in enumerate(clip)}, merges=[("d", "o"), ("do", "g</w>")]),
}
tail = ["<", "/", "w", ">"]
as_described = True
for name, tokenizer in tokenizers.items():
    added = ["zebra", "okapi"]
    assert tokenizer.add_tokens(added) == 2
    converted = openvino.Core().compile_model(convert_tokenizer(tokenizer), "CPU")

    def tokens(caption):
        ids = tokenizer(caption)["input_ids"], converted([caption])["input_ids"][0].tolist()
        return [tokenizer.convert_ids_to_tokens(row) for row in ids]

    for caption in ("a dog", "a zebra", "a okapi a dog"):
        here, there = tokens(caption)
        print(f"{name}, {caption!r}: {here[1:-1]} becomes {there[1:-1]}")
        if name == "BERT":
            expected = ["[UNK]" if token in added else token for token in here]
        else:
            expected = [piece for token in here for piece in ([token, *tail] if token in added else [token])]
        as_described &= there == expected and set(added) & set(here) == set(added) & set(caption.split())
    if name == "CLIP":
        here, there = tokens("<|endoftext|>dog")
        as_described &= there == [*here[:2], *tail, *here[2:]]
sys.exit(0 if as_described else "changed: this is no longer what openvino-tokenizers does")
PY
