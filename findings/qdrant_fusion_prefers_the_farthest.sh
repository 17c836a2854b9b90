#!/usr/bin/env bash
# qdrant-client 1.20.0, local mode: DBSF fusion of Euclidean searches puts the nearest row last.
#
# Guessed: a row that both searches have first is first in the fused answer, by ranks (RRF) and by scores (DBSF).
# Seen: DBSF brings the "score" of each search to mean and deviation and adds them; for Euclid and Manhattan the score is the
# distance, and the largest sum wins: of nine rows the one that both searches have first is last. Beside a cosine
# search the two work against each other, and it is sixth. RRF is right, and so are two cosine searches. Nothing is said.
# Where it matters: hybrid search with a Euclidean vector (image features, CLIP beside a metric-learning model); limits
# cut off what is nearest.
# Way round: `Fusion.RRF`, or cosine for both vectors.
. "$(dirname "$0")/_setup.sh"
install qdrant-client==1.20.0 numpy==2.4.6
run <<'PY'
import sys
import numpy as np
from qdrant_client import QdrantClient, models

rng = np.random.default_rng(0)
image, text = rng.standard_normal((2, 40, 8))
image[:8] = image[0] + 0.1 * np.arange(8)[:, None] * image[:8]
text[:8] = text[0] + 0.1 * np.arange(8)[:, None] * text[:8]
answers = {}
for a, b in (("EUCLID", "EUCLID"), ("COSINE", "EUCLID"), ("COSINE", "COSINE")):
    client = QdrantClient(":memory:")
    config = {
        "image": models.VectorParams(size=8, distance=models.Distance[a]),
        "text": models.VectorParams(size=8, distance=models.Distance[b]),
    }
    client.create_collection("rows", vectors_config=config)
    points = [models.PointStruct(id=i, vector={"image": image[i].tolist(), "text": text[i].tolist()}) for i in range(40)]
    client.upsert("rows", points)
    queries = {"image": image[0].tolist(), "text": text[0].tolist()}
    single = [[p.id for p in client.query_points("rows", query=q, using=v, limit=8).points] for v, q in queries.items()]
    print(f"image by {a}: {single[0]}, text by {b}: {single[1]}")
    for fusion in (models.Fusion.RRF, models.Fusion.DBSF):
        fetch = [models.Prefetch(query=q, using=v, limit=8) for v, q in queries.items()]
        found = client.query_points("rows", prefetch=fetch, query=models.FusionQuery(fusion=fusion), limit=40).points
        answers[a, b, fusion.value] = [p.id for p in found]
        print(f"  {fusion.value}: {[(p.id, round(p.score, 2)) for p in found]}")
    assert single[0][0] == single[1][0] == 0
first = {key: answer.index(0) for key, answer in answers.items()}
as_described = first["EUCLID", "EUCLID", "dbsf"] == len(answers["EUCLID", "EUCLID", "dbsf"]) - 1
as_described = as_described and first["COSINE", "EUCLID", "dbsf"] > 0 and first["COSINE", "COSINE", "dbsf"] == 0
as_described = as_described and all(place == 0 for key, place in first.items() if key[2] == "rrf")
sys.exit(0 if as_described else "changed: this is no longer what qdrant-client does")
PY
