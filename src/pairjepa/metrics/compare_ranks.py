"""Is one model better than another on the same images? Paired differences, and a sentence that claims no more.

Two things move a difference: the images that happen to be in the split, and the seeds that happened to be trained.
The paired bootstrap by image measures the first; the spread over seeds, where there are several, the second.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy import special

from pairjepa.metrics.bootstrap import (
    CONFIDENCE,
    DRAWS,
    bootstrap,
    check_same_images,
    interval,
    with_intervals,
)
from pairjepa.metrics.over_seeds import map_leaves, mean, sd
from pairjepa.metrics.retrieval import RetrievalRanks, metrics
from pairjepa.util.errors import UsageError

DIGITS = 9
"""Decimals of a difference: what is left behind them is rounding, and no verdict may hang on that."""


def compare_ranks(
    sides: Mapping[str, Sequence[RetrievalRanks]],
    *,
    seedless: Collection[str] = (),
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Any]:
    """Each side beside the first, the baseline, with paired intervals over images.

    The metrics of a side are means over its seeds. All seeds of all sides are measured on the same resamples,
    and the mean over seeds is taken within each: the interval is that of the mean over *these* seeds.

    Args:
        sides: Name → ranks of each seed, all on the same images and captions.
        seedless: Sides that any seed would give: their spread is 0.
        draws: Bootstrap resamples.
        seed: Of the resamples.

    Returns:
        `baseline`: name of the first side. `runs`: for each side its metrics with intervals, `seeds` (0 of a
        seedless one) and `seed_sd` (`None` for less than two). `differences`: for each other side, side minus
        baseline in the shape of `metrics`, at each leaf `difference`, `ci` (over images) and `seed_ci` (`None`
        where a side has one seed). `verdict`: for each other side a sentence.

    Raises:
        UsageError: there is no side, one has no seed, or the images differ.
    """
    if not sides or not all(sides.values()):
        counts = ", ".join(f"{name} with {len(ranks)}" for name, ranks in sides.items())
        raise UsageError(
            f"compare must have a side or more with a seed or more each, got {counts or 'none'}."
        )
    baseline = next(iter(sides))
    for ranks in sides.values():
        for one in ranks:
            check_same_images(sides[baseline][0], one)

    measured = {name: [metrics(one) for one in ranks] for name, ranks in sides.items()}
    seeds = {name: 0 if name in seedless else len(of) for name, of in measured.items()}
    values = {
        name: map_leaves(lambda *each: np.array(each, float), *(of if seeds[name] else of * 2))
        for name, of in measured.items()
    }
    samples = {
        name: map_leaves(
            lambda *each: np.mean(each, axis=0), *(bootstrap(one, draws=draws, seed=seed) for one in ranks)
        )
        for name, ranks in sides.items()
    }
    runs = {
        name: with_intervals(mean(of), samples[name])
        | {"seeds": seeds[name], "seed_sd": sd(of) if seeds[name] else None}
        for name, of in measured.items()
    }
    differences = {
        name: map_leaves(_difference, values[name], values[baseline], samples[name], samples[baseline])
        for name in sides
        if name != baseline
    }
    return {
        "baseline": baseline,
        "runs": runs,
        "differences": differences,
        "verdict": {
            name: verdict(found["rsum"], {n: seeds[n] for n in (name, baseline)})
            for name, found in differences.items()
        },
    }


def verdict(gap: Mapping[str, Any], seeds: Mapping[str, int], unit: str = "rsum") -> str:
    """What a difference allows to say, in one sentence.

    Args:
        gap: `difference`, `ci` and `seed_ci` of first minus second.
        seeds: Name → number of seeds of the first and of the second; 0 of a seedless one.
        unit: Of the difference.
    """
    (first, second), (low, high) = seeds, gap["ci"]
    sign, word = (1, "better") if low > 0 else (-1, "worse")
    if low <= 0 <= high:
        span = f"{_shown(low, '+')} to {_shown(high, '+')}"
        more = _shown(gap["difference"], "+")
        said = f"no difference is shown: {first} has {more} {unit} against {second} (95 % interval {span})"
        return f"{said}{_on_seeds(gap['seed_ci'], seeds, shown=False)}."
    low, high = sorted((sign * low, sign * high))
    by = _shown(sign * gap["difference"])
    said = f"{first} is {word} than {second} by {by} {unit} (95 % interval {_shown(low)} to {_shown(high)})"
    return f"{said}{_on_seeds(gap['seed_ci'], seeds, shown=True)}."


def _on_seeds(ci: list[float] | None, seeds: Mapping[str, int], *, shown: bool) -> str:
    """What the seeds leave open; `shown` if the images show a difference."""
    if ci is None:
        single = [name for name, count in seeds.items() if count == 1]
        whose = "each" if len(single) == 2 else f"of {single[0]}"
        return f"; one seed {whose}: another seed may turn it"
    if shown and ci[0] <= 0 <= ci[1]:
        span = f"{_shown(ci[0], '+')} to {_shown(ci[1], '+')}"
        return f", but the interval over seeds, {span}, holds 0: other seeds may turn it"
    return ""


def _shown(value: float, sign: str = "") -> str:
    """One decimal, or more where that would make a 0 of what is none."""
    rounded = round(value, 1) + 0.0  # never -0.0
    return f"{rounded:{sign}.1f}" if rounded or not value else f"{value:{sign}.1g}"


def _difference(
    first: Float64[np.ndarray, " seeds"],
    second: Float64[np.ndarray, " other_seeds"],
    first_samples: Float64[np.ndarray, " draws"],
    second_samples: Float64[np.ndarray, " draws"],
) -> dict[str, Any]:
    """First minus second of one metric, over images and, where both have several, over seeds."""
    low, high = interval(first_samples - second_samples)
    return {
        "difference": round(float(first.mean() - second.mean()), DIGITS),
        "ci": [round(low, DIGITS), round(high, DIGITS)],
        "seed_ci": welch(first, second) if min(len(first), len(second)) > 1 else None,
    }


def welch(first: Float64[np.ndarray, " seeds"], second: Float64[np.ndarray, " other_seeds"]) -> list[float]:
    """95 % interval of the difference of two means whose spreads may differ (Welch 1947)."""
    difference = float(first.mean() - second.mean())
    freedom = np.array([len(first) - 1, len(second) - 1])
    errors = np.array([first.var(ddof=1) / len(first), second.var(ddof=1) / len(second)])  # squared
    if not errors.any():
        return [round(difference, DIGITS)] * 2
    quantile = special.stdtrit(errors.sum() ** 2 / (errors**2 / freedom).sum(), (1 + CONFIDENCE) / 2)
    half = float(quantile * np.sqrt(errors.sum()))
    return [round(difference - half, DIGITS), round(difference + half, DIGITS)]
