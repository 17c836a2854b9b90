#!/usr/bin/env bash
# tokenizers 0.23.3: tokens that were added before `train` keep ids that the trained vocabulary gives to other tokens.
#
# Guessed: tokens added before the training stay tokens of their own: `train_from_iterator` gives them free ids, as
# `add_tokens` does afterwards, or it raises.
# Seen: they keep the ids 0, 1, ... of the empty model, and the training counts from 0 again. "<img>" and "[UNK]" share
# an id, and so do "<new>" and "[PAD]" (Unigram: "<new>" and the word "a"). Words and BPE no longer find "<img>" in a
# text; Unigram writes "<new>" where the text has "a". Training the same tokenizer twice is right. Nothing is said.
# Where it matters: a tokenizer for captions with a mark for the image, a placeholder or a language in front.
# Way round: `special_tokens` of the trainer, or `add_tokens` after the training.
. "$(dirname "$0")/_setup.sh"
install tokenizers==0.23.3
run <<'PY'
import sys
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

captions = ["a dog runs on the beach", "a cat sleeps on a sofa", "two dogs play with a ball", "cats and dogs sleep"]
special = ["[UNK]", "[PAD]"]
quiet = {"special_tokens": special, "show_progress": False}
kinds = {
    "WordLevel": (lambda: models.WordLevel(unk_token="[UNK]"), trainers.WordLevelTrainer(**quiet)),
    "BPE": (lambda: models.BPE(unk_token="[UNK]"), trainers.BpeTrainer(vocab_size=60, **quiet)),
    "Unigram": (models.Unigram, trainers.UnigramTrainer(vocab_size=40, unk_token="[UNK]", **quiet)),
}
text, marks = "<img> a dog <new>", ["<img>", "<new>"]
as_described = True
for name, (model, trainer) in kinds.items():
    seen = {}
    for when in ("before", "after"):
        tokenizer = Tokenizer(model())
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        if when == "before":
            tokenizer.add_tokens(marks)
        tokenizer.train_from_iterator(captions * 5, trainer)
        if when == "after":
            tokenizer.add_tokens(marks)
        vocabulary = tokenizer.get_vocab()
        shared = {mark: [t for t, i in vocabulary.items() if i == vocabulary[mark] and t != mark] for mark in marks}
        seen[when] = shared, tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False)
        print(f"{name}, added {when}: same id as {shared}; {text!r} comes back as {seen[when][1]!r}")
    as_described &= all(seen["before"][0].values()) and not any(seen["after"][0].values())
    as_described &= seen["after"][1].replace(" ", "") == text.replace(" ", "") and "<img>" not in seen["before"][1]
sys.exit(0 if as_described else "changed: this is no longer what tokenizers does")
PY
