"""Several trained runs on the same pairs as one model: embeddings side by side, so that scores are mean cosines."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pairjepa.backbones.device import best_device
from pairjepa.backbones.encoders import describe, load_backbones
from pairjepa.model.build import build_module
from pairjepa.model.weights import load_weights
from pairjepa.pairs.data import Data
from pairjepa.run.folder import RunFolder
from pairjepa.run.seeds import runs_at
from pairjepa.training.chosen_on_dev import Embed, embed_rows
from pairjepa.training.material import Material
from pairjepa.util.files import digest
from pairjepa.util.progress import say

ROWS = 10_000  # that are embedded at once


def untrained(run: RunFolder, data: Data) -> Material:
    """What a trained run began with, on its pairs.

    Raises:
        PairJEPAError: it has no weights, or the pairs or the backbones are not those it was trained on.
    """
    run.check_trained()
    run.check_data(data.record)
    image, text = load_backbones(run.config, (), run.path)
    run.check_backbones(describe(run.config, image, text))
    return Material(run.config, data, image, text, run.record.get("engines"))


def trained(run: RunFolder, material: Material) -> tuple[Embed, str]:
    """What embeds rows by the weights of a run's best epoch, which `material` gets; and the digest of the weights."""
    module = build_module(run.config, material.image, material.text)
    weights = load_weights(module, run.model_file)
    say(f"{run.path}: {run.config.recipe}, seed {run.config.training.seed}")
    return embed_rows(module.to(best_device())["joint"], material, best_device()), weights  # type: ignore[arg-type]


def side_by_side(models: Sequence[Embed]) -> Embed:
    """What embeds rows by all models: unit vectors, as wide as those of all together."""

    def embed(images: np.ndarray, captions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sides = zip(*(one(images, captions) for one in models), strict=True)
        image, text = (np.concatenate(side, axis=1) / np.float32(len(models) ** 0.5) for side in sides)
        return image, text

    return embed


def teach(runs: Sequence[str], material: Material) -> tuple[tuple[np.ndarray, np.ndarray], str]:
    """What runs as one model say of the training pairs: embeddings of the images and of the captions; their digest.

    Float16, as they are held in memory: 2 bytes times the widths of all runs, for each image and each caption.

    Raises:
        PairJEPAError: a run is not there or not trained, or was trained on other pairs.
    """
    models = [trained(run, untrained(run, material.data)) for path in runs for run in runs_at(Path(path))]
    embed, (images, captions, _) = side_by_side([one for one, _ in models]), material.rows("train")
    parts = []
    for start in range(0, len(captions), ROWS):
        part = slice(start, start + ROWS)
        parts.append([side.astype(np.float16) for side in embed(images[part], captions[part])])
    image, text = (np.concatenate(side) for side in zip(*parts, strict=True))
    return (image, text), digest([weights for _, weights in models])
