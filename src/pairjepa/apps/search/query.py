"""What is asked of an index: words, a photograph, or both together, as one vector each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float32

from pairjepa.util.errors import UsageError
from pairjepa.util.unit import unit

if TYPE_CHECKING:
    from pairjepa.embedder.encoder import Encoder
    from pairjepa.pairs.pictures import Picture

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
    number = range(len(queries))
    words = [n for n in number if queries[n].image is None]
    images = [n for n in number if queries[n].words is None]
    both = [n for n in number if n not in words and n not in images]

    def of(rows: list[int], name: str) -> list[Any]:
        return [getattr(queries[n], name) for n in rows]

    if words:
        vectors[words] = encoder.encode_text(of(words, "words"))
    if images:
        vectors[images] = encoder.encode_image(of(images, "image"))
    if both and encoder.sees_captions:
        vectors[both] = encoder.predict(of(both, "image"), of(both, "words"))
    elif both:
        apart = encoder.encode_image(of(both, "image")), encoder.encode_text(of(both, "words"))
        vectors[both] = unit(np.add(*apart))
    if less := [n for n in number if queries[n].minus is not None]:
        difference = vectors[less] - encoder.encode_text(of(less, "minus"))
        if (np.linalg.norm(difference, axis=1) < SAME).any():
            raise UsageError("minus must be other words than the query, got the same. Leave it out.")
        vectors[less] = unit(difference)
    return vectors


def is_cut(encoder: "Encoder", words: str) -> bool:
    """Whether the text backbone takes only the beginning of the words: what is added to them changes nothing."""
    if len(words) <= SHORT:
        return False
    alone, longer = encoder.encode_text([words, f"{words} {words}"])
    return bool(np.allclose(alone, longer, atol=1e-6))
