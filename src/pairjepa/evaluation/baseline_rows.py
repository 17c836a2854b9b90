"""Embeddings that a model is measured beside: the pretrained pair that it started from, and closed forms."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from pairjepa.evaluation.closed_forms import load_or_fit
from pairjepa.evaluation.result import Baseline
from pairjepa.metrics.baselines import ClosedForm
from pairjepa.metrics.caption_twins import Twin
from pairjepa.metrics.hubness import HubnessCorrection
from pairjepa.pairs.splits import LEAST
from pairjepa.run.folder import RunFolder
from pairjepa.training.hubness import bank_rows, dev_rows
from pairjepa.training.material import Material


def pretrained(material: Material, split: str, corrected: bool, twins: Sequence[Twin]) -> Baseline:
    """The pretrained pair as it is, views averaged, and its own correction if it is to have one."""

    def embed(images: np.ndarray, captions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        views = _unit(material.image_features.gather(images))
        return _unit(views.mean(axis=1)), _unit(material.text_features.gather(captions))

    return replace(_beside(material, split, embed, corrected), twins=_unit(_features(material, twins)))


def _features(material: Material, twins: Sequence[Twin]) -> np.ndarray:
    """Of the twins' texts."""
    return material.features_of([twin.text for twin in twins]).gather(np.arange(len(twins)))


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

    def of(form: ClosedForm, corrected: bool) -> Baseline:
        def embed(images: np.ndarray, captions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            features = material.text_features.gather(captions)
            return form.image(material.pooled_features(images)), form.text(features)

        return _beside(material, split, embed, corrected)

    forms = load_or_fit(material, folder)
    rows = {name: of(form, corrected and name == "cca") for name, form in forms.items()}
    return rows | {"cca": replace(rows["cca"], twins=forms["cca"].text(_features(material, twins)))}
