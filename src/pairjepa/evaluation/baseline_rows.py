"""Embeddings that a model is measured beside: the pretrained pair that it started from, and ridge CCA."""

import numpy as np

from pairjepa.evaluation.result import Baseline
from pairjepa.pairs.splits import LEAST
from pairjepa.run.folder import RunFolder
from pairjepa.training.cca import embed_by_cca, load_or_fit_cca
from pairjepa.training.hubness import Embed, fit
from pairjepa.training.material import Material


def pretrained(material: Material, split: str, corrected: bool) -> Baseline:
    """The pretrained pair as it is, views averaged, and its own correction if it is to have one."""

    def embed(images: np.ndarray, captions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        views = _unit(material.image_features.gather(images))
        return _unit(views.mean(axis=1)), _unit(material.text_features.gather(captions))

    return _beside(material, split, embed, corrected)


def _beside(material: Material, split: str, embed: Embed, corrected: bool) -> Baseline:
    images, captions, _ = material.rows(split)
    if not corrected:
        return Baseline(*embed(images, captions))
    return Baseline(*embed(images, captions), fit(material, embed)[0])


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def cca(material: Material, split: str, corrected: bool, folder: RunFolder | None = None) -> Baseline | None:
    """Embeddings of ridge CCA on the features that the run began with, views averaged; correction as above.

    `folder` keeps what is fitted. None where there are too few pairs to fit it to.
    """
    if material.data.pairs.splits.get("train", (0, 0))[0] < LEAST["train"]:
        return None
    embed = embed_by_cca(material, load_or_fit_cca(material, folder))
    return _beside(material, split, embed, corrected)
