"""Several trainings of one recipe: mean and spread over their seeds."""

from collections.abc import Sequence
from typing import Any

from pairjepa.metrics.trees import mean, sd

MEASURED = ("image_to_text", "text_to_image", "rsum")
"""Keys of an evaluation that are metrics, or tables of metrics."""


def over_seeds(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The evaluations of one recipe's seeds with the mean and the standard deviation of every metric.

    Args:
        results: What `evaluate` says of each seed.

    Returns:
        `{"seeds": results, "mean", "sd"}`; `sd` is that of a sample (n - 1), `None` for a single seed.
    """
    measured = [_metrics({key: result[key] for key in MEASURED}) for result in results]
    return {"seeds": list(results), "mean": mean(measured), "sd": sd(measured)}


def _metrics(result: dict[str, Any]) -> dict[str, Any]:
    """The numbers without their intervals."""
    return {
        name: _metrics(value) if isinstance(value, dict) else value
        for name, value in result.items()
        if not name.endswith("_ci")
    }
