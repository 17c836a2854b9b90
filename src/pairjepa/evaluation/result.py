"""One dict that says how good a set of embeddings is, beside chance and CCA, with intervals and in words."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Float64

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
from pairjepa.metrics.hard_negatives import Embeddings, evaluate_hard_negatives, margins
from pairjepa.metrics.hubness import HubnessCorrection
from pairjepa.metrics.relevance import Relevance
from pairjepa.metrics.retrieval import RetrievalRanks, metrics, retrieve
from pairjepa.pairs.caption_twins import Twin
from pairjepa.util.errors import UsageError, unknown
from pairjepa.util.threads import one_blas_thread

RelevanceKind = Literal["owner", "text"]
DIGITS = 6  # of a margin


@dataclass(frozen=True, eq=False)
class Baseline:
    """Embeddings of a closed formula on the same rows, with the hubness correction that it gets too."""

    image: Float[np.ndarray, "images cca_dim"]
    text: Float[np.ndarray, "captions cca_dim"]
    hubness: HubnessCorrection | None = None
    twins: Float[np.ndarray, "twins cca_dim"] | None = None
    """Of the hard negatives, where they are measured."""


def evaluate_embeddings(
    embeddings: EmbeddingSet,
    *,
    cca: Baseline | None,
    pretrained: Baseline | None = None,
    regressions: Mapping[str, Baseline] | None = None,
    hubness: HubnessCorrection | None = None,
    relevance: RelevanceKind = "owner",
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Any]:
    """The evaluation of one split, ready for JSON (`docs/evaluation.md` defines every key).

    Args:
        embeddings: Both sides of the split.
        cca: Ridge CCA on the same rows; without it its keys are `None`.
        pretrained: The pretrained pair that the model started from; without it its key is not there.
        regressions: Ridge regressions on the same rows, which are held against CCA; see `align_or_predict`.
        hubness: The model's correction; without it `corrected` is `None`.
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

    baselines = {
        name: given for name, given in (("cca", cca), ("pretrained", pretrained)) if given is not None
    }
    for name, given in baselines.items():
        if (rows := (len(given.image), len(given.text))) != (images, len(owner)):
            raise UsageError(
                f"{name} must have {images} and {len(owner)} rows like the embeddings, got {rows[0]} and {rows[1]}."
            )
    ranks = retrieve(embeddings.image, embeddings.text, owner, relevant)
    check_drawable(images, draws)
    plain = _Measured.of(ranks, draws, seed)
    result: dict[str, Any] = {
        "split": embeddings.split,
        "images": images,
        "captions": len(owner),
        "relevance": relevance,
    }
    result |= with_intervals(plain.values, plain.samples)
    corrected, result["corrected"] = None, None
    if hubness is not None:
        corrected_ranks = hubness.ranks(embeddings.image, embeddings.text, owner, relevant)
        corrected, result["corrected"] = _corrected(plain, corrected_ranks, hubness, draws, seed)
    result["baselines"] = {"chance": chance(relevant), "cca": None}
    result["beats_cca"] = result["align_or_predict"] = None
    for name, given in baselines.items():
        baseline = _Measured.of(retrieve(given.image, given.text, owner, relevant), draws, seed)
        shown, gain = with_intervals(baseline.values, baseline.samples), plain.over(baseline)
        # of images each view is normalised, not their mean
        if name == "cca" and _same(given.text, embeddings.text):
            gain["verdict"] = "the same"
        gain["corrected"] = None
        if given.hubness is not None:
            given_ranks = given.hubness.ranks(given.image, given.text, owner, relevant)
            given_corrected, shown["corrected"] = _corrected(
                baseline, given_ranks, given.hubness, draws, seed
            )
            if corrected is not None:
                gain["corrected"] = corrected.over(given_corrected)
        result["baselines"][name], result[f"beats_{name}"] = shown, gain
        if name == "cca" and regressions:
            result["align_or_predict"] = {}
            for other, of in regressions.items():
                predicting = _Measured.of(retrieve(of.image, of.text, owner, relevant), draws, seed)
                result["baselines"][other] = with_intervals(predicting.values, predicting.samples)
                result["align_or_predict"][other] = baseline.over(predicting)
    with one_blas_thread():  # which would round otherwise on another number of threads
        result["cosine"] = _cosine(embeddings, same_text, draws, seed)
        result["geometry"] = _geometry(embeddings, result["cosine"]["matched"]["mean"], seed)
    result["bootstrap"] = {"unit": "image", "draws": draws, "seed": seed, "confidence": CONFIDENCE}
    result["notes"] = notes(result, shared=len(same_text.indices) - len(owner))
    return result


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether rows are equal; heads set to few directions of CCA end in zeros."""
    width = min(one.shape[1], other.shape[1])
    rest = (one[:, width:], other[:, width:])
    return np.allclose(one[:, :width], other[:, :width], atol=1e-4) and not any(map(np.any, rest))


@dataclass(frozen=True)
class _Measured:
    """Metrics of one ranking, and the same on every resample."""

    values: dict[str, Any]
    samples: dict[str, Any]

    @classmethod
    def of(cls, ranks: RetrievalRanks, draws: int, seed: int) -> "_Measured":
        return cls(metrics(ranks), bootstrap(ranks, draws=draws, seed=seed))

    def over(self, other: "_Measured") -> dict[str, Any]:
        """The paired difference of rsum."""
        gain = difference(self.values, other.values, self.samples, other.samples)["rsum"]
        low, high = gain["ci"]
        verdict = "better" if low > 0 else "worse" if high < 0 else "not distinguishable"
        return {"rsum_difference": gain["difference"], "ci": gain["ci"], "verdict": verdict}


def _corrected(
    plain: _Measured, ranks: RetrievalRanks, correction: HubnessCorrection, draws: int, seed: int
) -> tuple[_Measured, dict[str, Any]]:
    """By corrected scores: what was measured, and as it stands in the result, with what it gains over plain scores."""
    found = _Measured.of(ranks, draws, seed)
    shown = with_intervals(found.values, found.samples) | correction.settings()
    return found, shown | {"over_plain": found.over(plain)}


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
            name: {
                "mean": float(one.std_per_dim.mean()),
                "rms": float(np.sqrt((one.std_per_dim**2).mean())),
                "min": float(one.std_per_dim.min()),
            }
            for name, one in spread.items()
        }
        | {"healthy": 1 / math.sqrt(embeddings.image.shape[1])},
    }


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
