#!/usr/bin/env bash
# nltk 3.10.4: the corpus BLEU of captions that are all equal to their references is 0.73.
#
# Guessed: BLEU of the references themselves is 1, however long they are: a caption of two words has no 4-gram, and
# counts neither as a match nor as a miss.
# Seen: each caption counts as at least one n-gram of every length, so one of two words is two misses (a 3-gram and a
# 4-gram). One caption of six words and three of two words, all right: 0.73 from nltk, 100 from sacrebleu. Nothing is
# said, as long as a 4-gram matches somewhere. Long captions with a wrong word have 0.94, more than perfect short ones.
# Where it matters: corpora with short captions (labels, alt texts, titles), and models that caption tersely.
# Way round: sacrebleu.
. "$(dirname "$0")/_setup.sh"
install nltk==3.10.4 sacrebleu==2.6.0 numpy==2.4.6
run <<'PY'
import sys, warnings
from nltk.translate.bleu_score import corpus_bleu
from sacrebleu.metrics import BLEU

warnings.simplefilter("error")
long = ["a dog runs in the park", "two cats sleep on a red sofa", "a man reads a book on the train"]
short = ["a dog runs in the park", "two cats", "red car", "old house"]
systems = {
    "short, perfect": (short, short),
    "long, perfect": (long, long),
    "long, one word wrong": ([long[0].replace("park", "snow"), *long[1:]], long),
}
score = {}
for name, (captions, references) in systems.items():
    nltk = corpus_bleu([[r.split()] for r in references], [c.split() for c in captions])
    exact = BLEU(smooth_method="none", tokenize="none").corpus_score(captions, [references]).score / 100
    score[name] = nltk, exact
    print(f"{name:21} nltk {nltk:.3f}, sacrebleu {exact:.3f}")
as_described = (
    abs(score["short, perfect"][0] - 0.7311) < 1e-3
    and abs(score["short, perfect"][1] - 1) < 1e-6
    and all(abs(nltk - exact) < 1e-6 for name, (nltk, exact) in score.items() if name != "short, perfect")
    and score["long, one word wrong"][0] > score["short, perfect"][0]
)
sys.exit(0 if as_described else "changed: this is no longer what nltk does")
PY
