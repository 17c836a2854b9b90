"""The place that judges: evaluate a run on a split, compare runs, embeddings on disk."""
