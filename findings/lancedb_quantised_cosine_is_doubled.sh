#!/usr/bin/env bash
# lancedb 0.40.0: a quantised cosine index measures 2 - 2 cos; a threshold holds for that, whatever distance is shown.
#
# Guessed: `distance_type("cosine")` is 1 - cos with every index, rounded a little by a quantised one;
# `distance_range(upper_bound=0.4)` gives the rows whose shown distance is below 0.4, in a refined search too.
# Seen: without an index, and with IVF_FLAT or IVF_HNSW_FLAT, 13 of 2,000 rows are within 0.4. With IVF_SQ, IVF_RQ and
# IVF_HNSW_SQ it is 1, as the distance is twice as large: 0.576 for 0.288. With `refine_factor` the shown distances are
# right, and the range still cuts the doubled ones: a search up to 0.4 shows one row, and without a range 13 below 0.4.
# One row added after the index was built makes all shown distances right as well: 0.576 becomes 0.288 for the same row.
# The order is kept. The nearest rows with and without the index look alike; a threshold finds too little.
# Where it matters: duplicate search and "no match" by a cosine threshold that was chosen before there was an index.
# Way round: unit rows and squared L2 (2 - 2 cos for all indexes), or a limit and a cut of the refined distances.
. "$(dirname "$0")/_setup.sh"
install lancedb==0.40.0 numpy==2.4.6
run <<'PY'
import sys
import lancedb
import numpy as np

rng = np.random.default_rng(0)
rows = rng.standard_normal((2000, 16)).astype(np.float32)
query = rows[900] + 0.5 * rng.standard_normal(16).astype(np.float32)
distances = 1 - rows @ query / np.linalg.norm(rows, axis=1) / np.linalg.norm(query)
within, second = int((distances < 0.4).sum()), int(np.argsort(distances)[1])
print(f"within 0.4: {within} rows; row {second} has the distance {distances[second]:.3f}")
db = lancedb.connect("photos")
as_described = within == 13
for kind in (None, "IVF_FLAT", "IVF_HNSW_FLAT", "IVF_SQ", "IVF_RQ", "IVF_HNSW_SQ"):
    table = db.create_table("photos", [{"id": i, "vector": row} for i, row in enumerate(rows)], mode="overwrite")
    if kind:
        table.create_index(metric="cosine", vector_column_name="vector", index_type=kind, num_partitions=1)

    def search(bound=None, refine=None):
        found = table.search(query).distance_type("cosine").limit(100)
        found = found.distance_range(upper_bound=bound) if bound else found
        found = found.refine_factor(refine) if refine else found
        return {hit["id"]: hit["_distance"] for hit in found.to_list()}

    ranged, refined, all_refined = search(0.4), search(0.4, 10), search(None, 10)
    shown = search()[second]
    below = sum(distance < 0.4 for distance in all_refined.values())
    table.add([{"id": 2000, "vector": -query}])
    after = search()[second]
    print(f"{kind}: within 0.4: {len(ranged)}, refined {len(refined)}, refined without a range {below};", end=" ")
    print(f"row {second}: {shown:.3f}, refined {all_refined[second]:.3f}, with one more row {after:.3f}")
    quantised = kind is not None and "FLAT" not in kind
    as_described &= len(ranged) == len(refined) == (1 if quantised else 13) and below == 13
    as_described &= abs(shown / distances[second] - (2 if quantised else 1)) < 0.06
    as_described &= abs(after - distances[second]) < 0.001 and abs(all_refined[second] - distances[second]) < 0.001
sys.exit(0 if as_described else "changed: this is no longer what lancedb does")
PY
