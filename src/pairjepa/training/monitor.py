"""What is measured each epoch, and the sentences that follow from it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from pairjepa.metrics import geometry
from pairjepa.metrics.retrieval import Relevance, metrics, retrieve
from pairjepa.model.joint import JointModel, mean_direction
from pairjepa.training.inputs import CaptionTwins, Inputs, all_features
from pairjepa.util.threads import one_blas_thread

RANDOM_PAIRS = 10_000
UNIFORMITY_ROWS = 1_000


@dataclass(frozen=True)
class Split:
    """Both sides of one split."""

    images: Inputs
    texts: Inputs
    owner: np.ndarray
    """Row of each caption's image."""
    masked: Inputs | None = None
    """The captions as the context sees them, a view a mask; None where it never sees any."""
    weights: np.ndarray | None = None
    """How often each caption is drawn; None where all are alike."""
    twins: CaptionTwins | None = None
    """Of the captions, where the objective asks for them."""


@dataclass(frozen=True)
class Splits:
    """What a training takes."""

    train: Split
    train_probe: Split
    """Some of the training images, measured beside `dev`: a gap says that the model overfits."""
    dev: Split
    """What the epoch is chosen by."""


@torch.no_grad()
def embed_images(model: JointModel, images: Inputs, device: torch.device) -> np.ndarray:
    """Predictions of all images from the image alone: unit-norm float32 `(images, dim)`, views averaged."""
    out = torch.empty(len(images), model.dim)
    for rows, features in all_features(images, device):
        predictions = model.predict(features.flatten(0, 1)).unflatten(0, features.shape[:2])
        out[rows[0] : rows[-1] + 1] = mean_direction(predictions.float())
    return out.numpy()


@torch.no_grad()
def embed_texts(model: JointModel, texts: Inputs, device: torch.device) -> np.ndarray:
    """Targets of all captions: unit-norm float32 `(captions, dim)`."""
    out = torch.empty(len(texts), model.dim)
    for rows, features in all_features(texts, device):
        out[rows[0] : rows[-1] + 1] = F.normalize(model.target(features[:, 0]).float(), dim=1)
    return out.numpy()


def measure(image: np.ndarray, text: np.ndarray, owner: np.ndarray) -> dict[str, Any]:
    """Recalls and geometry of one split's embeddings, JSON-ready.

    Args:
        image: `(images, dim)`, unit norm.
        text: `(captions, dim)`, unit norm.
        owner: row of each caption's image.
    """
    ranks = retrieve(image, text, owner)
    # One thread of BLAS for each of two stages: BLAS's own threads would still spin when PyTorch's go on, on its cores.
    with one_blas_thread(), ThreadPoolExecutor(1) as pool:
        target = pool.submit(geometry.spread, text)
        matched = geometry.pair_cosine(image, text, owner, np.arange(len(owner)))
        others = geometry.random_pairs(Relevance.by_owner(owner, len(image)), pairs=RANDOM_PAIRS)
        random = geometry.pair_cosine(image, text, *others)
        sides = {"prediction": image, "target": text}
        uniformity = {name: geometry.uniformity(side, rows=UNIFORMITY_ROWS) for name, side in sides.items()}
        spread = {"prediction": geometry.spread(image), "target": target.result()}
    return {
        **metrics(ranks),
        "cosine": {"matched": float(matched.mean()), "random": float(random.mean()) if len(random) else None},
        "alignment": geometry.alignment(matched),
        "uniformity": uniformity,
        "modality_gap": geometry.modality_gap(image, text),
        "effective_rank": {name: one.effective_rank for name, one in spread.items()},
        "deviation_per_dim": {
            name: float(np.sqrt((one.std_per_dim**2).mean())) for name, one in spread.items()
        },
    }


def measure_split(model: JointModel, split: Split, device: torch.device, *, images: bool) -> dict[str, Any]:
    """`measure` of a split; without images, of the text-only control: masked caption → its whole caption."""
    text = embed_texts(model, split.texts, device)
    if images:
        return measure(embed_images(model, split.images, device), text, split.owner)
    assert split.masked is not None
    prediction = embed_partial(model, split.images, split.masked, split.owner, device)
    return measure(prediction, text, np.arange(len(split.owner)))


def line(epoch: dict[str, Any], epochs: int, best: bool) -> str:
    """One epoch on one line of the screen."""
    dev = epoch["dev"]
    recall = f"{dev['image_to_text']['R@1']:.1f}/{dev['text_to_image']['R@1']:.1f}"
    random = dev["cosine"]["random"]
    cosine = f"{dev['cosine']['matched']:.2f}/{random:.2f}" if random is not None else "-"
    rank = f"{dev['effective_rank']['prediction']:.0f}/{dev['effective_rank']['target']:.0f}"
    return (
        f"epoch {epoch['epoch']:>{len(str(epochs))}}/{epochs}  loss {epoch['loss']:.3f}  "
        f"dev R@1 {recall}  rsum {dev['rsum']:.1f}{'*' if best else ' '}  cosine matched/random {cosine}  "
        f"effective rank {rank}  {epoch['images_per_second']:,.0f} images/s"
    )


def short_line(epoch: dict[str, Any], epochs: int, best: dict[str, Any]) -> str:
    """The same for a line that moves: where the training is, and the best epoch so far."""
    return (
        f"epoch {epoch['epoch']}/{epochs}  dev rsum {epoch['dev']['rsum']:.1f}, "
        f"best {best['rsum']:.1f} in epoch {best['epoch']}"
    )


@torch.no_grad()
def embed_partial(
    model: JointModel,
    images: Inputs,
    masked: Inputs,
    owner: np.ndarray,
    device: torch.device,
) -> np.ndarray:
    """Predictions from images and partly masked captions: unit-norm float32 `(captions, dim)`, views averaged.

    Args:
        model: the joint model.
        images: of the split.
        masked: the captions as the context sees them; their first mask is taken.
        owner: for each caption the image that is shown with it.
        device: where the model is.
    """
    seen = torch.cat([features for _, features in all_features(images, device)])
    parts = []
    for rows, captions in all_features(masked, device, views=1):
        views = seen[torch.from_numpy(owner[rows]).to(device)]
        predictions = torch.stack([model.predict(view, captions[:, 0]) for view in views.unbind(1)], dim=1)
        parts.append(mean_direction(predictions.float()).cpu().numpy())
    return np.concatenate(parts)
