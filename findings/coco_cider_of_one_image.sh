#!/usr/bin/env bash
# pycocoevalcap 1.2: the reference itself as the caption gets CIDEr 0 for one picture and 10 for two.
#
# Guessed: an exact copy of the reference is the best caption there is, however many pictures are scored together.
# Seen: words are weighted by how rare they are among the references of this call. With one picture every word is in all
# of them and weighs log 1 = 0. With more it goes on: "a photo of a bus" for "a photo of a car" gets 0 beside another "a photo
# of", and more in a larger set, so the mean over parts is not the score of the whole. BLEU-4 of a perfect caption of
# three words is 0.03, as it has no four in a row; ROUGE-L is 1.
# Where it matters: a caption at a time (a demo, a reward), scores by shard or category, short captions.
# Way round: score all pictures in one call.
. "$(dirname "$0")/_setup.sh"
install pycocoevalcap==1.2 numpy==2.4.6
run <<'PY'
import sys
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

captions = ["a photo of a car", "a photo of a dog", "two boats near the bridge", "snow on every roof", "men who play chess"]
exact = {i: [caption] for i, caption in enumerate(captions)}
cider = {count: float(Cider().compute_score(*[{i: exact[i] for i in range(count)}] * 2)[0]) for count in (1, 2, 5)}
for count, score in cider.items():
    print(f"{count} pictures, each with its reference: CIDEr {score:.2f}")
near = {0: ["a photo of a bus"]}
in_two, in_five = (
    float(Cider().compute_score({i: exact[i] for i in range(count)}, {i: near.get(i, exact[i]) for i in range(count)})[1][0])
    for count in (2, 5)
)
print(f"'{near[0][0]}' for '{captions[0]}': {in_two:.2f} among two pictures, {in_five:.2f} among five")
short = {0: ["a red car"]}
bleu, rouge = Bleu(4).compute_score(short, short, verbose=0)[0][3], float(Rouge().compute_score(short, short)[0])
print(f"'a red car' for 'a red car': BLEU-4 {bleu:.3f}, ROUGE-L {rouge:.3f}")
as_described = (
    cider[1] == 0 and abs(cider[5] - 10) < 0.01 and abs(cider[2] - 10) < 0.01
    and in_two < 1e-6 and in_five > 1 and bleu < 0.05 and rouge == 1
)
sys.exit(0 if as_described else "changed: this is no longer what pycocoevalcap does")
PY
