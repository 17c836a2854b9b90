#!/usr/bin/env bash
# surrealdb 2.0.0 (embedded, in memory): "a AND b" of an exact vector search is not "b AND a", and an index empties it.
#
# Guessed: `split = 'test' AND v <|5,COSINE|> $query` is the same search in either order; an index changes its speed.
# Seen: a condition in front of the search filters the rows before it: five of the 20 test rows are found, the nearest
# ones. The same condition behind it filters the five nearest rows of all: none is left. With one condition in front and
# one behind two are found. With an ordinary index on `split` both orders find nothing, in the same rows; without the
# vector search the index finds all 20. With an HNSW index on the vectors both orders find five, the search first only
# as long as `split` has no index. Nothing is said.
# Where it matters: image search within a split, an album or a user's photos: a query that worked finds nothing after
# someone has added an index, or has swapped two conditions.
# Way round: the rows chosen in a subquery, `SELECT ... FROM (SELECT ... WHERE split = 'test')`, ordered by distance.
. "$(dirname "$0")/_setup.sh"
install surrealdb==2.0.0 numpy==2.4.6
run <<'PY'
import sys
import numpy as np
from surrealdb import RecordID, Surreal

rng = np.random.default_rng(0)
rows = rng.standard_normal((200, 6)).round(3)
query = (rows[3] + 0.2).round(3)
cosines = rows @ query / np.linalg.norm(rows, axis=1) / np.linalg.norm(query)
nearest_test = [int(i) for i in np.argsort(-cosines) if i % 10 == 0][:5]
as_described = True
with Surreal("mem://") as db:
    db.use("photos", "photos")
    for i, row in enumerate(rows.tolist()):
        values = {"id": RecordID("photo", i), "v": row, "n": i, "split": "train" if i % 10 else "test"}
        db.query("CREATE $id SET v = $v, n = $n, split = $split", values)

    def check(note, condition, expected):
        global as_described
        select = f"SELECT n, vector::distance::knn() AS d FROM photo WHERE {condition} ORDER BY d"
        found = [hit["n"] for hit in db.query(select, {"query": query.tolist()})]
        print(f"{note}: {condition}: {found}")
        as_described &= found == expected

    print("the nearest five test rows:", nearest_test)
    exact, test = "v <|5,COSINE|> $query", "split = 'test'"
    check("no index", f"{test} AND {exact}", nearest_test)
    check("no index", f"{exact} AND {test}", [])
    check("no index", f"{test} AND {exact} AND n > 100", [i for i in nearest_test if i > 100])
    graph = "v <|5,150|> $query"
    hnsw = "DEFINE INDEX graph ON photo FIELDS v HNSW DIMENSION 6 DIST COSINE TYPE F32 EFC 150 M 12"
    db.query(hnsw)
    check("HNSW", f"{test} AND {graph}", nearest_test)
    check("HNSW", f"{graph} AND {test}", nearest_test)
    db.query("REMOVE INDEX graph ON photo")
    db.query("DEFINE INDEX splits ON photo FIELDS split")
    check("index on split", f"{test} AND {exact}", [])
    check("index on split", f"{exact} AND {test}", [])
    count = db.query("SELECT count() FROM photo WHERE split = 'test' GROUP ALL")[0]["count"]
    print("rows that the index on split finds:", count)
    db.query(hnsw)
    check("both", f"{test} AND {graph}", nearest_test)
    check("both", f"{graph} AND {test}", [])
    select = "SELECT n, vector::similarity::cosine(v, $query) AS s FROM (SELECT * FROM photo WHERE split = 'test')"
    hits = db.query(f"{select} ORDER BY s DESC LIMIT 5", {"query": query.tolist()})
    print("a subquery:", [hit["n"] for hit in hits])
    as_described &= count == 20 and [hit["n"] for hit in hits] == nearest_test
sys.exit(0 if as_described else "changed: this is no longer what SurrealDB does")
PY
