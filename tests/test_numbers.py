"""Speed changes no number that is the same on every processor: features to a cosine, and ranks of given arrays.

Trained digits are not: training is chaotic in the last bits, and those differ between processors. `numbers.json` was
written by `python tests/test_numbers.py` on the version of 25 November 2026, before any of the work on speed. Who
changes a number on purpose writes it again, and says why in the changelog.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pairjepa
from pairjepa.backbones.encoders import load_backbones
from pairjepa.evaluation.embedding_set import EmbeddingSet
from pairjepa.evaluation.result import evaluate_embeddings as evaluate
from pairjepa.features.extract import fill
from pairjepa.features.work import ImageWork, TextWork
from pairjepa.pairs.data import read_data

KEPT = Path(__file__).with_name("numbers.json")
SOURCE = "shapes:160"


def features() -> dict[str, Any]:
    """Of the tiny backbones: the first rows, and the sum of the magnitudes of all."""
    pairs = pairjepa.Pairs.open(SOURCE)
    config = pairjepa.recipe("tiny", {"data.source": SOURCE})
    data = read_data(pairs, 1.0)
    image, text = load_backbones(config, pairs.captions_of("train").to_pylist())
    with tempfile.TemporaryDirectory() as cache:
        tables = {
            "image": fill(
                ImageWork.of(image, data.pairs, data.facts, ("whole", "whole-mirrored")), Path(cache), "torch"
            ),
            "text": fill(TextWork.of(text, data.pairs.captions), Path(cache), "torch"),
        }
        all_ = {name: table.gather(np.arange(len(table))) for name, table in tables.items()}
    return {
        name: {"first": rows[0].reshape(-1)[:16].tolist(), "sum": float(np.abs(rows).sum(dtype=np.float64))}
        for name, rows in all_.items()
    }


def made() -> dict[str, Any]:
    """`evaluate` on embeddings from a formula, with ties and images of one to five captions."""
    rng = np.random.default_rng(0)
    owner = np.repeat(np.arange(60), rng.integers(1, 6, 60))
    image = rng.standard_normal((60, 32)).astype(np.float32)
    text = (image[owner] + 1.5 * rng.standard_normal((len(owner), 32))).astype(np.float32)
    text[3] = text[7]
    image, text = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (image, text))
    names, captions = [f"{row}" for row in range(60)], [f"caption {row}" for row in range(len(owner))]
    given = EmbeddingSet(image, text, owner, names, captions, "test", "made")
    result: dict[str, Any] = json.loads(json.dumps(evaluate(given, cca=None)))
    return result


def numbers() -> dict[str, Any]:
    """All of them."""
    return {"features": features(), "evaluation": made()}


def leaves(value: Any, name: str = "") -> dict[str, Any]:
    """Dotted name → number or word."""
    if isinstance(value, dict):
        return {k: v for key, inner in value.items() for k, v in leaves(inner, f"{name}.{key}").items()}
    if isinstance(value, list):
        return {k: v for n, inner in enumerate(value) for k, v in leaves(inner, f"{name}[{n}]").items()}
    return {name: value}


def same(old: Any, new: Any) -> bool:
    """Other processors add in another order: the last digits may differ, a rank may not."""
    if isinstance(old, float) and isinstance(new, float):
        return bool(new == pytest.approx(old, rel=2e-4, abs=1e-5))
    return bool(new == old)


def test_features_have_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAIRJEPA_CACHE", str(tmp_path / "cache"))
    kept, now = json.loads(KEPT.read_text())["features"], features()
    assert kept.keys() == now.keys()
    for side, old in kept.items():
        first, then = np.array(now[side]["first"]), np.array(old["first"])
        assert first @ then >= 0.99999 * np.linalg.norm(first) * np.linalg.norm(then)
        assert now[side]["sum"] == pytest.approx(old["sum"], rel=1e-3)


def test_no_number_of_given_embeddings_has_changed() -> None:
    kept, now = leaves(json.loads(KEPT.read_text())["evaluation"]), leaves(made())
    assert len(kept) > 50
    assert kept.keys() <= now.keys()
    wrong = {name: (old, now[name]) for name, old in kept.items() if not same(old, now[name])}
    assert not wrong


if __name__ == "__main__":
    KEPT.write_text(json.dumps(numbers(), indent=1) + "\n")
