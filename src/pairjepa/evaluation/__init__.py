"""How good a joint embedding is, from NumPy arrays alone: `evaluate`, and what it is made of."""

from pairjepa.evaluation.baselines import RidgeCCA, chance
from pairjepa.evaluation.bootstrap import bootstrap, interval, paired_bootstrap
from pairjepa.evaluation.compare import compare_ranks
from pairjepa.evaluation.compare_tables import compare_markdown, compare_table
from pairjepa.evaluation.embedding_set import EmbeddingSet
from pairjepa.evaluation.relevance import Relevance
from pairjepa.evaluation.result import evaluate
from pairjepa.evaluation.retrieval import (
    RetrievalRanks,
    median_rank,
    metrics,
    mrr,
    ranks,
    recall_at,
    retrieve,
    rsum,
)
from pairjepa.evaluation.seeds import over_seeds
from pairjepa.evaluation.tables import markdown_table, seeds_table, table

__all__ = [
    "EmbeddingSet",
    "Relevance",
    "RetrievalRanks",
    "RidgeCCA",
    "bootstrap",
    "chance",
    "compare_markdown",
    "compare_ranks",
    "compare_table",
    "evaluate",
    "interval",
    "markdown_table",
    "median_rank",
    "metrics",
    "mrr",
    "over_seeds",
    "paired_bootstrap",
    "ranks",
    "recall_at",
    "retrieve",
    "rsum",
    "seeds_table",
    "table",
]
