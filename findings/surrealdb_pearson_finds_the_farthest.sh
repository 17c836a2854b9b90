#!/usr/bin/env bash
# surrealdb 2.0.0 (embedded, in memory): PEARSON and JACCARD searches give the rows least like the query.
#
# Guessed: `v <|4,PEARSON|> $query` gives the four rows with the largest correlation, as `<|4,COSINE|>` those with the
# largest cosine; of hash codes of 0 and 1, JACCARD gives those that share most ones, from 0 to 1.
# Seen: cosine is turned into 1 - cosine, and these two are not: the similarity is taken for a distance, and the
# smallest comes first. The row itself, whose correlation is 1, is the last of 60, and -0.89 is the best match; with an
# HNSW index as well. Jaccard counts numbers, not places: of two codes of 16 bits it is 8 (or 7.5 for one that is all 0),
# also of a code and itself, where 1 was meant: all tie. HAMMING, EUCLIDEAN and the others are right. Nothing is said.
# Where it matters: embeddings compared without their mean, near-duplicate search in binary codes or sets of tags.
# Way round: COSINE of rows whose mean was taken off; HAMMING for bits.
. "$(dirname "$0")/_setup.sh"
install surrealdb==2.0.0 numpy==2.4.6
run <<'PY'
import sys
import numpy as np
from surrealdb import RecordID, Surreal

rng = np.random.default_rng(0)
rows = rng.standard_normal((60, 6)).round(3)
bits = (rng.random((60, 16)) < 0.3).astype(int)
query = (rows[3] + 0.1).round(3)
correlations = np.array([np.corrcoef(query, row)[0, 1] for row in rows])
both, either = (bits & bits[3]).sum(1), (bits | bits[3]).sum(1)
hits, jaccard = {}, {}
with Surreal("mem://") as db:
    db.use("photos", "photos")
    for i in range(60):
        values = {"id": RecordID("photo", i), "v": rows[i].tolist(), "b": bits[i].tolist(), "n": i}
        db.query("CREATE $id SET v = $v, b = $b, n = $n", values)

    def search(metric, field, vector, k=4):
        select = f"SELECT n, vector::distance::knn() AS d FROM photo WHERE {field} <|{k},{metric}|> $q ORDER BY d"
        return [(hit["n"], round(float(hit["d"]), 3)) for hit in db.query(select, {"q": vector.tolist()})]

    for metric in ("COSINE", "PEARSON"):
        hits[metric] = search(metric, "v", query)
        print(f"{metric}: {hits[metric]}")
    last = search("PEARSON", "v", query, 60)[-1]
    print("last of 60 by PEARSON:", last, "largest correlation:", int(correlations.argmax()))
    db.query("DEFINE INDEX graph ON photo FIELDS v HNSW DIMENSION 6 DIST PEARSON TYPE F64 EFC 150 M 12")
    hits["index"] = search(60, "v", query)
    print("PEARSON with an HNSW index:", hits["index"])
    hits["HAMMING"] = search("HAMMING", "b", bits[3])
    jaccard = dict(search("JACCARD", "b", bits[3], 60))
    print(f"HAMMING: {hits['HAMMING']}")
    print(f"JACCARD of a code and itself: {jaccard[3]}, of all: {sorted(set(jaccard.values()))}")
    print("Jaccard of the ones:", (both / either)[[3, 56, 36]].round(2).tolist(), "for the rows 3, 56 and 36")
farthest = [int(i) for i in np.argsort(correlations)[:4]]
as_described = [i for i, _ in hits["PEARSON"]] == [i for i, _ in hits["index"]] == farthest
as_described &= hits["COSINE"][0][0] == correlations.argmax() == last[0] == 3 and hits["PEARSON"][0][1] == -0.89
as_described &= hits["HAMMING"][0] == (3, 0.0) and jaccard[3] == 8 and set(jaccard.values()) == {7.5, 8.0}
sys.exit(0 if as_described else "changed: this is no longer what SurrealDB does")
PY
