"""Vectors of unit norm: what every embedding must be, and what damage, NaN and a collapse to zero are not."""

import numpy as np
from jaxtyping import Float32

from pairjepa.util.errors import PairJEPAError

TOLERANCE = 1e-3
_ROWS = 8192  # looked at together, so that a file of many is not read into memory


def unit(rows: np.ndarray) -> np.ndarray:
    """The rows at norm 1; those of zeros stay so."""
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def not_unit(rows: Float32[np.ndarray, "rows dim"]) -> tuple[int, float] | None:
    """The first row whose norm is not 1, and its norm; None if there is none."""
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        squares = np.vecdot(some, some)
        wrong = ~(np.abs(squares - 1) <= 2 * TOLERANCE)  # so that NaN is wrong too
        if wrong.any():
            row = int(wrong.argmax())
            return start + row, float(np.sqrt(squares[row]))
    return None


def check_unit(
    rows: Float32[np.ndarray, "rows dim"], what: str, mend: str
) -> Float32[np.ndarray, "rows dim"]:
    """The rows as they are.

    Raises:
        PairJEPAError: one is not of unit norm, or no number.
    """
    if (wrong := not_unit(rows)) is not None:
        raise PairJEPAError(f"{what} must have norm 1, got norm {wrong[1]:.4g} in row {wrong[0]}. {mend}")
    return rows
