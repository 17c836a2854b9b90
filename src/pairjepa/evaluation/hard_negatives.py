"""Hard negatives of a run: twins of a split's captions by rule, or those of a benchmark's file."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pairjepa.evaluation.result import Baseline
from pairjepa.metrics.caption_twins import Twin
from pairjepa.metrics.hard_negatives import Embeddings, evaluate_hard_negatives, margins

DIGITS = 6  # of a margin


def measure_twins(
    twins: Sequence[Twin], model: Embeddings, owner: np.ndarray, cca: Baseline | None
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Hard negatives of a split.

    Returns:
        What `evaluate_hard_negatives` says, None where there are no twins; and each twin with its margin, as
        `Illustrations.twins` has them.
    """
    if not twins:
        return None, []
    kinds, caption = [twin.kind for twin in twins], np.array([twin.caption for twin in twins])
    other = None if cca is None or cca.twins is None else (cca.image, cca.text, cca.twins)
    result = evaluate_hard_negatives(kinds, caption, owner, model, other)
    lead = margins(model, caption, owner[caption])
    shown = [
        twin._asdict() | {"margin": round(float(of), DIGITS)} for twin, of in zip(twins, lead, strict=True)
    ]
    return result, shown
