"""Pure functions of arrays: retrieval, its intervals, its baselines, and the geometry of an embedding space."""

from pairjepa.metrics.baselines import RidgeCCA, chance
from pairjepa.metrics.bootstrap import bootstrap, interval, paired_bootstrap
from pairjepa.metrics.compare_ranks import compare_ranks
from pairjepa.metrics.relevance import Relevance
from pairjepa.metrics.retrieval import (
    RetrievalRanks,
    median_rank,
    metrics,
    mrr,
    ranks,
    recall_at,
    retrieve,
    rsum,
)

__all__ = [
    "Relevance",
    "RetrievalRanks",
    "RidgeCCA",
    "bootstrap",
    "chance",
    "compare_ranks",
    "interval",
    "median_rank",
    "metrics",
    "mrr",
    "paired_bootstrap",
    "ranks",
    "recall_at",
    "retrieve",
    "rsum",
]
