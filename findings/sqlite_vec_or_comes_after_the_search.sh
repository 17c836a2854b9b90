#!/usr/bin/env bash
# sqlite-vec 0.1.9: `n > 40` filters before the search, `NOT n <= 40` after it, and finds nothing.
#
# Guessed: conditions that mean the same give the same rows, as everywhere in SQL; `k = 5` gives five if five match.
# Seen: a bare comparison of a metadata column is part of the search. Behind OR, NOT or arithmetic SQLite keeps it for
# itself and applies it to the five nearest rows of the whole table: two, one or none are left, where 9 or 12 match.
# With `k = 50` all of them are there. Nothing is said.
# Where it matters: search within two folders, one of two licences, or "not this camera".
# Way round: `IN (...)` and `BETWEEN` are part of the search; else one query for each branch of OR, or a large `k`.
. "$(dirname "$0")/_setup.sh"
install sqlite-vec==0.1.9 apsw==3.54.1.0 numpy==2.4.6
run <<'PY'
import sys
import apsw
import numpy as np
import sqlite_vec

random = np.random.default_rng(0)
base = apsw.Connection(":memory:")
base.enable_load_extension(True)
base.load_extension(sqlite_vec.loadable_path())
base.execute("create virtual table rows using vec0(embedding float[4] distance_metric=cosine, n integer)")
for n, row in enumerate(random.standard_normal((50, 4)).astype("f4")):
    base.execute("insert into rows(rowid, embedding, n) values (?, ?, ?)", (n + 1, row.tobytes(), n))
queries = random.standard_normal((40, 4)).astype("f4")
found, matching = {}, {}
for condition in ("n > 40", "not n <= 40", "n + 0 > 40", "n > 40 or n < 3", "n in (0, 1, 2, 41, 42, 43)"):
    text = f"select count(*) from (select rowid from rows where embedding match ? and k = ? and ({condition}))"
    count = [[base.execute(text, (query.tobytes(), k)).fetchone()[0] for query in queries] for k in (5, 50)]
    found[condition], matching[condition] = np.mean(count[0]), np.mean(count[1])
    print(f"{condition}: k = 5 finds {found[condition]:.1f} rows, k = 50 finds {matching[condition]:.0f}")
before, after = ("n > 40", "n in (0, 1, 2, 41, 42, 43)"), ("not n <= 40", "n + 0 > 40", "n > 40 or n < 3")
as_described = all(found[condition] == 5 for condition in before) and all(found[condition] < 2.5 for condition in after)
as_described &= matching["not n <= 40"] == 9 and matching["n > 40 or n < 3"] == 12
sys.exit(0 if as_described else "changed: this is no longer what sqlite-vec does")
PY
