#!/usr/bin/env bash
# ir-measures 0.4.3: of one run with ties, RR is 0.33 and RR@10 is 1.0, and RR@1 is 1.0 where P@1 is 0.
#
# Guessed: RR@10 is RR as long as the first relevant document is among the first ten; RR@1, P@1 and Success@1 are the
# same number for one relevant document.
# Seen: each measure goes to the first package that knows it. RR, P, Success, nDCG and AP come from pytrec_eval, which
# puts the later name first among equal scores; RR@k comes from another one, that puts the earlier name first. With
# three equal scores the relevant document is at rank 3 for the one and at rank 1 for the other, in one table.
# Where it matters: collapsed or coarsely rounded models, galleries with repeated captions; RR@10 then looks better than
# RR, by the names of the documents only.
# Way round: break ties before the call, or use cut measures of one package only.
. "$(dirname "$0")/_setup.sh"
install ir-measures==0.4.3 pytrec_eval-terrier==0.5.11 numpy==2.4.6
run <<'PY'
import sys
import ir_measures
from ir_measures import AP, P, RR, Qrel, ScoredDoc, Success

measures = [RR, RR @ 10, RR @ 1, P @ 1, Success @ 1, AP]
seen = {}
for relevant in ("a", "c"):
    run = [ScoredDoc("q", name, 0.5) for name in ("a", "b", "c")]
    values = ir_measures.calc_aggregate(measures, [Qrel("q", relevant, 1)], run)
    seen[relevant] = [round(values[m], 2) for m in measures]
    print(f"three equal scores, relevant {relevant}:", {str(m): v for m, v in zip(measures, seen[relevant])})
as_described = seen == {"a": [0.33, 1, 1, 0, 0, 0.33], "c": [1, 0.33, 0, 1, 1, 1]}
sys.exit(0 if as_described else "changed: this is no longer what ir-measures does")
PY
