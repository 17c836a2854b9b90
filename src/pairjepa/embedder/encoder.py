"""What turns images and captions into vectors of the shared space, whatever computes it."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pairjepa.util.progress import say

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float32
    from PIL import Image

    Picture = str | Path | Image.Image


class Encoder(Protocol):
    """A trained run, in use: `Embedder` with PyTorch, `OnnxEmbedder` without. Rows are float32 of unit norm."""

    @property
    def dim(self) -> int:
        """Width of the shared space."""

    @property
    def weights(self) -> str:
        """Digest of the run's weights; files made with them have the same."""

    @property
    def temperature(self) -> float:
        """The run's τ: cosines over it are the logits that it was trained with."""

    @property
    def min_decode_size(self) -> tuple[int, int]:
        """(width, height) that a JPEG need not be decoded above."""

    @property
    def sees_captions(self) -> bool:
        """Whether `predict` takes words beside the image (a masked run)."""

    def encode_image(self, images: "Picture | Iterable[Picture]") -> "Float32[np.ndarray, 'images dim']":
        """Predicted caption embeddings of paths or PIL images."""

    def encode_text(self, captions: str | Sequence[str]) -> "Float32[np.ndarray, 'captions dim']":
        """Embeddings of captions."""

    def predict(
        self, images: "Picture | Iterable[Picture]", captions: str | Sequence[str] | None = None
    ) -> "Float32[np.ndarray, 'images dim']":
        """Predicted embeddings of whole captions, from images and a part of each caption."""

    def unknown_share(self, captions: Sequence[str]) -> float:
        """The share of the captions' tokens that the text backbone does not know."""


def warn_of_unknown(encoder: Encoder, texts: Sequence[str], what: str) -> None:
    """Say how much of a query's words or of labels (`what`) is unknown to the run's text backbone."""
    if (share := encoder.unknown_share(texts)) > 0.05:
        say(
            f"warning: {share:.0%} of the {what}' tokens are unknown to the text backbone of this run, so that they "
            "say nothing to it. Use the language of its captions, or train a run with a multilingual encoder."
        )
