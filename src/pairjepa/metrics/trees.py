"""Statistics over nested dictionaries of numbers of one shape."""

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
