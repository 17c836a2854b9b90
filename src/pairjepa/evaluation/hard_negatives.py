"""Hard negatives of a run: twins of a split's captions by rule, or those of a benchmark's file."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pairjepa.evaluation.result import Baseline
from pairjepa.metrics.caption_twins import Twin, make_twins
from pairjepa.metrics.hard_negatives import Embeddings, evaluate_hard_negatives, margins
from pairjepa.pairs.sources import shapes
from pairjepa.training.material import Material

DIGITS = 6  # of a margin


def split_twins(material: Material, split: str) -> list[Twin]:
    """Twins of a split's captions; on scenes that the program draws, those that are true of the image are left out."""
    images, captions, owner = material.rows(split)
    pairs, holds = material.data.pairs, None
    if pairs.text_vectors is not None:  # of other words there are none
        return []
    if pairs.generated:
        names = pairs.take(images).names

        def holds(image: int, text: str) -> bool:
            return shapes.holds(names[image], text)

    return make_twins(pairs.captions.take(captions).to_pylist(), owner, holds=holds)


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
