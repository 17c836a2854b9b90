"""Embeddings that a model is measured beside: the pretrained pair that it started from, and ridge CCA."""

from collections.abc import Callable

import numpy as np

from pairjepa.evaluation.cca import load_or_fit_cca
from pairjepa.evaluation.result import Baseline
from pairjepa.metrics.hubness import HubnessCorrection
from pairjepa.pairs.splits import LEAST
from pairjepa.run.folder import RunFolder
from pairjepa.training.hubness import bank_rows, dev_rows
from pairjepa.training.material import Material


def pretrained(material: Material, split: str, corrected: bool) -> Baseline:
    """The pretrained pair as it is, views averaged, and its own correction if it is to have one."""

    def embed(images: np.ndarray, captions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        views = _unit(material.image_features.gather(images))
        return _unit(views.mean(axis=1)), _unit(material.text_features.gather(captions))

    return _beside(material, split, embed, corrected)


def _beside(
    material: Material,
    split: str,
    embed: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    corrected: bool,
) -> Baseline:
    images, captions, _ = material.rows(split)
    if not corrected:
        return Baseline(*embed(images, captions))
    dev_images, dev_captions, dev_owner = dev_rows(material)
    bank, dev = embed(*bank_rows(material)), embed(dev_images, dev_captions)
    return Baseline(*embed(images, captions), HubnessCorrection.choose(*bank, *dev, dev_owner))


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def cca(material: Material, split: str, corrected: bool, folder: RunFolder | None = None) -> Baseline | None:
    """Embeddings of ridge CCA on the features that the run began with, views averaged; correction as above.

    `folder` keeps what is fitted. None where there are too few pairs to fit it to.
    """
    if material.data.pairs.splits.get("train", (0, 0))[0] < LEAST["train"]:
        return None
    fitted = load_or_fit_cca(material, folder)

    def embed(images: np.ndarray, captions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        features = material.text_features.gather(captions)
        return fitted.image(material.pooled_features(images)), fitted.text(features)

    return _beside(material, split, embed, corrected)
