#!/usr/bin/env bash
# pytrec_eval-terrier 0.5.11: scores that differ in the ninth digit are ties, and a tie goes to the later name.
#
# Guessed: documents are ranked by the Python floats that were given; ties keep the order of the run.
# Seen: scores are held as 32-bit floats. 0.900000001 and 0.9 are one score, and of equal scores the document whose
# name is greater as text comes first. So the better document loses, and a constant model finds document "d99" at rank
# 1 and "d00" at rank 100. sentence-transformers' InformationRetrievalEvaluator breaks ties the other way.
# Where it matters: cosines of a saturated space (0.99999...), summed or exponentiated scores, collapsed models.
. "$(dirname "$0")/_setup.sh"
install pytrec_eval-terrier==0.5.11 numpy==2.4.6
run <<'PY'
import sys
import pytrec_eval


def reciprocal_rank(relevant, run):
    return pytrec_eval.RelevanceEvaluator({"q": {relevant: 1}}, {"recip_rank"}).evaluate({"q": run})["q"]["recip_rank"]


close = reciprocal_rank("a", {"a": 0.900000001, "b": 0.9})
apart = reciprocal_rank("a", {"a": 0.9000001, "b": 0.9})
constant = {f"d{i:02d}": 0.5 for i in range(100)}
first, last = reciprocal_rank("d00", constant), reciprocal_rank("d99", constant)
print("relevant a scores 0.900000001, b scores 0.9: reciprocal rank", close)
print("relevant a scores 0.9000001,   b scores 0.9: reciprocal rank", apart)
print("100 equal scores, relevant d00:", first, " relevant d99:", last)
as_described = (close, apart, first, last) == (0.5, 1.0, 0.01, 1.0)
sys.exit(0 if as_described else "changed: this is no longer what pytrec_eval does")
PY
