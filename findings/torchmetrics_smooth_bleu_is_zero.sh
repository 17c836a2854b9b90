#!/usr/bin/env bash
# torchmetrics 1.9.0: `BLEUScore(smooth=True)` gives 0.0 in the very case that smoothing is for.
#
# Guessed: smoothing adds 1 to matches and n-grams, so that a caption without a common 4-gram gets a small score.
# Seen: the score is returned as 0 before the smoothing if any count of matches is 0. Of three captions that get better
# from one to the next all have 0.0, smoothed or not; sacrebleu's "add-k" gives 0.23, 0.36 and 0.48. Where all counts
# are above 0 the two are equal (0.58, and 0.51 without smoothing), so the option is not dead: it raises the scores of
# captions that need it least. The same holds for `SacreBLEUScore(smooth=True)`.
# Where it matters: BLEU of single captions (best of n, rewards, error analysis), where 4-grams seldom match.
# Way round: sacrebleu itself.
. "$(dirname "$0")/_setup.sh"
install torchmetrics==1.9.0 torch==2.13.0 sacrebleu==2.6.0 numpy==2.4.6
run <<'PY'
import sys
from sacrebleu.metrics import BLEU
from torchmetrics.text import BLEUScore, SacreBLEUScore

pairs = [
    ("some dog plays near my park", "a dog runs in the park"),
    ("a dog plays in the snow", "a dog runs in the park"),
    ("a dog runs near the park", "a dog runs in the park"),
    ("a dog runs in the park near a lake", "a dog runs in the snow near a house"),
]
as_described = True
for caption, reference in pairs:
    exact = BLEU(smooth_method="add-k", tokenize="none").corpus_score([caption], [[reference]])
    metrics = BLEUScore(), BLEUScore(smooth=True), SacreBLEUScore(smooth=True)
    seen = [float(metric([caption], [[reference]])) for metric in metrics]
    matches = BLEU(smooth_method="none", tokenize="none").corpus_score([caption], [[reference]]).counts
    print(f"{caption!r}: matches {matches}, sacrebleu {exact.score / 100:.3f}; torchmetrics plain {seen[0]:.3f}, "
          f"smooth {seen[1]:.3f}, SacreBLEUScore smooth {seen[2]:.3f}")
    expected = exact.score / 100 if min(matches) else 0
    as_described &= abs(seen[1] - expected) < 1e-4 and abs(seen[2] - expected) < 1e-4 and exact.score > 10
sys.exit(0 if as_described else "changed: this is no longer what torchmetrics does")
PY
