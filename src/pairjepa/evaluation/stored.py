"""Evaluations that `evaluate` left in a run folder, as far as they are of the weights that the run holds."""

from typing import Any

from pairjepa.run.folder import TEXT_ONLY, RunFolder
from pairjepa.util.checksums import check, read_record
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import read_json

_NONE = type(None)
_RECALLS = {"R@1": float, "R@5": float, "R@10": float, "median_rank": float, "mrr": float}
_PLAIN = {"image_to_text": _RECALLS, "text_to_image": _RECALLS, "rsum": float}
_INTERVALS = {f"{name}_ci": [float] for name in _RECALLS}
_WAY = _RECALLS | _INTERVALS
_MEASURED = {"image_to_text": _WAY, "text_to_image": _WAY, "rsum": float, "rsum_ci": [float]}
_SPREAD = {"mean": float, "sd": float, "ci": [float]}
_SIDES = {"image": float, "text": float}
EVALUATION = _MEASURED | {
    "split": str,
    "images": int,
    "captions": int,
    "relevance": str,
    "baselines": {"chance": _PLAIN, "cca": (_NONE, _MEASURED)},
    "beats_cca": (_NONE, {"rsum_difference": float, "ci": [float], "verdict": str}),
    "cosine": {
        "matched": _SPREAD,
        "random": (_NONE, _SPREAD),
        "auc": (_NONE, float),
        "overlap": (_NONE, float),
    },
    "geometry": {
        "dim": int,
        "alignment": float,
        "modality_gap": float,
        "uniformity": {"image": (_NONE, float), "text": (_NONE, float)},
        "effective_rank": _SIDES,
    },
    "bootstrap": {"draws": int, "seed": int},
    "notes": [str],
    "recipe": str,
    "seed": int,
    "data": {"description": str, "generated": bool},
    "cost": (_NONE, dict),
}
"""What an evaluation without a checksum must hold."""


def read_evaluation(run: RunFolder, kind: str, weights: str, command: str) -> dict[str, Any]:
    """`evaluation/KIND.json` of a run.

    Args:
        run: the run.
        kind: a split, with the relevance behind it if it is not by owner.
        weights: digest of those that the evaluation must be of.
        command: makes it again.

    Raises:
        PairJEPAError: it is not there, damaged, or of other weights than these or than the control's.
    """
    path = run.path / "evaluation" / f"{kind}.json"
    found = read_record(path, EVALUATION, f"Make it again: {command}.")
    of = found.get("weights") or _of_embeddings(run, found["split"]) or weights
    control = (
        RunFolder(run.path / TEXT_ONLY).weights
        if (run.path / TEXT_ONLY / "model.safetensors").is_file()
        else None
    )
    if of != weights or (control is not None and found.get("control_weights", control) != control):
        raise PairJEPAError(
            f"{path} must be of the weights that {run.path} holds ({weights[:8]}), got those of another epoch or "
            f"training. Make it again: {command}."
        )
    return found


def read_twins(run: RunFolder, split: str, weights: str) -> list[dict[str, Any]]:
    """Hard negatives of a split with their margins; none where they were not measured, or with other weights.

    Raises:
        PairJEPAError: the file is damaged.
    """
    folder = run.path / "illustrations" / split
    if not (folder / "twins.json").is_file():
        return []
    mend = f"Evaluate {run.path} again, which makes it anew."
    of = read_record(folder / "meta.json", {"run": str}, mend)["run"]
    check(folder, mend, ["twins.json"])
    return read_json(folder / "twins.json", "The record", mend) if of == weights else []


def _of_embeddings(run: RunFolder, split: str) -> str | None:
    """Of an evaluation of 0.1, which does not name its weights: those of the embeddings that were made with it."""
    path = run.path / "embeddings" / split / "meta.json"
    if not path.is_file():
        return None
    return str(read_record(path, {"run": str}, "Evaluate the run again.")["run"])
