"""Embeddings that a model is measured beside: the pretrained pair that it started from, and closed forms."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pairjepa.evaluation.result import Baseline
from pairjepa.pairs.caption_twins import Twin
from pairjepa.pairs.splits import LEAST
from pairjepa.run.folder import RunFolder
from pairjepa.training.chosen_on_dev import Embed, fit_correction
from pairjepa.training.closed_forms import embed_by, load_or_fit
from pairjepa.training.material import Material
from pairjepa.util.unit import unit


def pretrained(material: Material, split: str, corrected: bool, twins: Sequence[Twin]) -> Baseline:
    """The pretrained pair as it is, views averaged, and its own correction if it is to have one."""

    def embed(images: np.ndarray, captions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        views = unit(material.image_features.gather(images))
        return unit(views.mean(axis=1)), unit(material.text_features.gather(captions))

    return replace(_beside(material, split, embed, corrected), twins=unit(_features(material, twins)))


def _features(material: Material, twins: Sequence[Twin]) -> np.ndarray:
    """Of the twins' texts."""
    return material.features_of([twin.text for twin in twins]).gather(np.arange(len(twins)))


def _beside(material: Material, split: str, embed: Embed, corrected: bool) -> Baseline:
    images, captions, _ = material.rows(split)
    if not corrected:
        return Baseline(*embed(images, captions))
    return Baseline(*embed(images, captions), fit_correction(material, embed)[0])


def closed_forms(
    material: Material,
    split: str,
    corrected: bool,
    twins: Sequence[Twin],
    folder: RunFolder | None = None,
) -> dict[str, Baseline]:
    """Embeddings of closed forms on the features that the run began with, views averaged; of CCA corrected as above.

    `folder` keeps what is fitted. Empty where there are too few pairs to fit them to.
    """
    if material.data.pairs.splits.get("train", (0, 0))[0] < LEAST["train"]:
        return {}
    forms = load_or_fit(material, folder)
    rows = {
        name: _beside(material, split, embed_by(form, material), corrected and name == "cca")
        for name, form in forms.items()
    }
    return rows | {
        "cca": replace(rows["cca"], twins=forms["cca"].text(material.as_seen(_features(material, twins))))
    }
