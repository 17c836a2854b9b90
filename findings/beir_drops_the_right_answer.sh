#!/usr/bin/env bash
# beir 2.2.0: if picture 7 is the answer to caption 7, every figure is 0.
#
# Guessed: queries and documents are named apart; which names they have does not matter.
# Seen: `EvaluateRetrieval.evaluate` removes a document that has its query's name (for data where queries are documents,
# too), by default: a perfect run has NDCG, MAP, recall and precision 0. It removes it from the caller's results as
# well: MRR, which removes nothing, is 1 if asked first and 0 if asked afterwards. All it says is a log line of level
# INFO, which is not shown by default. A query that is missing from the results is left out of the mean, not counted 0.
# Where it matters: pairs of images and captions that carry one name, row numbers on both sides.
# Way round: `ignore_identical_ids=False`, or a prefix on one side.
. "$(dirname "$0")/_setup.sh"
install pytrec_eval-terrier==0.5.11 numpy==2.4.6 tqdm==4.70.1
install --no-deps beir==2.2.0
run <<'PY'
import sys
from beir.retrieval.evaluation import EvaluateRetrieval


def run(prefix):
    return {str(i): {f"{prefix}{j}": 1.0 - abs(i - j) / 10 for j in range(5)} for i in range(5)}


seen = {}
for prefix in ("", "picture "):
    relevant = {str(i): {f"{prefix}{i}": 1} for i in range(5)}
    results = run(prefix)
    before = EvaluateRetrieval.evaluate_custom(relevant, results, [1], "mrr")["MRR@1"]
    ndcg, _, recall, _ = EvaluateRetrieval.evaluate(relevant, results, [1, 5])
    after = EvaluateRetrieval.evaluate_custom(relevant, results, [1], "mrr")["MRR@1"]
    left = {len(documents) for documents in results.values()}
    seen[prefix] = before, ndcg["NDCG@5"], recall["Recall@5"], after, left
    print(f"a perfect run, documents named {prefix + '0'!r} to {prefix + '4'!r}: MRR@1 {before}, {ndcg}, {recall};")
    print(f"  afterwards MRR@1 {after}, documents for each query {left}")
told = run("")
relevant = {str(i): {str(i): 1} for i in range(5)}
kept = EvaluateRetrieval.evaluate(relevant, told, [1], ignore_identical_ids=False)[2]["Recall@1"]
half = EvaluateRetrieval.evaluate(relevant, {"0": told["0"]}, [1], ignore_identical_ids=False)[2]["Recall@1"]
print(f"told not to: Recall@1 {kept}; with results for one query of five: {half}")
as_described = seen == {"": (1, 0, 0, 0, {4}), "picture ": (1, 1, 1, 1, {5})} and kept == half == 1
sys.exit(0 if as_described else "changed: this is no longer what beir does")
PY
