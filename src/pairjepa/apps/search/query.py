"""What is asked of an index: words, a photograph, or both together, as one vector each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float32

from pairjepa.util.errors import UsageError

if TYPE_CHECKING:
    from pairjepa.embedder.encoder import Encoder, Picture

SAME = 1e-3  # between the vectors of a query and of what is taken from it: only rounding would be left
SHORT = 100  # characters; fewer are asked without looking whether they are cut


@dataclass(frozen=True)
class Query:
    """Words, an image (a path or an open picture), or both; and words whose direction is taken from it.

    Raises:
        UsageError: it is neither, or words are empty.
    """

    words: str | None = None
    image: "Picture | None" = None
    minus: str | None = None

    def __post_init__(self) -> None:
        if self.words is not None and not self.words.strip():
            raise UsageError("The query must have words in it, got none. Say what is to be seen.")
        if self.minus is not None and not self.minus.strip():
            raise UsageError("minus must have words in it, got none. Say what is not to be seen.")
        if self.words is None and self.image is None:
            raise UsageError("The query must be words, an image or both, got neither.")

    @property
    def by(self) -> Literal["image"] | None:
        """What images are compared by where nobody says: an image finds itself first, words take all there is."""
        return None if self.image is None else "image"

    @property
    def plain_words(self) -> bool:
        """Whether it is words and nothing else."""
        return self.image is None and self.minus is None


def encode(encoder: "Encoder", queries: Sequence[Query]) -> Float32[np.ndarray, "queries dim"]:
    """Vectors of queries, those of one kind computed together.

    Words are what a caption is to the run, an image what its predicted caption is. Both together are the run's own
    query, this image and these words of its caption, if it is a masked one; for a contrastive run, which has never
    seen the two together, it is the direction half-way between them. With `minus` it is the direction of the
    difference of the two unit vectors.

    Raises:
        PairJEPAError: an image cannot be read; the message names it.
        UsageError: `minus` is the query itself.
    """
    vectors = np.empty((len(queries), encoder.dim), np.float32)
    asked = [(row, query.image, query.words) for row, query in enumerate(queries)]
    if words := [(row, words) for row, image, words in asked if image is None and words is not None]:
        rows, texts = zip(*words, strict=True)
        vectors[list(rows)] = encoder.encode_text(texts)
    if images := [(row, image) for row, image, words in asked if image is not None and words is None]:
        rows, pictures = zip(*images, strict=True)
        vectors[list(rows)] = encoder.encode_image(pictures)
    if both := [(row, i, w) for row, i, w in asked if i is not None and w is not None]:
        rows, pictures, texts = zip(*both, strict=True)
        vectors[list(rows)] = _together(encoder, pictures, texts)
    if less := [(row, query.minus) for row, query in enumerate(queries) if query.minus is not None]:
        rows, texts = zip(*less, strict=True)
        difference = vectors[list(rows)] - encoder.encode_text(texts)
        if (np.linalg.norm(difference, axis=1) < SAME).any():
            raise UsageError("minus must be other words than the query, got the same. Leave it out.")
        vectors[list(rows)] = _unit(difference)
    return vectors


def _together(encoder: "Encoder", pictures: Sequence["Picture"], texts: Sequence[str]) -> np.ndarray:
    if encoder.sees_captions:
        return encoder.predict(pictures, texts)
    return _unit(encoder.encode_image(pictures) + encoder.encode_text(texts))


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def is_cut(encoder: "Encoder", words: str) -> bool:
    """Whether the text backbone takes only the beginning of the words: what is added to them changes nothing."""
    if len(words) <= SHORT:
        return False
    alone, longer = encoder.encode_text([words, f"{words} {words}"])
    return bool(np.allclose(alone, longer, atol=1e-6))
