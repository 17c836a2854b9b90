"""Queries to look at: the best, the typical and the worst of a run, with what they found and what they missed.

Axes: queries, gallery.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int64

from pairjepa.metrics.relevance import Relevance
from pairjepa.metrics.retrieval import TIE_TOLERANCE

EACH = 6
SHOWN = 5


def examples(
    queries: Float[np.ndarray, "queries dim"],
    gallery: Float[np.ndarray, "gallery dim"],
    relevance: Relevance,
    ranks: Int[np.ndarray, " queries"],
    margin: Float32[np.ndarray, " queries"],
    shown: Bool[np.ndarray, " queries"],
    image: Int[np.ndarray, " queries"],
) -> dict[str, list[dict[str, Any]]]:
    """`best`, `typical` and `worst` queries of one direction and `near` misses, six of each where there are so many.

    Best have the least rank, and of those the widest margin; worst the greatest rank, and of those the narrowest;
    typical are those at the median rank, in the middle of their margins; near misses have another answer first, by
    the narrowest margin. Each image stands for one query at most,
    and one whose picture can be shown is taken first.

    Args:
        queries: One side's embeddings.
        gallery: The other's.
        relevance: Right answers.
        ranks: Of the best right answer.
        margin: Score of the best right answer minus that of the best other one.
        shown: Whether each query's image has a picture to show.
        image: The image that each query is or belongs to.
    """
    hidden = ~shown
    from_median = np.abs(ranks - np.sort(ranks)[(len(ranks) - 1) // 2])
    at_median = from_median == 0
    from_middle = np.abs(margin - np.median(margin[at_median]))
    near = np.lexsort((-margin, hidden))
    orders = {
        "best": np.lexsort((-margin, ranks, hidden)),
        "typical": np.lexsort((from_middle, from_median, hidden)),
        "near": near[ranks[near] > 1],
        "worst": np.lexsort((margin, -ranks, hidden)),
    }
    return {
        kind: [_example(int(row), queries, gallery, relevance) for row in _one_an_image(order, image)]
        for kind, order in orders.items()
    }


def twin_examples(
    twins: Sequence[dict[str, Any]], owner: Sequence[int]
) -> dict[str, list[dict[str, Any]]] | None:
    """The `worst` and the `best` twin of each kind by the right caption's lead, with `image`; None without twins."""
    order = sorted(twins, key=lambda twin: twin["margin"])
    best, worst = ({twin["kind"]: twin for twin in some} for some in (order, order[::-1]))
    kinds = list(dict.fromkeys(twin["kind"] for twin in twins))
    return (
        {
            name: [of[kind] | {"image": int(owner[of[kind]["caption"]])} for kind in kinds]
            for name, of in (("worst", worst), ("best", best))
        }
        if twins
        else None
    )


def _one_an_image(order: Int64[np.ndarray, " queries"], image: Int[np.ndarray, " queries"]) -> list[int]:
    taken: dict[int, int] = {}
    for row in order:
        taken.setdefault(int(image[row]), int(row))
        if len(taken) == EACH:
            break
    return list(taken.values())


def _example(
    query: int,
    queries: Float[np.ndarray, "queries dim"],
    gallery: Float[np.ndarray, "gallery dim"],
    relevance: Relevance,
) -> dict[str, Any]:
    """A query with its first five results and the place of each right answer; ties count against the right ones."""
    scores = gallery.astype(np.float32, copy=False) @ queries[query].astype(np.float32)
    right = np.zeros(len(gallery), bool)
    right[relevance.indices[relevance.indptr[query] : relevance.indptr[query + 1]]] = True
    order = np.lexsort((right, -(scores - np.where(right, np.float32(TIE_TOLERANCE), 0))))
    place = np.empty(len(gallery), np.int64)
    place[order] = np.arange(1, len(gallery) + 1)
    own = [
        {"row": int(row), "score": round(float(scores[row]), 4), "rank": int(place[row])}
        for row in order
        if right[row]
    ]
    return {
        "query": query,
        "rank": own[0]["rank"],
        "results": [
            {"row": int(row), "score": round(float(scores[row]), 4), "right": bool(right[row])}
            for row in order[:SHOWN]
        ],
        "own": own,
    }
