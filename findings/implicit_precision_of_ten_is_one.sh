#!/usr/bin/env bash
# implicit 0.7.3: precision at 10 with one right item for each query is 1.0, and the AUC depends on K.
#
# Guessed: precision at 10 is the share of right items among the first ten: at most 0.1 with one right item a query.
# The AUC is that of the whole ranking, and K does not matter.
# Seen: hits are divided by the smaller of K and the number of right items: one right item at rank 10 of 10 gives a
# precision of 1.0, and of 20 too: it is the hit rate. Hits and divisors of all queries are added up first: of a query
# with one right item, found, and one with nine, not found, it is 0.1, where the mean of the two is 0.5. In the AUC what
# lies beyond rank K is half right: with each right item at rank 6 of 50 it is 0.45 for K = 5 and 0.90 for K = 10.
# Where it matters: retrieval with one right image for each caption, compared with precision or AUC from elsewhere.
# Way round: another package for the measures; `recommend` gives the ranking.
. "$(dirname "$0")/_setup.sh"
install implicit==0.7.3 scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
run <<'PY'
import sys
import numpy as np
from implicit.cpu.matrix_factorization_base import MatrixFactorizationBase
from implicit.evaluation import ranking_metrics_at_k
from scipy.sparse import csr_matrix
from sklearn.metrics import roc_auc_score


class Ranking(MatrixFactorizationBase):
    """A model whose scores are given: a row a query, a column an item."""

    def __init__(self, scores):
        super().__init__()
        self.user_factors, self.item_factors = scores.astype(np.float32), np.eye(scores.shape[1], dtype=np.float32)

    def fit(self, user_items, show_progress=True, callback=None):
        pass

    def save(self, file):
        pass


def measure(scores, right, k):
    nothing = csr_matrix(scores.shape, dtype=np.float32)
    held_out = csr_matrix(right.astype(np.float32))
    return ranking_metrics_at_k(Ranking(scores), nothing, held_out, K=k, show_progress=False, num_threads=1)


def at_rank(rank, count=50):
    scores = np.stack([np.roll(-np.arange(count), query - rank + 1) for query in range(count)])
    return scores, np.eye(count)


tenth, sixth = at_rank(10), at_rank(6)
first, ten = measure(*tenth, 9)["precision"], measure(*tenth, 10)["precision"]
top = (tenth[0].argsort(1)[:, ::-1][:, :10] == np.arange(50)[:, None]).mean()
print(f"right item at rank 10: precision@9 {first:.2f}, precision@10 {ten:.2f}; share of the ten {top:.2f}")
wider = measure(*tenth, 20)["precision"]
print(f"  precision@20 {wider:.2f}")
scores = np.tile(-np.arange(50.0), (2, 1))
right = np.zeros((2, 50))
right[0, 0] = right[1, 20:29] = 1
mixed = measure(scores, right, 10)["precision"]
print(f"one of one found, and none of nine: {mixed:.2f}")
auc = [measure(*sixth, k)["auc"] for k in (5, 10, 49)]
exact = np.mean([roc_auc_score(b, a) for a, b in zip(*sixth)])
print(f"right item at rank 6: AUC for K = 5, 10, 49: {np.round(auc, 3).tolist()}, scikit-learn {exact:.3f}")
as_described = (
    (first, ten, wider) == (0, 1, 1)
    and abs(top - 0.1) < 1e-9
    and abs(mixed - 0.1) < 1e-9
    and auc[0] < 0.51
    and auc[1] > 0.85
    and abs(exact - 44 / 49) < 1e-9
)
sys.exit(0 if as_described else "changed: this is no longer what implicit does")
PY
