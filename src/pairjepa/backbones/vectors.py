"""Stand-ins for the backbones of a run on vectors that its user brings: what they are given are features already.

Axes: `batch`, `width` = numbers of a vector.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from PIL import Image
from torch import Tensor, nn

from pairjepa.backbones.image import ImageBackbone
from pairjepa.backbones.location import SIDES
from pairjepa.backbones.text import TextBackbone
from pairjepa.backbones.tiny import tiny_preprocessing
from pairjepa.config.recipes import ENCODERS
from pairjepa.config.settings import RunConfig, View, tuned
from pairjepa.pairs.sources import vectors
from pairjepa.pairs.table import Pairs
from pairjepa.pairs.vectors import INFO
from pairjepa.util.errors import PairJEPAError, UsageError
from pairjepa.util.files import digest

VECTORS = "vectors"
"""As `model.pair`: the data's vectors are those of a pretrained pair."""


class VectorImages(ImageBackbone):
    """Takes the vector out of the picture that was drawn of it."""

    def __init__(self, width: int) -> None:
        """`width`: numbers of a vector."""
        _be_nothing(self, width)
        self.pooled, self.stages, self.grid = width, (), None
        self.preprocessing = tiny_preprocessing()  # of which nothing is used

    def prepare(self, image: Image.Image, view: View) -> Float32[np.ndarray, " width"]:
        """The vector.

        Raises:
            UsageError: it is a picture, or a vector of another width.
        """
        vector: np.ndarray | None = image.info.get(INFO)
        if vector is None or len(vector) != self.width:
            got = "a picture" if vector is None else f"one of {len(vector):,}"
            raise UsageError(
                f"An image must be a vector of {self.width:,} numbers for this run, got {got}. It was trained on "
                "vectors: compute one in the same way, and give it as an array or a .npy file."
            )
        return vector

    def normalise(self, pixels: Tensor) -> Tensor:
        """As they are."""
        return pixels

    def forward(self, pixels: Tensor) -> Tensor:
        """As they are."""
        return pixels

    def positions(self, pixels: Tensor) -> Tensor:
        """There are none."""
        raise PairJEPAError("The images of this run are vectors, which have no positions.")


class VectorTexts(TextBackbone):
    """Takes vectors in the place of captions; of those in `known`, the caption is enough."""

    def __init__(self, width: int) -> None:
        """`width`: numbers of a vector."""
        _be_nothing(self, width)
        self.layers = ()
        self.known: dict[str, np.ndarray] = {}

    def rows(self, captions: Sequence[Any] | np.ndarray) -> Float32[np.ndarray, "batch width"]:
        """Vectors, one or several, or those of known captions.

        Raises:
            UsageError: words are asked whose vector nobody has given, or the width is another.
        """
        try:
            rows = [self.known[text] if isinstance(text, str) else np.asarray(text) for text in captions]
        except KeyError as error:
            raise UsageError(
                f"A text must be a vector of {self.width:,} numbers for this run, got {error}. It was trained on "
                "vectors and has no text encoder: compute one in the same way, and give it to encode_text."
            ) from None
        rows = [np.array(rows)] if {row.shape for row in rows} == {()} else rows  # a single vector
        if wrong := {row.shape for row in rows} - {(self.width,)}:
            raise UsageError(
                f"A text must be a vector of {self.width:,} numbers for this run, got {wrong.pop()}."
            )
        return np.array(rows, np.float32).reshape(len(rows), self.width)

    def tokenize(self, captions: list[str]) -> list[np.ndarray]:  # type: ignore[override]
        """The vectors of known captions."""
        return list(self.rows(captions))

    def collate(self, ids: list[np.ndarray]) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """One beside the other."""
        return torch.from_numpy(np.stack(ids)), torch.ones(len(ids), 1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """As they are."""
        return input_ids


def _be_nothing(backbone: ImageBackbone | TextBackbone, width: int) -> None:
    nn.Module.__init__(backbone)
    backbone.width, backbone.digest = width, digest("vectors", width)
    # others ask the first parameter where the backbone is
    backbone.nothing = nn.Parameter(torch.empty(0), requires_grad=False)
    backbone.eval()


def on_vectors(config: RunConfig, pairs: Pairs | None) -> RunConfig:
    """The configuration with no backbones, where the data are vectors.

    Args:
        config: of a run.
        pairs: its pairs; None looks at `config.data`.

    Raises:
        UsageError: it asks for a backbone, or for words.
    """
    source = config.data.source
    widths = pairs.vector_widths if pairs is not None else source and vectors.widths(source)
    model = config.model
    if not widths:
        if model.pair == VECTORS:
            raise UsageError(
                f"model.pair must be a folder or hub id where the data are images and captions, got {VECTORS!r}. "
                f"Name the pair (./{VECTORS} is a folder of that name), or give a file of vectors."
            )
        return config
    image, text = (f"{VECTORS}:{width}" for width in widths)
    names = {"image": image, "text": text}
    of_pair = model.pair in (VECTORS, image)
    if of_pair and image != text:
        raise UsageError(
            f"model.pair must be left out where images are vectors of {widths[0]:,} numbers and texts of "
            f"{widths[1]:,}: they are not of one space. Take the recipe contrastive or closed-form."
        )
    given = [
        side for side in SIDES if getattr(model, side) not in (None, ENCODERS[f"model.{side}"], names[side])
    ]
    for setting in (*(() if of_pair else ("model.pair",)), *(f"model.{side}" for side in given)):
        if (value := getattr(model, setting.removeprefix("model."))) is not None:
            raise UsageError(
                f"{setting} must be left out where the data are vectors, got {value!r}. Take the recipe contrastive "
                "or closed-form, or --model.pair vectors where both are of one space, such as CLIP's."
            )
    if config.context.caption is not None or any(tuned(model, side) for side in SIDES) or model.image_grid:
        raise UsageError(
            "The context must be the image alone and no backbone tuned where the data are vectors: a partly hidden "
            "caption needs words, and a text encoder. Take the recipe contrastive or closed-form."
        )
    encoders = {"pair": image} if of_pair else names
    return replace(config, model=replace(model, image_views=("whole",), **encoders))  # type: ignore[arg-type]


def check_exportable(image: ImageBackbone) -> None:
    """Raise `PairJEPAError` if there is nothing that encodes images."""
    if isinstance(image, VectorImages):
        raise PairJEPAError(
            "A run on vectors has no encoders to export. Share its folder, which holds the heads."
        )
