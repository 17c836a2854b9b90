"""Exact search that looks at a part of each vector first, and at the whole of few.

In a basis whose first axes hold most of the energy, a cosine is the product of the heads plus that of the tails, and by
the inequality of Cauchy and Schwarz the second is at most the product of the tails' norms. A row whose head cannot lift
it into the best `k` is not read further, so the answer is that of a comparison of all, at a part of the memory
traffic, which is what a comparison of all takes its time for. There are two levels: a short head of every row, and what
a longer one has beyond it, of the rows that the short one leaves.

Axes: `rows`, `dim`, `head` = axes of the basis that a level holds.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

SAMPLE = 20_000
"""Rows that the basis is made from. Any orthonormal one is right; a fitting one is fast."""
TAILS = 0.2, 0.06
"""Share of the energy that may lie outside of the heads of each level."""
STEP = 16  # a head is a multiple of so many floats: whole cache lines
_CANCELLED = 4e-6  # rounding of |row|² - |head|², both about 1


class Level(NamedTuple):
    """What is looked at of some rows."""

    head: Float32[np.ndarray, "rows head"]
    tail: Float32[np.ndarray, " rows"]
    """An upper bound of the norm of what this level and those before it leave out."""


@dataclass(frozen=True)
class Basis:
    """Orthonormal axes, those of the most energy first, in a group for each level."""

    axes: list[Float32[np.ndarray, "dim head"]]

    @classmethod
    def of(cls, sample: Float32[np.ndarray, "rows dim"]) -> "Basis | None":
        """The principal axes of a sample; None where no half of them holds enough for heads to pay."""
        energy, axes = np.linalg.eigh((sample.T @ sample).astype(np.float64))
        kept = np.cumsum(energy[::-1]) / max(energy.sum(), 1e-30)
        ends = [STEP * (1 + int(np.searchsorted(kept, 1 - tail)) // STEP) for tail in TAILS]
        if 2 * ends[-1] > len(axes):
            return None
        sorted_axes, starts = axes[:, ::-1].astype(np.float32), [0, *ends[:-1]]
        groups = [sorted_axes[:, start:end] for start, end in zip(starts, ends, strict=True) if end > start]
        return cls(groups)

    def levels(self, vectors: Float32[np.ndarray, "rows dim"]) -> list[Level]:
        """Heads of rows by level, and how much they leave out at most."""
        left, levels = np.vecdot(vectors, vectors), []
        for axes in self.axes:
            head = vectors @ axes
            left = left - np.vecdot(head, head)
            levels.append(Level(head, np.sqrt(np.maximum(left, 0) + np.float32(_CANCELLED))))
        return levels
