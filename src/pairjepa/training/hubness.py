"""The hubness correction of a run: its bank of training queries, and the α and k that are best on dev."""

from collections.abc import Callable

import numpy as np
import torch

from pairjepa.metrics.hubness import HubnessCorrection
from pairjepa.metrics.retrieval import rsum
from pairjepa.model import correction as kept_correction
from pairjepa.model.joint import JointModel
from pairjepa.run.folder import RunFolder
from pairjepa.training.material import Material, evenly
from pairjepa.training.monitor import embed_images, embed_texts

Embed = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Rows of images and of captions → their embeddings."""
Dev = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Embeddings of images and of captions, and for each caption the row of its image."""
BANK_ROWS = 5_000
"""Training queries a side that a run keeps."""
DEV_IMAGES = 1_000
"""That α and k are chosen on."""


def fit(material: Material, embed: Embed) -> tuple[HubnessCorrection, float, Dev]:
    """The correction whose α and k are best on dev, the rsum that it reaches there, and what it was chosen on."""
    images, captions, owner = material.rows("dev", DEV_IMAGES)
    dev = *embed(images, captions), owner
    images, captions, _ = material.rows("train")
    bank = embed(evenly(images, BANK_ROWS), evenly(captions, BANK_ROWS))
    correction = HubnessCorrection.choose(*bank, *dev)
    return correction, rsum(correction.ranks(*dev)), dev


def embed_rows(joint: JointModel, material: Material, device: torch.device) -> Embed:
    """What embeds rows of a run's images and captions; its backbones and heads have the weights of its best epoch."""

    def embed(images: np.ndarray, captions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        joint.eval()
        image_side, text_side = material.sides(images, captions)
        return embed_images(joint, image_side, device), embed_texts(joint, text_side, device)

    return embed


def load_or_fit(
    folder: RunFolder, material: Material, joint: JointModel, weights: str, device: torch.device
) -> HubnessCorrection:
    """The correction that belongs to the weights of a run's best epoch, kept beside them.

    Args:
        folder: the run.
        material: its backbones, with the weights of that epoch, and its data.
        joint: the heads of that epoch.
        weights: digest of the weights of that epoch.
        device: where they are.
    """
    if (kept := kept_correction.load(folder.path, weights)) is not None:
        return kept
    correction, *_ = fit(material, embed_rows(joint, material, device))
    kept_correction.save(correction, folder.path, weights)
    return correction
