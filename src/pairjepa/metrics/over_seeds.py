"""Several trainings of one recipe: mean and spread over their seeds, of nested dictionaries of numbers of one shape."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any


def mean(trees: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean over seeds of the number at each leaf."""
    return map_leaves(lambda *values: statistics.fmean(values), *trees)


def sd(trees: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Standard deviation over seeds (n - 1) of the number at each leaf; `None` for a single seed."""
    return map_leaves(lambda *values: statistics.stdev(values), *trees) if len(trees) > 1 else None


def map_leaves(function: Callable[..., Any], *trees: dict[str, Any]) -> dict[str, Any]:
    """`function` of the leaves that stand at the same place in dicts of one shape, as a dict of that shape."""
    return {
        name: map_leaves(function, *(tree[name] for tree in trees))
        if isinstance(value, dict)
        else function(*(tree[name] for tree in trees))
        for name, value in trees[0].items()
    }


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
