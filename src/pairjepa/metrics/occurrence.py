"""k-occurrence: how often each gallery item stands among the answers; hubs do so far more often than others.

Axes: queries, gallery.
"""

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from pairjepa.metrics.bootstrap import interval
from pairjepa.metrics.retrieval import top_k

TOP = 10
RANDOM_ANSWERS = 200


def occurrence(
    queries: Float[np.ndarray, "queries dim"], gallery: Float[np.ndarray, "gallery dim"], *, seed: int = 0
) -> dict[str, Any]:
    """How evenly the places in the top 10 of all queries are shared out over the gallery.

    The number of top-10 lists that an item stands in is its 10-occurrence (Radovanović, Nanopoulos and Ivanović
    2010); a skewed distribution of it means hubs, and items that nothing finds.

    Args:
        queries: Of one side.
        gallery: Of the other.
        seed: Of the random answers.

    Returns:
        `k` (10, or the gallery's size); `counts`, where `counts[n]` items stand in n lists; their `skewness` (`None`
        if all stand in as many); `share_for_half`, the smallest share of the items that fills half of the places;
        `never`, the share that stands in no list; and `even`, the last three where each list is drawn at random,
        with `share_for_half_ci`, where 95 % of such draws lie.
    """
    k = min(TOP, len(gallery))
    chance = k / len(gallery)
    times = np.bincount(top_k(queries, gallery, k).ravel(), minlength=len(gallery))
    even: dict[str, Any] = _shape(stats.binom.pmf(np.arange(len(queries) + 1), len(queries), chance))
    drawn = np.random.default_rng(seed).binomial(len(queries), chance, (RANDOM_ANSWERS, len(gallery)))
    even["share_for_half_ci"] = interval(np.array([_of_items(row)["share_for_half"] for row in drawn]))
    return {"k": k, "counts": np.bincount(times).tolist()} | _of_items(times) | {"even": even}


def _of_items(times: np.ndarray) -> dict[str, Any]:
    return _shape(np.bincount(times) / len(times))


def _shape(share: Float[np.ndarray, " occurrences"]) -> dict[str, Any]:
    """Of the share of the items that stand in 0, 1, 2, … lists."""
    times = np.arange(len(share))
    mean = (share * times).sum()
    variance = (share * (times - mean) ** 2).sum()
    skewness = (share * (times - mean) ** 3).sum() / variance**1.5 if variance > 1e-9 else None
    # From the most frequent down: how many of a kind are needed to reach half of the places.
    filled, items = 0.0, 0.0
    for n in times[::-1]:
        part = share[n] * n
        if filled + part >= mean / 2:
            items += (mean / 2 - filled) / n if n else 0.0
            break
        filled, items = filled + part, items + share[n]
    return {
        "skewness": None if skewness is None else float(skewness),
        "share_for_half": float(items),
        "never": float(share[0]),
    }
