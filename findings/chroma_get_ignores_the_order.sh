#!/usr/bin/env bash
# chromadb 1.5.9: `get(ids=["c", "a"])` gives a, c: the embeddings do not stand in the order that was asked for.
#
# Guessed: row i of the answer belongs to id i of the question, as in `query` with several embeddings, or an id that is
# missing is an error.
# Seen: rows come in the order in which they were added, whatever is asked; ids that are missing are left out. With the
# ids of a shuffled batch few of the rows are right, and the shapes agree. The answer's "ids" tell.
# qdrant-client's local mode keeps the order of the question.
# Where it matters: reading image embeddings for the ids of a batch or of another search's hits, to rerank or to compare
# them with captions row by row.
# Way round: put the rows in order by the answer's "ids", and look for missing ones.
. "$(dirname "$0")/_setup.sh"
install chromadb==1.5.9 qdrant-client==1.20.0 numpy==2.4.6
run <<'PY'
import sys
import chromadb
import numpy as np
from qdrant_client import QdrantClient, models

rng = np.random.default_rng(0)
rows = rng.standard_normal((100, 8)).astype(np.float32)
asked = rng.permutation(100)[:32].tolist()
collection = chromadb.EphemeralClient().create_collection("rows", embedding_function=None)
collection.add(ids=[f"r{i}" for i in range(100)], embeddings=rows)
answer = collection.get(ids=[f"r{i}" for i in asked], include=["embeddings"])
right = np.isclose(answer["embeddings"], rows[asked]).all(axis=1).mean()
print("chromadb, asked:", [f"r{i}" for i in asked[:6]], "given:", answer["ids"][:6], f"{right:.0%} in their places")
added = answer["ids"] == [f"r{i}" for i in sorted(asked)]
missing = collection.get(ids=["r5", "other", "r3"])["ids"]
print("asked: r5, other, r3; given:", missing)

client = QdrantClient(":memory:")
client.create_collection("rows", vectors_config=models.VectorParams(size=8, distance=models.Distance.DOT))
client.upsert("rows", [models.PointStruct(id=i, vector=row.tolist()) for i, row in enumerate(rows)])
kept = [point.id for point in client.retrieve("rows", asked)]
print("qdrant-client, asked:", asked[:6], "given:", kept[:6])
as_described = right < 0.2 and added and missing == ["r3", "r5"] and kept == asked
sys.exit(0 if as_described else "changed: this is no longer what chromadb does")
PY
