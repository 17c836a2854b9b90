"""A trained run, in use: images and captions in, unit-norm vectors out."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from PIL import Image
from torch import nn
from torch.nn import functional as F

from pairjepa.config import RunConfig
from pairjepa.errors import UsageError
from pairjepa.features.image_backbone import ImageBackbone
from pairjepa.features.text_backbone import TextBackbone
from pairjepa.features.words import WordEmbeddings
from pairjepa.material import describe, load_backbones
from pairjepa.model.joint import JointModel, mean_direction
from pairjepa.pairs.images import BadImage, decode, upright_rgb
from pairjepa.run_folder import RunFolder
from pairjepa.training.checkpoint import load_weights
from pairjepa.training.module import best_device, build_module

Picture = str | Path | Image.Image
BATCH = 32  # images or captions forwarded at once


class Embedder:
    """Encodes images and captions into the shared space of a run.

    `encode_image` gives the *predicted* caption embedding of an image, `encode_text` the embedding of a caption;
    their inner product is the cosine similarity that `pairjepa evaluate` ranks by.
    """

    def __init__(
        self, config: RunConfig, module: nn.ModuleDict, image: ImageBackbone, text: TextBackbone
    ) -> None:
        """See `load`."""
        self.config = config
        self._device = best_device()
        self._module = module.to(self._device).eval()
        self._image, self._text = image.to(self._device).eval(), text.to(self._device).eval()
        over_tokens = config.model.predictor.kind == "transformer"
        self._words: nn.Module = WordEmbeddings(self._text) if over_tokens else self._text

    @classmethod
    def load(cls, run: str | Path | RunFolder) -> "Embedder":
        """Load the best epoch of a run.

        Raises:
            PairJEPAError: there is no such run, it has no weights yet, or a backbone is not the one it was trained on.
        """
        folder = run if isinstance(run, RunFolder) else RunFolder(Path(run))
        folder.check_trained()
        image, text = load_backbones(folder.config, (), folder.path)
        folder.check_backbones(describe(folder.config, image, text))
        module = build_module(folder.config, image, text)
        load_weights(module, folder.model_file)
        return cls(folder.config, module, image, text)

    @property
    def dim(self) -> int:
        """Width of the shared space."""
        return self._joint.dim

    def encode_image(self, images: Picture | Iterable[Picture]) -> Float32[np.ndarray, "images dim"]:
        """Predicted caption embeddings of images.

        Args:
            images: paths or PIL images (any mode, any size); a single one gives one row.

        Raises:
            PairJEPAError: an image is missing or unreadable; the message names it.
        """
        return self._predicted(_listed(images), None)

    def encode_text(self, captions: str | Sequence[str]) -> Float32[np.ndarray, "captions dim"]:
        """Embeddings of captions, cut at the run's `model.max_tokens`; a single string gives one row."""
        texts = [captions] if isinstance(captions, str) else list(captions)
        if bad := next((t for t in texts if not isinstance(t, str)), None):
            raise UsageError(f"captions must be strings, got {type(bad).__name__}.")
        rows = []
        for start in range(0, len(texts), BATCH):
            ids = self._text.tokenize(texts[start : start + BATCH])
            with torch.inference_mode():
                tokens = [tensor.to(self._device) for tensor in self._text.collate(ids)]
                rows.append(F.normalize(self._joint.target(self._text(*tokens)).float(), dim=1).cpu().numpy())
        return np.concatenate(rows) if rows else np.empty((0, self.dim), np.float32)

    def predict(
        self, images: Picture | Iterable[Picture], captions: str | Sequence[str] | None = None
    ) -> Float32[np.ndarray, "images dim"]:
        """Predicted embeddings of whole captions, from images and, for a masked run, a part of each caption.

        Args:
            images: as for `encode_image`.
            captions: what is known of each image's caption; the text backbone's mask token (`[MASK]`) may stand for
                words that are not. None asks from the images alone.

        Raises:
            UsageError: the run's context sees no captions, or there is not one for each image.
            PairJEPAError: as `encode_image`.
        """
        pictures = _listed(images)
        if captions is None:
            return self._predicted(pictures, None)
        texts = [captions] if isinstance(captions, str) else list(captions)
        if self.config.context.caption is None:
            raise UsageError(
                "captions must be None for a run whose context sees none (context.caption is off). "
                "Train the recipe masked to predict from image and words."
            )
        if len(texts) != len(pictures):
            raise UsageError(f"captions must be one for each image, got {len(texts)} for {len(pictures)}.")
        return self._predicted(pictures, texts)

    def _predicted(self, pictures: list[Picture], texts: list[str] | None) -> np.ndarray:
        views = self.config.model.image_views
        rows = []
        for start in range(0, len(pictures), BATCH):
            some = pictures[start : start + BATCH]
            prepared = [self._image.prepare(p, view) for p in map(_opened, some) for view in views]
            with torch.inference_mode():
                pixels = self._image.normalise(torch.from_numpy(np.stack(prepared)).to(self._device))
                caption = None
                if texts is not None:
                    ids = self._text.tokenize(texts[start : start + BATCH])
                    tokens = [tensor.to(self._device) for tensor in self._text.collate(ids)]
                    caption = self._words(*tokens).repeat_interleave(len(views), dim=0)
                predictions = self._joint.predict(self._image(pixels), caption)
                views_of = predictions.unflatten(0, (-1, len(views)))
                rows.append(mean_direction(views_of.float()).cpu().numpy())
        return np.concatenate(rows) if rows else np.empty((0, self.dim), np.float32)

    @property
    def _joint(self) -> JointModel:
        joint = self._module["joint"]
        assert isinstance(joint, JointModel)
        return joint


def _listed(images: Picture | Iterable[Picture]) -> list[Picture]:
    return [images] if isinstance(images, str | Path | Image.Image) else list(images)


def _opened(picture: Picture) -> Image.Image:
    if isinstance(picture, Image.Image):
        return upright_rgb(picture)
    path = Path(picture)
    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise BadImage(f"cannot be read: {error.strerror or error}", str(path)) from None
    except BadImage as error:
        raise BadImage(error.reason, str(path)) from None
