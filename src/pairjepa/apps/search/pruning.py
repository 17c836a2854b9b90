"""Exact search that looks at a part of each vector first, and at the whole of few.

In a basis whose first axes hold most of the energy, a cosine is the product of the heads plus that of the tails, and by
the inequality of Cauchy and Schwarz the second is at most the product of the tails' norms. A row whose head cannot lift
it into the best `k` is not read further, so the answer is that of a comparison of all, at a part of the memory
traffic, which is what a comparison of all takes its time for. There are two levels: a short head of every row, and what
a longer one has beyond it, of the rows that the short one leaves.

Axes: `rows`, `dim`, `head` = axes of the basis that a level holds.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

SAMPLE = 20_000
"""Rows that the basis is made from. Any orthonormal one is right; a fitting one is fast."""
TAILS = 0.2, 0.06
"""Share of the energy that may lie outside of the heads of each level."""
STEP = 16  # a level's rows are a multiple of so many floats: whole cache lines
_CANCELLED = 4e-6  # rounding of |row|² - |head|², both about 1


Level = Float32[np.ndarray, "rows bound"]
"""What is looked at of some rows: their heads, and in a last column an upper bound of the norm of what this level and
those before it leave out. So the product of two of them is at least that of what this level and those after it have."""


@dataclass(frozen=True)
class Basis:
    """Orthonormal axes, those of the most energy first, in a group for each level."""

    axes: list[Float32[np.ndarray, "dim head"]]

    @classmethod
    def of(cls, sample: Float32[np.ndarray, "rows dim"]) -> "Basis | None":
        """The principal axes of a sample; None where no half of them holds enough for heads to pay."""
        energy, axes = np.linalg.eigh((sample.T @ sample).astype(np.float64))
        kept = np.cumsum(energy[::-1]) / max(energy.sum(), 1e-30)
        # with the tails' norms, the first level has a multiple of STEP columns, and so has the second
        ends = [
            STEP * (1 + int(np.searchsorted(kept, 1 - tail)) // STEP) - at for at, tail in enumerate(TAILS, 1)
        ]
        if 2 * ends[-1] > len(axes):
            return None
        sorted_axes, starts = axes[:, ::-1].astype(np.float32), [0, *ends[:-1]]
        groups = [sorted_axes[:, start:end] for start, end in zip(starts, ends, strict=True) if end > start]
        return cls(groups)

    def levels(self, vectors: Float32[np.ndarray, "rows dim"]) -> list[Level]:
        """Rows, or queries, by level."""
        left, levels = np.vecdot(vectors, vectors), []
        for axes in self.axes:
            head = vectors @ axes
            left = left - np.vecdot(head, head)
            tail = np.sqrt(np.maximum(left, 0) + np.float32(_CANCELLED))
            levels.append(np.concatenate([head, tail[:, None]], axis=1))
        return levels
