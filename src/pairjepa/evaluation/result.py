"""One dict that says how good a set of embeddings is, beside chance and CCA, with intervals and in words."""

import math
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Float64
from threadpoolctl import threadpool_limits

from pairjepa.evaluation.embedding_set import EmbeddingSet
from pairjepa.evaluation.notes import notes
from pairjepa.metrics import geometry
from pairjepa.metrics.baselines import chance
from pairjepa.metrics.bootstrap import (
    CONFIDENCE,
    DRAWS,
    bootstrap,
    check_drawable,
    difference,
    mean_interval,
    with_intervals,
)
from pairjepa.metrics.relevance import Relevance
from pairjepa.metrics.retrieval import metrics, retrieve
from pairjepa.util.errors import UsageError, unknown

RelevanceKind = Literal["owner", "text"]


def evaluate_embeddings(
    embeddings: EmbeddingSet,
    *,
    cca: tuple[Float[np.ndarray, "images cca_dim"], Float[np.ndarray, "captions cca_dim"]] | None,
    relevance: RelevanceKind = "owner",
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Any]:
    """The evaluation of one split, ready for JSON (`docs/evaluation.md` defines every key).

    Args:
        embeddings: Both sides of the split.
        cca: Image and caption embeddings of ridge CCA on the same rows; without them its keys are `None`.
        relevance: `owner` is the published protocol; `text` counts every caption with the same words.
        draws: Bootstrap resamples.
        seed: Of the resamples, the random pairs and the sample for uniformity.

    Raises:
        UsageError: `relevance` is unknown, an image has no caption, `cca` does not fit the embeddings, or there is
            nothing to draw.
    """
    if relevance not in ("owner", "text"):
        raise unknown("relevance", relevance, ("owner", "text"))
    images, owner = len(embeddings.image), embeddings.owner
    same_text = Relevance.by_text(owner, embeddings.captions, images)
    relevant = same_text if relevance == "text" else Relevance.by_owner(owner, images)

    if cca is not None and (rows := (len(cca[0]), len(cca[1]))) != (images, len(owner)):
        raise UsageError(
            f"cca must have {images} and {len(owner)} rows like the embeddings, got {rows[0]} and {rows[1]}."
        )
    ranks = retrieve(embeddings.image, embeddings.text, owner, relevant)
    check_drawable(images, draws)
    measured, samples = metrics(ranks), bootstrap(ranks, draws=draws, seed=seed)
    result: dict[str, Any] = {
        "split": embeddings.split,
        "images": images,
        "captions": len(owner),
        "relevance": relevance,
    }
    result |= with_intervals(measured, samples)
    result["baselines"] = {"chance": chance(relevant), "cca": None}
    result["beats_cca"] = None
    if cca is not None:
        cca_ranks = retrieve(*cca, owner, relevant)
        cca_measured, cca_samples = metrics(cca_ranks), bootstrap(cca_ranks, draws=draws, seed=seed)
        result["baselines"]["cca"] = with_intervals(cca_measured, cca_samples)
        gain = difference(measured, cca_measured, samples, cca_samples)["rsum"]
        result["beats_cca"] = {
            "rsum_difference": gain["difference"],
            "ci": gain["ci"],
            "verdict": _verdict(*gain["ci"]),
        }
    with threadpool_limits(1, user_api="blas"):  # which would round otherwise on another number of threads
        result["cosine"] = _cosine(embeddings, same_text, draws, seed)
        result["geometry"] = _geometry(embeddings, result["cosine"]["matched"]["mean"], seed)
    result["bootstrap"] = {"unit": "image", "draws": draws, "seed": seed, "confidence": CONFIDENCE}
    result["notes"] = notes(result, shared=len(same_text.indices) - len(owner))
    return result


def _verdict(low: float, high: float) -> str:
    if low > 0:
        return "better"
    return "worse" if high < 0 else "not distinguishable"


def _cosine(embeddings: EmbeddingSet, same_text: Relevance, draws: int, seed: int) -> dict[str, Any]:
    """Cosines of matched and of random pairs, and how far they lie apart."""
    image, text, owner = embeddings.image, embeddings.text, embeddings.owner
    row, column = geometry.random_pairs(same_text, seed=seed)
    matched = geometry.pair_cosine(image, text, owner, np.arange(len(owner)))
    random = geometry.pair_cosine(image, text, row, column)
    options: Any = {"images": len(image), "draws": draws, "seed": seed}
    cosine: dict[str, Any] = {
        "random": None,
        "auc": None,
        "overlap": None,
        "matched": _summary(matched, mean_interval(matched, owner, **options)),
    }
    if len(random):
        cosine |= {
            "random": _summary(random, mean_interval(random, row, owner[column], **options)),
            "auc": geometry.auc(matched, random),
            "overlap": geometry.overlap(matched, random),
        }
    return cosine


def _summary(values: Float64[np.ndarray, " pairs"], ci: list[float]) -> dict[str, Any]:
    return {"mean": float(values.mean()), "sd": float(values.std()), "ci": ci}


def _geometry(embeddings: EmbeddingSet, matched: float, seed: int) -> dict[str, Any]:
    sides = {"image": embeddings.image, "text": embeddings.text}
    spread = {name: geometry.spread(rows) for name, rows in sides.items()}
    return {
        "dim": embeddings.image.shape[1],
        "alignment": 2 - 2 * matched,
        "uniformity": {name: geometry.uniformity(rows, seed=seed) for name, rows in sides.items()},
        "modality_gap": geometry.modality_gap(embeddings.image, embeddings.text),
        "effective_rank": {name: one.effective_rank for name, one in spread.items()},
        "std_per_dim": {
            name: {"mean": float(one.std_per_dim.mean()), "min": float(one.std_per_dim.min())}
            for name, one in spread.items()
        }
        | {"healthy": 1 / math.sqrt(embeddings.image.shape[1])},
    }
