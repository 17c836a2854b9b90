#!/usr/bin/env bash
# rank-bm25 0.2.2: for BM25Okapi a word of every caption counts more than one of half of them, and a match can cost points.
#
# Guessed: the more captions have a word the less it counts, down to 0 for a word of all; a match never lowers a score.
# Seen: the weight of a word in up to half of the captions goes down to 0, and any word in more than half then gets a
# quarter of the mean weight of all words: "a", in 10 of 10, counts 0.32, "man", in 5 of 10, nothing. A search for
# "a man" finds captions with "a" twice and no man first. If the mean is below 0 (few words, a template like "a photo
# of a dog") matches lower the score: with 6 dogs among 10 photos a search for "dog" has the 4 cats first. BM25Plus of
# the same package has none of that. Nothing is said.
# Where it matters: captions, which share "a", "man", "on"; class prompts; hybrid search over them.
# Way round: BM25Plus, or bm25s (whose default weight, Lucene's, is above 0).
. "$(dirname "$0")/_setup.sh"
install rank-bm25==0.2.2 numpy==2.4.6
run <<'PY'
import sys
from rank_bm25 import BM25Okapi, BM25Plus

captions = [
    "a man rides the horse", "a man with the dog", "a man on the bike", "a man reads", "a man in red", "a red car",
    "a boat on a lake", "a dog sleeps", "a dog runs on grass", "a cat and a dog",
]  # fmt: skip
words = [caption.split() for caption in captions]
okapi, plus = BM25Okapi(words), BM25Plus(words)
print(f'weight of "a", in 10 of 10 captions: {okapi.idf["a"]:.2f}; of "man", in 5: {okapi.idf["man"]:.2f}')
best = {}
for name, model in (("BM25Okapi", okapi), ("BM25Plus", plus)):
    scores = model.get_scores(["a", "man"])
    order = sorted(range(10), key=lambda i: -scores[i])
    best[name] = [captions[i] for i in order[:5]]
    print(f'{name}, search for "a man": {[(captions[i], round(float(scores[i]), 2)) for i in order[:5]]}')
photos = [f"a photo of a {name}".split() for name in ["dog"] * 6 + ["cat"] * 4]
dogs = {}
for name, model in (("BM25Okapi", BM25Okapi(photos)), ("BM25Plus", BM25Plus(photos))):
    scores = model.get_scores(["dog"]).round(2).tolist()
    dogs[name] = scores[0], scores[-1]
    print(f'{name}, search for "dog": {scores[0]} for each of 6 dogs, {scores[-1]} for each of 4 cats')
without = [caption for caption in best["BM25Okapi"] if "man" not in caption]
as_described = okapi.idf["a"] > 0.3 and okapi.idf["man"] == 0 and without and all("man" in c for c in best["BM25Plus"])
as_described = as_described and dogs["BM25Okapi"][0] < 0 == dogs["BM25Okapi"][1] and dogs["BM25Plus"][0] > dogs["BM25Plus"][1]
sys.exit(0 if as_described else "changed: this is no longer what rank-bm25 does")
PY
