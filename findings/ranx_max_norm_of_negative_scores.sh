#!/usr/bin/env bash
# ranx 0.3.21: fused with `norm="max"`, one search with negative scores ranks the documents of its own hits last.
#
# Guessed: scores that are divided by the largest of a list are of the size of 1, so that two searches count alike.
# Seen: if the largest score is not positive, 1e-9 takes its place. Negated distances of -0.1, -0.5 and -0.9 become
# -1e8, -5e8 and -9e8: the document that is first in both searches gets -99,999,999 and stands behind one that only the
# poorer end of the other search has found. "min-max" puts it first. Nothing is said.
# Where it matters: hybrid search with negated distances, log-probabilities or the logits of a re-ranker; also a single
# query whose cosines are all below 0.
# Way round: another `norm`, or similarities above 0.
. "$(dirname "$0")/_setup.sh"
install ranx==0.3.21 numpy==2.4.6
run <<'PY'
import sys
from ranx import Run, fuse

by_distance = {"best": -0.1, "good": -0.5, "fair": -0.9}
by_words = {"best": 9.0, "good": 5.0, "poor": 0.5}
order = {}
for norm in ("max", "min-max"):
    runs = [Run({"query": by_distance}, name="distance"), Run({"query": by_words}, name="words")]
    fused = dict(fuse(runs=runs, norm=norm, method="sum").run["query"])
    order[norm] = sorted(fused, key=fused.get, reverse=True)
    print(f"{norm:7}", {name: round(float(fused[name]), 2) for name in order[norm]})
as_described = order["max"] == ["poor", "best", "good", "fair"] and order["min-max"][0] == "best"
sys.exit(0 if as_described else "changed: this is no longer what ranx does")
PY
