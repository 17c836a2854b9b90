#!/usr/bin/env bash
# sentencepiece 0.2.3: the same captions in another order give the same pieces of a Unigram model with other ids.
#
# Guessed: a Unigram model is made of counts: training is the same for each order of the captions, or finds other
# pieces.
# Seen: all pieces are the same, and each caption is cut alike. But the ids follow the scores, which are sums of float32
# in the order of the captions, and pieces of almost one score change places: 10 of 300, and one caption in ten gets
# other ids. Training twice in one order is the same to the byte; BPE is the same in each order. Nothing is said.
# Where it matters: a tokenizer that is trained again beside old weights, where files are listed or shuffled in another
# order: vocabulary and size agree, and words take each other's embeddings.
# Way round: keep the model file with the weights; sort the captions before the training.
. "$(dirname "$0")/_setup.sh"
install sentencepiece==0.2.3
run <<'PY'
import io
import random
import sys
import sentencepiece

random = random.Random(0)
syllables = ["ba", "ke", "li", "mo", "nu", "ra", "se", "ti", "vo", "zu", "da", "fe"]
words = ["".join(random.choices(syllables, k=random.randint(1, 4))) for _ in range(600)]
captions = [" ".join(random.choices(words, k=8)) for _ in range(4000)]


def trained(texts, kind):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, minloglevel=2, vocab_size=300, model_type=kind
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def pieces(tokenizer):
    return [tokenizer.id_to_piece(i) for i in range(tokenizer.vocab_size())]


def differ(first, second, out):
    return sum(first.encode(c, out_type=out) != second.encode(c, out_type=out) for c in captions[:500])


as_described = True
for kind in ("unigram", "bpe"):
    first = trained(captions, kind)
    for order, texts in (("the same", captions), ("another", random.sample(captions, len(captions)))):
        again = trained(texts, kind)
        moved = sum(a != b for a, b in zip(pieces(first), pieces(again)))
        cut, ids = differ(first, again, str), differ(first, again, int)
        print(f"{kind}, {order} order: {moved} of 300 ids moved")
        print(f"  of 500 captions {cut} are cut otherwise, {ids} get other ids")
        as_described &= set(pieces(first)) == set(pieces(again)) and cut == 0
        as_described &= (moved > 0 and ids > 0) if (kind, order) == ("unigram", "another") else moved == ids == 0
sys.exit(0 if as_described else "changed: this is no longer what sentencepiece does")
PY
