"""What a run chooses on dev once it is trained: the hubness correction, and how much of what adapters add is kept.

The correction: a bank of training queries, and the α and k that are best. The adapters: between the pretrained pair and
the fully adapted one (weight-space interpolation with a fine-tuned model, WiSE-FT, Wortsman et al. 2022, arXiv
2109.01903).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from pairjepa.metrics.hubness import HubnessCorrection
from pairjepa.metrics.retrieval import rsum
from pairjepa.model import correction as kept_correction
from pairjepa.model.heads import Adapter
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


def fit_correction(material: Material, embed: Embed) -> tuple[HubnessCorrection, float, Dev]:
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
    correction, *_ = fit_correction(material, embed_rows(joint, material, device))
    kept_correction.save(correction, folder.path, weights)
    return correction


SCALES = (0.0, 0.25, 0.5, 0.75, 1.0)


def adapters(module: nn.Module) -> list[Adapter]:
    """The adapters in a module."""
    return [part for part in module.modules() if isinstance(part, Adapter)]


def set_scale(module: nn.Module, fixed: float | None, dev_rsum: Callable[[], float]) -> dict[str, Any]:
    """Give all adapters one scale: `fixed`, or the largest of the best on dev.

    Args:
        module: with the weights of the best epoch.
        fixed: of `model.adapter_scale`.
        dev_rsum: measures the module.

    Returns:
        What the summary says of it: the scale, its dev rsum, and those of all that were tried.
    """
    tried = {}
    for scale in SCALES if fixed is None else (fixed,):
        for adapter in adapters(module):
            adapter.scale.fill_(scale)
        tried[scale] = dev_rsum()
    best = max(tried, key=lambda scale: (tried[scale], scale))
    for adapter in adapters(module):
        adapter.scale.fill_(best)
    return {
        "adapter_scale": best,
        "dev_rsum": tried[best],
        "adapter_scales": {f"{s:g}": r for s, r in tried.items()},
    }
