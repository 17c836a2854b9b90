#!/usr/bin/env bash
# trectools 0.0.50 with pandas 3.1.1: a run that never has the right image first has the R-precision 1.0, or more.
#
# Guessed: with one right image for each query R-precision is precision at 1; no R-precision is above 1.
# Seen: each of five queries has its right image last of five. Precision at 1 is 0.0, MAP 0.2, R-precision 1.0: a
# document counts if it is relevant to any query. pandas 3 leaves the grouped column out of what a group holds, so that
# trectools' table has no query any more, and it is joined by document alone. With several right images for each query
# the value goes beyond 1 (3.0 where pytrec_eval has 0.67). pandas 2.3.3 gives 0.0 for the first. Nothing is said.
# Where it matters: retrieval within one gallery, which all queries share. Data with documents of its own for each query
# hides it.
. "$(dirname "$0")/_setup.sh"
install trectools==0.0.50 pandas==3.1.1 numpy==2.4.6 pytrec_eval-terrier==0.5.11
run <<'PY'
import sys
from pathlib import Path
import numpy as np
import pytrec_eval
from trectools import TrecEval, TrecQrel, TrecRun


def evaluate(relevant, ranking):
    Path("qrels").write_text("".join(f"q{q} 0 i{i} 1\n" for q, images in relevant.items() for i in images))
    lines = (f"q{q} Q0 i{i} {k + 1} {9 - k} run\n" for q, images in ranking.items() for k, i in enumerate(images))
    Path("run").write_text("".join(lines))
    seen = TrecEval(TrecRun("run"), TrecQrel("qrels"))
    qrels = {f"q{q}": {f"i{i}": 1 for i in images} for q, images in relevant.items()}
    run = {f"q{q}": {f"i{i}": 9.0 - k for k, i in enumerate(images)} for q, images in ranking.items()}
    exact = pytrec_eval.RelevanceEvaluator(qrels, {"Rprec", "map", "P.1"}).evaluate(run).values()
    return [
        (float(value), float(np.mean([query[name] for query in exact])))
        for name, value in (("Rprec", seen.get_rprec()), ("map", seen.get_map()), ("P_1", seen.get_precision(1)))
    ]


order = {q: [(q + 1 + k) % 5 for k in range(5)] for q in range(5)}
one = evaluate({q: [q] for q in range(5)}, order)
three = evaluate({q: [q, (q + 2) % 5, (q + 3) % 5] for q in range(5)}, order)
for name, result in (("one right image", one), ("three right images", three)):
    for measure, (value, exact) in zip(("R-precision", "MAP", "precision at 1"), result):
        print(f"{name}, {measure}: trectools {value:.3f}, pytrec_eval {exact:.3f}")
as_described = (
    one[0] == (1, 0)
    and three[0][0] > 1 > three[0][1]
    and all(abs(value - exact) < 1e-6 for result in (one, three) for value, exact in result[1:])
)
sys.exit(0 if as_described else "changed: this is no longer what trectools does with pandas")
PY
