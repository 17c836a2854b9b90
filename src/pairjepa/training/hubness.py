"""The hubness correction of a run: its bank of training queries, and the α and k that are best on dev."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from pairjepa.metrics.hubness import HubnessCorrection
from pairjepa.model.joint import JointModel
from pairjepa.run.folder import RunFolder
from pairjepa.training.material import Material
from pairjepa.training.monitor import embed_images, embed_texts
from pairjepa.util.checksums import KEY
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import atomic_path, digest_bytes, writing

FILE = "hubness.safetensors"
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


def load_or_fit(
    folder: RunFolder, material: Material, joint: JointModel, device: torch.device
) -> HubnessCorrection:
    """The correction that belongs to the weights of a run's best epoch, kept beside them.

    Args:
        folder: the run.
        material: its backbones, with the weights of that epoch, and its data.
        joint: the heads of that epoch.
        device: where they are.
    """
    weights = folder.weights
    if (kept := _load(folder.path / FILE, weights)) is not None:
        return kept
    bank, (images, captions, owner) = bank_rows(material), dev_rows(material)
    joint.eval()
    image_side, text_side = material.sides(*bank)
    dev_image, dev_text = material.sides(images, captions)
    correction = HubnessCorrection.choose(
        embed_images(joint, image_side, device),
        embed_texts(joint, text_side, device),
        embed_images(joint, dev_image, device),
        embed_texts(joint, dev_text, device),
        owner,
    )
    banks = {"image": correction.image_bank, "text": correction.text_bank}
    about = {"correction": json.dumps(correction.settings()), "run": weights, KEY: _checksum(banks)}
    with writing(folder.path), atomic_path(folder.path / FILE) as temporary:
        save_file({side: np.ascontiguousarray(bank) for side, bank in banks.items()}, temporary, about)
    return correction


def _load(path: Path, weights: str) -> HubnessCorrection | None:
    """What was kept; None if there is nothing, or it was fitted to other weights.

    Raises:
        PairJEPAError: the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            about = file.metadata() or {}
            if about.get("run") != weights:
                return None
            settings = json.loads(about["correction"])
            banks = {side: file.get_tensor(side) for side in ("image", "text")}
        if about[KEY] != _checksum(banks):
            raise ValueError("its checksum is another")
        return HubnessCorrection(banks["image"], banks["text"], float(settings["alpha"]), int(settings["k"]))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise PairJEPAError(f"{path} is damaged ({error}). Remove it, and evaluate the run again.") from None


def _checksum(banks: dict[str, np.ndarray]) -> str:
    return digest_bytes(b"".join(np.ascontiguousarray(bank).tobytes() for bank in banks.values()))


def _spread(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the rows, spread evenly."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
