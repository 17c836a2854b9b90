#!/usr/bin/env bash
# alayalite 1.0.4: scores from 0.01 to 0.99 are neither above 0 nor below 1, but are above 0.0 and below 1.0.
#
# Guessed: numbers compare as numbers: {"score": {"$gt": 0}} finds the scores above 0, {"year": {"$gt": 2019.5}} the
# years from 2020 on, as in other vector databases.
# Seen: a bound is compared only with values of its own Python type. A whole bound finds no float and a float no whole
# number: no row, no error. A value that happens to be whole in one row and not in the next (0 and 0.5, as JSON gives
# them) makes every bound miss one of the two. The same in `delete_by_filter`, which then keeps what it should delete.
# A vector search with such a filter returns empty ids. Nothing is said.
# Where it matters: thresholds on scores, ages and prices; metadata read from JSON; whole numbers that became floats.
# Way round: store every number as float, and write every bound with a point.
. "$(dirname "$0")/_setup.sh"
install alayalite==1.0.4 numpy==2.4.6
run <<'PY'
import json, sys
import numpy as np
from alayalite import Client

rows = np.random.default_rng(0).standard_normal((99, 8)).astype("f4")
collection = Client().create_collection("rows")
mixed = json.loads("[0, 0.5, 1]")
of = [{"score": (i + 1) / 100, "year": 1971 + i, "mixed": mixed[i % 3]} for i in range(99)]
collection.insert([(str(i), "", rows[i], of[i]) for i in range(99)])
conditions = [
    ("score", "$gt", 0), ("score", "$gt", 0.0), ("score", "$lt", 1), ("score", "$lt", 1.0),
    ("year", "$gt", 2019), ("year", "$gt", 2019.0), ("year", "$gt", 2019.5), ("year", "$eq", 2020.0),
    ("mixed", "$ge", 0), ("mixed", "$ge", 0.0),
]
compare = {"$gt": np.greater, "$lt": np.less, "$ge": np.greater_equal, "$eq": np.equal}
seen = {}
for field, sign, bound in conditions:
    found = len(collection.filter_query({field: {sign: bound}}, 1000)["id"])
    right = sum(bool(compare[sign](one[field], bound)) for one in of)
    seen[field, sign, repr(bound)] = found, right
    print(f"{field} {sign} {bound!r}: {found} rows, {right} by number")
hits = collection.hybrid_query([rows[0]], 5, metadata_filter={"score": {"$gt": 0}})["id"][0]
print(f"vector search with score > 0: {hits}")
own_type = [("score", "$gt", "0.0"), ("score", "$lt", "1.0"), ("year", "$gt", "2019")]
other_type = [("score", "$gt", "0"), ("score", "$lt", "1"), ("year", "$gt", "2019.0"), ("year", "$gt", "2019.5"),
              ("year", "$eq", "2020.0")]
as_described = (
    all(seen[key][0] == seen[key][1] > 0 for key in own_type)
    and all(seen[key][0] == 0 < seen[key][1] for key in other_type)
    and seen["mixed", "$ge", "0"][0] + seen["mixed", "$ge", "0.0"][0] == 99
    and seen["mixed", "$ge", "0.0"][0] == 33
    and not any(hits)
)
sys.exit(0 if as_described else "changed: this is no longer what AlayaLite does")
PY
