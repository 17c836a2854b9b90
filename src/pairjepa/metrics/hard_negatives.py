"""Hard negatives: how often an image's own caption scores above a twin that is wrong in one thing.

Axes: `twin` = pairs of a caption and its twin, `image` = images of the split.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from pairjepa.metrics.bootstrap import DRAWS, mean_interval
from pairjepa.metrics.compare_ranks import welch
from pairjepa.metrics.partial import shuffled_images
from pairjepa.metrics.retrieval import TIE_TOLERANCE

ALL = "all"
ENOUGH = 10
"""Twins from which on there is an interval: a resample of two wrong ones is sure that all are wrong."""
Embeddings = tuple[
    Float[np.ndarray, "images dim"], Float[np.ndarray, "captions dim"], Float[np.ndarray, "twins dim"]
]
"""Images, captions and twins in one space."""


def margins(
    embeddings: Embeddings, caption: Int[np.ndarray, " twin"], image: Int[np.ndarray, " twin"]
) -> Float[np.ndarray, " twin"]:
    """Score of each twin's caption minus that of the twin, beside the image of that row."""
    images, captions, twins = embeddings
    own, other = (
        np.einsum("td,td->t", images[image], rows, dtype=np.float32) for rows in (captions[caption], twins)
    )
    return own - other


def evaluate_hard_negatives(
    kinds: Sequence[str],
    caption: Int[np.ndarray, " twin"],
    owner: Int[np.ndarray, " captions"],
    model: Embeddings,
    cca: Embeddings | None,
    *,
    draws: int = DRAWS,
) -> dict[str, dict[str, Any]]:
    """Share of twins that score below their caption, of all and by kind; ties count against the model. JSON-ready.

    Args:
        kinds: Of each twin.
        caption: For each twin the row of its caption.
        owner: For each caption the row of its image.
        model: The model's embeddings.
        cca: Those of CCA; None if there is none.
        draws: Bootstrap resamples.

    Returns:
        For each kind `accuracy` (percent) with `accuracy_ci` by image (None of fewer than 10 twins); the same beside
        another image (`blind`) and beside the mean of all images (`prior`): what the words alone tell, by their
        grammar or by how common they are; `cca`, and `over_cca`, the paired `difference` in points with its `ci`; and
        `twins`, their number.
    """
    image = owner[caption]
    mean = model[0].mean(axis=0, keepdims=True)
    other = shuffled_images(len(model[0]))[image]
    measured = {
        "accuracy": margins(model, caption, image),
        "blind": margins(model, caption, other) if len(model[0]) > 1 else None,
        "prior": margins((mean, *model[1:]), caption, np.zeros_like(image)),
        "cca": None if cca is None else margins(cca, caption, image),
    }
    right = {name: 100.0 * (of > TIE_TOLERANCE) for name, of in measured.items() if of is not None}
    options: Any = {"images": len(model[0]), "draws": draws}
    gap = right["accuracy"] - right["cca"] if "cca" in right else None
    return {
        kind: {name: float(right[name][rows].mean()) if name in right else None for name in measured}
        | {
            "accuracy_ci": mean_interval(right["accuracy"][rows], image[rows], **options)
            if len(rows) >= ENOUGH
            else None,
            "over_cca": None if gap is None else _mean(gap, rows, image, options),
            "twins": len(rows),
        }
        for kind, rows in _rows(kinds).items()
    }


def compare_hard_negatives(
    margins: Mapping[str, Sequence[Float[np.ndarray, " twin"]]],
    kinds: Sequence[str],
    image: Int[np.ndarray, " twin"],
    *,
    draws: int = DRAWS,
) -> dict[str, Any]:
    """Runs beside the first, the baseline, on the same twins; accuracies are means over a run's seeds, in percent.

    Args:
        margins: Run → those of each of its seeds.
        kinds: Of each twin.
        image: For each twin the row of its image.
        draws: Bootstrap resamples.

    Returns:
        `runs`: run → kind → accuracy. `differences`: run but the baseline → kind → `difference` in points, `ci`,
        paired by image (None of fewer than 10 twins), and `seed_ci`, None where a run has one seed.
    """
    right = {name: 100.0 * (np.stack(of) > TIE_TOLERANCE) for name, of in margins.items()}
    rows, (baseline, *others) = _rows(kinds), right
    options: Any = {"images": int(image.max()) + 1, "draws": draws}
    differences: dict[str, Any] = {}
    for name in others:
        gap = right[name].mean(axis=0) - right[baseline].mean(axis=0)
        several = min(len(right[name]), len(right[baseline])) > 1
        differences[name] = {
            kind: _mean(gap, of, image, options)
            | ({} if len(of) >= ENOUGH else {"ci": None})
            | {
                "seed_ci": welch(*(right[run][:, of].mean(axis=1) for run in (name, baseline)))
                if several
                else None,
            }
            for kind, of in rows.items()
        }
    accuracy = {
        name: {kind: float(of[:, row].mean()) for kind, row in rows.items()} for name, of in right.items()
    }
    return {"runs": accuracy, "differences": differences}


def _mean(
    gap: Float[np.ndarray, " twin"], rows: np.ndarray, image: np.ndarray, options: Any
) -> dict[str, Any]:
    """Of a difference on some twins, with its interval by image."""
    return {
        "difference": float(gap[rows].mean()),
        "ci": mean_interval(gap[rows], image[rows], **options),
    }


def _rows(kinds: Sequence[str]) -> dict[str, Int[np.ndarray, " rows"]]:
    """The twins of each kind, and of all."""
    of, order = np.array(kinds), dict.fromkeys(kinds)
    return {ALL: np.arange(len(kinds))} | {kind: np.flatnonzero(of == kind) for kind in order}
