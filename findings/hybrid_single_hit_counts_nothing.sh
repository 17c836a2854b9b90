#!/usr/bin/env bash
# ranx 0.3.21, lancedb 0.40.0: the only hit of a search counts as much as no hit, once it is fused with another search.
#
# Guessed: scores brought to [0, 1] give the best hit 1; the only hit is the best one.
# Seen: the least score of a list becomes 0, and the only one is the least. ranx ("min-max", the default): the one hit
# of a search, with 0.9, gets 0.0 and stands behind 0.5 of the other search. lancedb, `LinearCombinationReranker`: the
# one row with the word of the query gets nothing for it, at any weight; if a poorer hit is added it gets the full
# weight. Nothing is said.
# Where it matters: hybrid search for a rare word (a name, a number), where the text has one hit and should decide.
# Way round: reciprocal ranks: `fuse(..., method="rrf")`, lancedb's default reranker.
. "$(dirname "$0")/_setup.sh"
install ranx==0.3.21 lancedb==0.40.0 pyarrow==26.0.1 numpy==2.4.6
run <<'PY'
import sys
import lancedb
import pyarrow as pa
from lancedb.rerankers import LinearCombinationReranker
from ranx import Run, fuse

by_image = Run({"one hit": {"a": 0.9}, "two hits": {"a": 0.9, "z": 0.1}}, name="image")
by_text = Run({"one hit": {"b": 0.5, "c": 0.4}, "two hits": {"b": 0.5, "c": 0.4}}, name="text")
ranx = {query: dict(scores) for query, scores in fuse(runs=[by_image, by_text], method="sum").run.items()}
print("ranx:", ranx)

rows = [([1.0, 0.0], "a dog"), ([0.9, 0.1], "a cat"), ([0.0, 1.0], "the zebra"), ([-1.0, 0.0], "a fish")]
schema = pa.schema([("id", pa.int64()), ("vector", pa.list_(pa.float32(), 2)), ("caption", pa.string())])
database = lancedb.connect("database")
score = {}
for name, extra in (("one hit", []), ("two hits", [([-0.9, 0.0], "a zebra among many other kinds of fish")])):
    data = [{"id": i, "vector": v, "caption": c} for i, (v, c) in enumerate(rows + extra)]
    table = database.create_table(name.replace(" ", "_"), data, schema=schema)
    table.create_fts_index("caption")
    for weight in (0.7, 0.1):
        search = table.search(query_type="hybrid").vector([1.0, 0.0]).text("zebra").limit(5)
        found = search.rerank(LinearCombinationReranker(weight=weight)).to_list()
        score[name, weight] = {row["id"]: round(row["_relevance_score"], 2) for row in found}
        print(f"lancedb, {name}, the text counts {1 - weight:.1f}:", score[name, weight])
as_described = (
    ranx["one hit"]["a"] == 0
    and ranx["one hit"]["b"] == ranx["two hits"]["a"] == 1
    and score["one hit", 0.7][2] == 0.35
    and score["one hit", 0.1][2] == 0.05
    and score["two hits", 0.1][2] > 0.9
    and list(score["one hit", 0.1]) == [0, 1, 2, 3]
)
sys.exit(0 if as_described else "changed: this is no longer what these two do")
PY
