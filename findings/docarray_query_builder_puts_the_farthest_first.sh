#!/usr/bin/env bash
# docarray 0.41.0: with a Euclidean space the in-memory index's query builder puts the farthest of its hits first.
#
# Guessed: `build_query().find(...).build()`, executed, gives what `find(...)` gives, nearest first; and one picture
# under two years does no harm.
# Seen: what is found is sorted by score from high to low, whatever the space. With "euclidean_dist" and
# "sqeuclidean_dist" the score is the distance, so the list is upside down and the row itself is last; `find` and
# "cosine_sim" are right. Where two scores are equal the documents themselves are compared, which raises TypeError.
# Where it matters: filtered search goes through the query builder: `documents[0]`, and ranks taken from its order.
# Way round: `cosine_sim`, or turn the list round.
. "$(dirname "$0")/_setup.sh"
install docarray==0.41.0 numpy==2.4.6
run <<'PY'
import sys
import numpy as np
from docarray import BaseDoc, DocList
from docarray.index import InMemoryExactNNIndex
from docarray.typing import NdArray
from pydantic import Field

spaces = ("cosine_sim", "euclidean_dist", "sqeuclidean_dist")


class Picture(BaseDoc):
    year: int
    cosine_sim: NdArray[4] = Field(space="cosine_sim")
    euclidean_dist: NdArray[4] = Field(space="euclidean_dist")
    sqeuclidean_dist: NdArray[4] = Field(space="sqeuclidean_dist")


def picture(name, row):
    return Picture(id=name, year=2020 + int(name) % 5, **dict.fromkeys(spaces, row))


rows = np.random.default_rng(0).standard_normal((20, 4))
index = InMemoryExactNNIndex[Picture]()
index.index(DocList[Picture]([picture(str(i), row) for i, row in enumerate(rows)]))
found = {}
for space in spaces:
    build = index.build_query().find(query=rows[0], search_field=space, limit=5)
    recent = index.build_query().filter(filter_query={"year": {"$gte": 2020}})
    recent = recent.find(query=rows[0], search_field=space, limit=5)
    answers = [index.find(rows[0], search_field=space, limit=5)]
    answers += [index.execute_query(query.build()) for query in (build, recent)]
    found[space] = [[doc.id for doc in answer.documents] for answer in answers]
    print(f"{space}: find {found[space][0]}, built {found[space][1]}, filtered {found[space][2]}")
index.index(DocList[Picture]([picture("21", rows[0])]))
try:
    index.execute_query(index.build_query().find(query=rows[0], search_field="cosine_sim", limit=5).build())
    raised = None
except TypeError as error:
    raised = error
print(f"with a copy: {raised!r}")
as_described = isinstance(raised, TypeError) and all(
    order[0][0] == "0" and order[1] == order[2] == (order[0] if space == "cosine_sim" else order[0][::-1])
    for space, order in found.items()
)
sys.exit(0 if as_described else "changed: this is no longer what docarray does")
PY
