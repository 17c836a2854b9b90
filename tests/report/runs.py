"""Run folders made by hand, trained and evaluated without any training."""

from pathlib import Path
from typing import Any

import numpy as np

from pairjepa.config.recipes import recipe
from pairjepa.evaluation.embedding_set import EmbeddingSet
from pairjepa.evaluation.illustrations import Illustrations
from pairjepa.evaluation.result import evaluate_embeddings as evaluate
from pairjepa.run.folder import RunFolder
from pairjepa.util.checksums import write_record

DATA = {
    "digest": "d" * 32, "description": "drawn by a test", "generated": True, "images": 99, "captions": 99,
    "splits": {"dev": {"images": 40, "captions": 80}},
}  # fmt: skip
WORDS = ("a red square", "the blue circle", "some green stars", "<script>alert(1)</script>")


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def embeddings(
    images: int = 40, *, noise: float = 1.0, seed: int = 0, dim: int = 16, collapsed: bool = False
) -> EmbeddingSet:
    """Ragged pairs, the same whatever the seed; more noise is a worse model."""
    fixed, drawn = np.random.default_rng(7), np.random.default_rng(seed)
    owner = np.sort(np.repeat(np.arange(images), fixed.integers(1, 4, images)))
    image = fixed.normal(size=(images, dim))
    text = image[owner] + fixed.normal(size=(len(owner), dim))
    image = image + noise * drawn.normal(size=image.shape)
    if collapsed:
        image, text = np.ones_like(image), np.ones_like(text)
    return EmbeddingSet(
        unit(image),
        unit(text),
        owner,
        [f"{row}.jpg" for row in range(images)],
        [f"{WORDS[row % 4]} number {row}" for row in range(len(owner))],
        split="test",
        run="0",
    )


def epoch(number: int, rsum: float, train: float | None) -> dict[str, Any]:
    way = {"R@1": 1.0, "R@5": 5.0, "R@10": 10.0, "median_rank": 9.0, "mrr": 0.1}
    sides = {"prediction": 4.0, "target": 6.0}
    measured = {
        "image_to_text": way,
        "text_to_image": way,
        "cosine": {"matched": 0.5, "random": 0.1},
        "alignment": 1.0,
        "uniformity": {"prediction": -3.0, "target": -3.1},
        "modality_gap": 0.2,
        "effective_rank": sides,
        "deviation_per_dim": {"prediction": 0.2, "target": 0.2},
    }
    return {
        "epoch": number,
        "loss": 5.0 / number,
        "terms": {"info_nce": 5.0 / number},
        "temperature": 0.07,
        "learning_rate": 0.001,
        "dev": measured | {"rsum": rsum},
        "train": None if train is None else measured | {"rsum": train},
        "possible_rank": {"prediction": 9, "target": 16},
    }


def make_run(
    path: Path,
    found: EmbeddingSet,
    *,
    seed: int = 0,
    epochs: int = 3,
    complete: bool = True,
    thumbnails: list[bytes | None] | None = None,
    partial: dict[str, Any] | None = None,
) -> Path:
    """What `train` and `evaluate` would have left."""
    run = RunFolder.start(
        path, recipe("tiny", {"training.seed": seed, "training.epochs": max(epochs, 1)}), DATA
    )
    for number in range(1, epochs + 1):
        run.append_metrics(epoch(number, 100.0 + number, 150.0 if number == 2 else None))
    found.save(path / "embeddings" / found.split)
    if complete:
        run.finish({"best_epoch": epochs, "cost": None, "warnings": ["mind this"]})
    result = evaluate(found, cca=None, draws=200)
    result |= {"run": str(path), "recipe": "tiny", "seed": seed, "data": DATA, "cost": None}
    if partial is not None:
        result["partial"] = partial
    write_record(path / "evaluation" / "test.json", result)
    if thumbnails is not None:
        saliency = [{"image": 1, "picture": b"jpeg", "grid": [1, 2], "maps": []}]
        words = [{"caption": 0, "image": 0, "ratio": 0.6, "tokens": []}]
        (path / "illustrations").mkdir()
        twins = [
            {"caption": row, "kind": kind, "text": f"twin {row}", "margin": margin}
            for row, (kind, margin) in enumerate([("noun", 0.5), ("noun", -0.5), ("colour", 0.25)])
        ]
        Illustrations(thumbnails, words, saliency, found.run, ["no map of a"], twins).save(
            path / "illustrations" / "test"
        )
    return path
