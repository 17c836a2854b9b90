"""What is measured each epoch is what the evaluation measures, and what a plain loop would."""

import numpy as np
import pytest

from pairjepa.evaluation.embedding_set import EmbeddingSet
from pairjepa.evaluation.result import evaluate_embeddings as evaluate
from pairjepa.training.monitor import measure


def embeddings(images: int = 12, dim: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(images), rng.integers(1, 4, images))
    image = rng.normal(size=(images, dim))
    text = image[owner] + rng.normal(size=(len(owner), dim))
    unit = [(x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in (image, text)]
    return unit[0], unit[1], owner


def test_an_epoch_s_numbers_are_those_of_the_evaluation() -> None:
    image, text, owner = embeddings()
    now = measure(image, text, owner)
    captions = [f"caption {row}" for row in range(len(owner))]
    names = [f"image {row}" for row in range(len(image))]
    after = evaluate(EmbeddingSet(image, text, owner, names, captions, "dev", "run"), cca=None, draws=10)
    for way in ("image_to_text", "text_to_image"):
        assert now[way] == {key: after[way][key] for key in now[way]}
    assert now["rsum"] == after["rsum"]
    assert now["cosine"]["matched"] == pytest.approx(after["cosine"]["matched"]["mean"])
    assert now["alignment"] == pytest.approx(after["geometry"]["alignment"])
    assert now["modality_gap"] == pytest.approx(after["geometry"]["modality_gap"])
    for here, there in (("prediction", "image"), ("target", "text")):
        assert now["effective_rank"][here] == pytest.approx(after["geometry"]["effective_rank"][there])
        assert now["deviation_per_dim"][here] == pytest.approx(after["geometry"]["std_per_dim"][there]["rms"])


def test_matched_cosine_is_of_own_captions_and_random_of_others() -> None:
    image, text, owner = embeddings(images=40)
    now = measure(image, text, owner)
    assert now["cosine"]["matched"] == pytest.approx(
        np.mean([image[o] @ t for o, t in zip(owner, text, strict=True)])
    )
    others = np.mean([image[i] @ t for i in range(40) for o, t in zip(owner, text, strict=True) if o != i])
    assert now["cosine"]["random"] == pytest.approx(others, abs=0.05)
    assert now["cosine"]["matched"] > others + 0.3


def test_a_collapsed_model_is_seen_and_is_no_better_than_chance() -> None:
    """All embeddings the same: a perfect matched cosine, rank 1, no spread, and ties that count against it."""
    _, _, owner = embeddings()
    same = np.tile(np.float32([1, 0, 0, 0]), (len(owner), 1))
    now = measure(same[:12], same, owner)
    assert now["cosine"] == {"matched": pytest.approx(1), "random": pytest.approx(1)}
    assert max(now["effective_rank"].values()) <= 1
    assert now["deviation_per_dim"] == {"prediction": 0, "target": 0}
    assert now["image_to_text"]["R@1"] == now["text_to_image"]["R@1"] == 0


def test_one_image_has_no_random_pair() -> None:
    image = np.float32([[1, 0]])
    assert measure(image, image, np.array([0]))["cosine"]["random"] is None
