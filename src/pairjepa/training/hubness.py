"""The hubness correction of a run: its bank of training queries, and the α and k that are best on dev."""

from collections.abc import Callable

import numpy as np
import torch

from pairjepa.metrics.hubness import HubnessCorrection
from pairjepa.metrics.retrieval import rsum
from pairjepa.model import correction as kept_correction
from pairjepa.model.joint import JointModel
from pairjepa.run.folder import RunFolder
from pairjepa.training.material import Material
from pairjepa.training.monitor import embed_images, embed_texts

Embed = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Rows of images and of captions → their embeddings."""
Dev = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Embeddings of images and of captions, and for each caption the row of its image."""
BANK_ROWS = 5_000
"""Training queries a side that a run keeps."""
DEV_IMAGES = 1_000
"""That α and k are chosen on."""


def bank_rows(material: Material) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the training images and of the training captions in the bank, spread evenly."""
    images, captions, _ = material.rows("train")
    return _spread(images, BANK_ROWS), _spread(captions, BANK_ROWS)


def dev_rows(material: Material) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of the dev images that α and k are chosen on, of their captions, and each caption's image among them."""
    images, captions, owner = material.rows("dev")
    chosen = _spread(np.arange(len(images)), DEV_IMAGES)
    keep = np.isin(owner, chosen)
    return images[chosen], captions[keep], np.searchsorted(chosen, owner[keep])


def fit(material: Material, embed: Embed) -> tuple[HubnessCorrection, float, Dev]:
    """The correction whose α and k are best on dev, the rsum that it reaches there, and what it was chosen on."""
    images, captions, owner = dev_rows(material)
    bank, dev = embed(*bank_rows(material)), (*embed(images, captions), owner)
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


def _spread(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the rows, spread evenly."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
