#!/usr/bin/env bash
# alayalite 1.0.4: `{"split": "test", "$or": [...]}` means "or" for all three conditions, and finds the training rows.
#
# Guessed: the keys of a filter all hold, as they do in {"split": "test", "number": 8}; with "$or" as one of the keys
# that reads: of the test split, and one of the two ranges.
# Seen: "$or" turns the whole level into an "or": 80 rows where 9 are meant, in either order of the keys, also beside
# "$and", and in `hybrid_query`, whose best hit is of the training split. With the same condition under "$and" it is
# right. `delete_by_filter` deletes by the same rule. Nothing is said.
# Where it matters: evaluation on one split, rights on rows, clearing out a part.
# Way round: {"$and": [{"split": "test"}, {"$or": [...]}]}.
. "$(dirname "$0")/_setup.sh"
install alayalite==1.0.4 numpy==2.4.6
run <<'PY'
import sys
import numpy as np
from alayalite import Client

rows = np.random.default_rng(0).standard_normal((200, 16)).astype("f4")
collection = Client().create_collection("rows")
of = [{"split": "train" if i % 4 else "test", "number": i} for i in range(200)]
collection.insert([(str(i), "", rows[i], of[i]) for i in range(200)])
either = [{"number": {"$lt": 20}}, {"number": {"$gt": 180}}]
filters = {
    "beside": {"split": "test", "$or": either},
    "beside, turned": {"$or": either, "split": "test"},
    "beside $and": {"$and": [{"split": "test"}], "$or": either},
    "nested": {"$and": [{"split": "test"}, {"$or": either}]},
}
meant = [i for i in range(200) if i % 4 == 0 and (i < 20 or i > 180)]
found, best = {}, {}
for name, condition in filters.items():
    found[name] = sorted(map(int, collection.filter_query(condition, 1000)["id"]))
    best[name] = int(collection.hybrid_query([rows[3]], 5, metadata_filter=condition)["id"][0][0])
    train = sum(of[i]["split"] == "train" for i in found[name])
    print(f"{name:14} {len(found[name])} rows, {train} of the training split; best hit {best[name]}: {of[best[name]]}")
deleted = collection.delete_by_filter(filters["beside"])
print(f"deleted: {deleted}; meant: {len(meant)}")
wrong = list(filters)[:3]
as_described = (
    found["nested"] == meant
    and all(len(found[name]) > 5 * len(meant) and of[best[name]]["split"] == "train" for name in wrong)
    and of[best["nested"]]["split"] == "test"
    and deleted == len(found["beside"])
)
sys.exit(0 if as_described else "changed: this is no longer what AlayaLite does")
PY
