#!/usr/bin/env bash
# voyager 2.2.3: an inner-product index finds 20 % of the best rows or 86 %, by the order of adding them.
#
# Guessed: the order of `add_items` hardly matters, `Space.InnerProduct` finds about as much as `Space.Cosine`, and
# `get_distance` of two vectors is 1 - their inner product, as in a query's answer.
# Seen: of 2,000 rows whose lengths differ (most within 0.3 to 3) the best one comes first for 20 % of the queries if
# they are added as they come, for 86 % if they are added from the longest to the shortest; a `query_ef` of 200 in place
# of 10 lifts that to 78 % and 100 %. `Space.Cosine` has 94 % in both orders. `get_distance` counts a hidden coordinate
# that makes rows equally long: -2, and -184 for the same two vectors once a longer row is in; queries do not.
# Where it matters: embeddings that are not of unit length, scores with a bias or popularity in the length.
# Way round: sort by length, longest first, before `add_items`; 1 - a @ b in place of `get_distance`.
. "$(dirname "$0")/_setup.sh"
install voyager==2.2.3 numpy==2.4.6
run <<'PY'
import sys
import numpy as np
from voyager import Index, Space

rng = np.random.default_rng(0)
unit = rng.standard_normal((2000, 16)).astype(np.float32)
unit /= np.linalg.norm(unit, axis=1, keepdims=True)
queries = rng.standard_normal((200, 16)).astype(np.float32)
lengths = np.exp(rng.standard_normal(2000) * np.log(3) / 2).astype(np.float32)
rows = unit * lengths[:, None]
best = {Space.InnerProduct: (queries @ rows.T).argmax(1), Space.Cosine: (queries @ unit.T).argmax(1)}
recall = {}
for order, places in (("as they come", np.arange(2000)), ("longest first", np.argsort(-lengths))):
    for space, right in best.items():
        index = Index(space, 16)
        index.add_items(rows[places], num_threads=1)
        for ef in (10, 200):
            found, _ = index.query(queries, k=10, num_threads=1, query_ef=ef)
            recall[space, order, ef] = (places[found[:, 0].astype(int)] == right).mean()
            print(f"{space}, {order}, query_ef {ef}: the best row is first for {recall[space, order, ef]:.0%}")
index = Index(Space.InnerProduct, 2)
distances = []
for row in ([3.0, 4.0], [10.0, 10.0]):
    index.add_item(row)
    distances.append(index.get_distance([1.0, 0.0], [3.0, 4.0]))
    print(f"distance of (1, 0) and (3, 4) once {row} is in the index: {distances[-1]}")
found, scores = index.query([1.0, 0.0], k=2)
answer = dict(zip(found.tolist(), scores.tolist()))
print("a query of (1, 0):", answer)
product = [recall[Space.InnerProduct, order, ef] for order in ("as they come", "longest first") for ef in (10, 200)]
cosine = [recall[Space.Cosine, order, 10] for order in ("as they come", "longest first")]
as_described = (
    product[0] < 0.4
    and product[1] < 0.9
    and product[2] > 0.75
    and product[3] > 0.98
    and abs(cosine[0] - cosine[1]) < 0.1
    and distances[0] == -2
    and distances[1] < -100
    and answer == {1: -9, 0: -2}
)
sys.exit(0 if as_described else "changed: this is no longer what voyager does")
PY
