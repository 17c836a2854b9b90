"""What is forwarded for a shard of features: which batches, and where their features go.

A work holds no open file and no thread. It can be pickled, and sent to where a shard is computed; its backbone stays
behind (models of Transformers cannot be pickled once they have run): `dataclasses.replace(work, backbone=...)` there.

Axes: `batch`, `view`, `size` = side of the input in pixels, `width` = features, `row` = items times their parts.
"""

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Float32
from PIL import Image

from pairjepa.backbones.device import best_device
from pairjepa.backbones.image import ImageBackbone
from pairjepa.backbones.masking import Masking
from pairjepa.backbones.text import TextBackbone
from pairjepa.config.settings import View
from pairjepa.features.cache import HIDDEN_STATES
from pairjepa.features.engines import Engine, Inputs
from pairjepa.pairs.images import BadImage, reduction
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import chunk_size, digest
from pairjepa.util.threads import ahead

IMAGE_SHARD, IMAGE_BATCH = 512, 16
TEXT_SHARD, TEXT_BATCH = 4096, 64
"""Least items in a shard of features, and rows in a batch."""
GPU_BATCH = 256
"""Rows in a batch on a GPU."""
AHEAD = 4
"""Batches of images that are decoded before the backbone asks for them."""

Captions: TypeAlias = Sequence[str] | pa.Array | pa.ChunkedArray
Batches = Generator[tuple[Any, Inputs]]
"""The rows of a batch (a slice or their numbers), and the batch itself."""


@runtime_checkable
class Images(Protocol):
    """What is needed of `Pairs`."""

    @property
    def n_images(self) -> int:
        """Number of images."""

    @property
    def names(self) -> Sequence[str]:
        """Their names, for errors."""

    def image(self, row: int, draft: tuple[int, int] | None = None) -> Image.Image:
        """The picture of a row: RGB, upright, decoded no smaller than `draft`. Called from several threads."""

    def take(self, rows: np.ndarray) -> "Images":
        """These images alone, in this order."""


class Work(ABC):
    """One kind of features of some items, each known by its key."""

    kind: ClassVar[str]
    """For people."""
    side: ClassVar[Literal["image", "text"]]
    """Whose backbone it is."""
    dtype: ClassVar[str] = "float32"
    """Of the features."""
    backbone: Any
    """What is forwarded."""
    keys: np.ndarray
    """The items that are asked for, in order, with repetitions: bytes in ASCII, as millions of strings are large."""
    named_batch: int | None
    """Rows in a batch, where the user has said so."""

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "backbone": None}

    @property
    def shard(self) -> int:
        """Items in a shard."""
        least, parts = (IMAGE_SHARD, 1) if self.side == "image" else (TEXT_SHARD, self.parts)
        return chunk_size(len(self.keys) * parts, least) // parts

    @property
    def batch(self) -> int:
        """Rows in a batch."""
        usual = IMAGE_BATCH if self.side == "image" else TEXT_BATCH
        return self.named_batch or (GPU_BATCH if best_device().type == "cuda" else usual)

    @property
    def identity(self) -> dict[str, Any]:
        """What the features depend on, beside the engine; a batch that is named may change their last digits."""
        return self.made_of() | ({} if self.named_batch is None else {"batch": self.named_batch})

    @property
    def parts(self) -> int:
        """Rows of an item: its views or masks."""
        return math.prod(self.item_shape[: -len(self.row_shape)])

    @property
    @abstractmethod
    def item_shape(self) -> tuple[int, ...]:
        """Shape of the features of an item: (part, width) or (width,)."""

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of the features of a row."""
        return self.item_shape[-1:]

    @abstractmethod
    def made_of(self) -> dict[str, Any]:
        """What the features are of; JSON-ready."""

    @abstractmethod
    def part(self, items: list[str]) -> "Work":
        """What is needed for these items alone, to be sent elsewhere."""

    @abstractmethod
    def batches(self, items: Sequence[str]) -> Batches:
        """Batches of these items; row `i * parts + p` is part `p` of item `i`."""


@dataclass(frozen=True)
class ImageWork(Work):
    """All views of images; a view and its mirror are resized once, images of the same bytes forwarded once.

    Keys are those of `image_key`.
    """

    backbone: ImageBackbone
    pairs: Images
    views: tuple[View, ...]
    keys: np.ndarray
    """Of each row of `pairs`."""
    named_batch: int | None = None
    kind, side = "image", "image"

    @classmethod
    def of(
        cls,
        backbone: ImageBackbone,
        pairs: Images,
        facts: Any,
        views: Sequence[View],
        named_batch: int | None = None,
    ) -> "ImageWork":
        """All images of `pairs`; `facts` are their `ImageFacts`."""
        least = backbone.preprocessing.min_decode_size
        keys = [
            image_key(str(name), (int(width), int(height)), least, values is not None)
            for name, width, height, values in zip(
                facts.digest, facts.width, facts.height, facts.values, strict=True
            )
        ]
        return cls(backbone, pairs, tuple(views), np.array(keys, "S"), named_batch)

    @cached_property
    def rows(self) -> dict[str, int]:
        """Key → row in `pairs`, the first of equal images."""
        return {key: row for row, key in reversed(list(enumerate(strings(self.keys))))}

    @property
    def item_shape(self) -> tuple[int, ...]:
        """(view, width)."""
        return len(self.views), self.backbone.width

    def made_of(self) -> dict[str, Any]:
        """Backbone and views."""
        return {"kind": "image", "backbone": self.backbone.digest, "views": list(self.views)}

    def part(self, items: list[str]) -> "ImageWork":
        """These images alone."""
        pairs = self.pairs.take(np.array([self.rows[item] for item in items], np.int64))
        return replace(self, pairs=pairs, keys=np.array(items, "S"))

    def batches(self, items: Sequence[str]) -> Batches:
        """Each batch is of one view; images are decoded and resized in threads while others are forwarded."""
        batch = self.batch
        with closing(ahead(self._prepare, items, AHEAD * batch)) as prepared:
            for start in range(0, len(items), batch):
                pixels = np.stack([next(prepared) for _ in items[start : start + batch]])
                end = (start + len(pixels)) * self.parts
                for view in range(self.parts):
                    yield slice(start * self.parts + view, end, self.parts), (pixels[:, view],)

    def _prepare(self, item: str) -> np.ndarray:
        """All views of one image, (view, size, size, 3)."""
        row = self.rows[item]
        try:
            image = self.pairs.image(row, self.backbone.preprocessing.min_decode_size)
        except BadImage as error:
            raise PairJEPAError(
                f"Image {self.pairs.names[row]} must stay what it was when the images were counted, but it "
                f"{error.reason}. Put it back, or run the same command again to go on with what is there now."
            ) from None
        plain: dict[str, np.ndarray] = {}
        prepared = []
        for view in self.views:
            base: Any = view.removesuffix("-mirrored")
            if base not in plain:
                plain[base] = self.backbone.prepare(image, base)
            prepared.append(plain[base] if base == view else plain[base][:, ::-1])
        return np.stack(prepared)


@dataclass(frozen=True)
class TextWork(Work):
    """Captions; identical ones are forwarded once."""

    backbone: TextBackbone
    captions: Captions
    keys: np.ndarray
    """Of each caption."""
    named_batch: int | None = None
    kind, side = "text", "text"

    @classmethod
    def of(
        cls, backbone: TextBackbone, captions: Captions, named_batch: int | None = None, **more: Any
    ) -> "TextWork":
        """Captions, strings or an Arrow array of them; `more` is what a subclass has beside."""
        keys = (digest(str(caption).encode()) for caption in captions)
        return cls(backbone, captions, np.fromiter(keys, "S32", len(captions)), named_batch, **more)

    @cached_property
    def texts(self) -> dict[str, str]:
        """Key → caption."""
        return dict(zip(strings(self.keys), map(str, self.captions), strict=True))

    @property
    def item_shape(self) -> tuple[int, ...]:
        """(width,)."""
        return (self.backbone.width,)

    def made_of(self) -> dict[str, Any]:
        """The backbone."""
        return {"kind": self.kind, "backbone": self.backbone.digest}

    def part(self, items: list[str]) -> "TextWork":
        """These captions alone."""
        return replace(self, captions=[self.texts[item] for item in items], keys=np.array(items, "S"))

    def batches(self, items: Sequence[str]) -> Batches:
        """Captions of about the same length side by side, which saves padding."""
        ids = self._token_ids([self.texts[item] for item in items])
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        for start in range(0, len(ids), self.batch):
            chosen = order[start : start + self.batch]
            input_ids, mask = self.backbone.collate([ids[i] for i in chosen])
            yield chosen, (input_ids.numpy(), mask.numpy())

    def _token_ids(self, texts: list[str]) -> list[Any]:
        """A row each; the parts of a caption follow each other."""
        return list(self.backbone.tokenize(texts))


@dataclass(frozen=True)
class MaskedTextWork(TextWork):
    """Captions under a fixed pool of masks each; the masks of a caption depend on its tokens alone."""

    masking: Masking = field(kw_only=True)
    masks: int = field(kw_only=True)
    """Masks a caption."""
    kind = "masked text"

    @property
    def item_shape(self) -> tuple[int, ...]:
        """(mask, width)."""
        return self.masks, self.backbone.width

    def made_of(self) -> dict[str, Any]:
        """Backbone and masks."""
        masking = asdict(self.masking)
        if masking["mask_id"] is not None:
            del masking["mask_id"]  # the tokenizer's own, which is in the backbone's digest
        return super().made_of() | {"masking": masking, "masks": self.masks}

    def _token_ids(self, texts: list[str]) -> list[Any]:
        tokens = self.backbone.tokenize_words(texts)
        return [self.masking.masked(one, str(mask)) for one in tokens for mask in range(self.masks)]


@dataclass(frozen=True)
class StateWork(TextWork):
    """The hidden states of captions behind the lower layers of a text backbone; captions of a length side by side."""

    kind, dtype = HIDDEN_STATES, "float16"

    @classmethod
    def of(
        cls, backbone: TextBackbone, captions: Captions, named_batch: int | None = None, **more: Any
    ) -> "TextWork":
        """As of `TextWork`; `backbone`: `LowerLayers`."""
        work = super().of(backbone, captions, named_batch)
        lengths = dict(zip(work.texts, map(len, work._token_ids([*work.texts.values()])), strict=True))
        return work.part(sorted(strings(work.keys), key=lengths.__getitem__))

    @property
    def item_shape(self) -> tuple[int, ...]:
        """(token, width), of the longest caption that there can be."""
        return self.backbone.max_tokens, self.backbone.width

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The same: shorter ones leave its end."""
        return self.item_shape


def strings(keys: np.ndarray) -> list[str]:
    """Keys of items one by one."""
    found: list[str] = keys.astype(str).tolist()
    return found


def image_key(digest: str, size: tuple[int, int], least: tuple[int, int], deep: bool) -> str:
    """The key of an image, which says how it is decoded: no feature is taken for one of another decoding.

    Args:
        digest: of its bytes.
        size: (width, height) of the whole picture.
        least: it is decoded no smaller than that.
        deep: whether it has more than 8 bits, and is scaled by its own values, which 0.1 did not.
    """
    scale = reduction(size, least)
    return digest + (f"/{scale}" if scale > 1 else "") + ("/scaled" if deep else "")


class Interrupted(KeyboardInterrupt):
    """Ctrl-C within a shard, with the features of its first items."""

    def __init__(self, items: list[str], features: Float32[np.ndarray, "row width"]) -> None:
        super().__init__()
        self.items, self.features = items, features


def compute_shard(
    work: Work, engine: Engine, items: Sequence[str], advance: Callable[[int], None] = lambda items: None
) -> Float[np.ndarray, "item ..."]:
    """Features of these items, as `FeatureStore.write` takes them.

    Args:
        work: which features.
        engine: of `work.backbone`.
        items: keys, at most a shard of them.
        advance: told as items are done.

    Raises:
        PairJEPAError: an image cannot be read any more, or features are not finite.
    """
    rows: deque[Any] = deque()

    def inputs(batches: Batches) -> Iterator[Inputs]:
        for chosen, batch in batches:
            rows.append(chosen)
            yield batch

    features = np.zeros((len(items) * work.parts, *work.row_shape), work.dtype)
    done = longest = 0  # rows; of hidden states the tokens of the longest, of others the width
    try:
        with closing(work.batches(items)) as batches:
            for result in engine.results(inputs(batches)):
                longest = max(longest, result.shape[1])
                features[rows.popleft(), : result.shape[1]] = result
                done += len(result)
                advance(done // work.parts - (done - len(result)) // work.parts)
    except KeyboardInterrupt:
        whole = done // work.parts // work.batch * work.batch  # the next ones come in the same batches
        if work.side == "text" or not whole:  # whose rows do not come in order
            raise
        raise Interrupted(list(items[:whole]), features[: whole * work.parts]) from None
    if not np.isfinite(features).all():
        raise PairJEPAError(
            f"The {work.kind} backbone gives features that are not finite numbers. "
            f"Its weights or its preprocessing are damaged: choose another model.{work.side}."
        )
    parts = work.item_shape[: -len(work.row_shape)]
    return features[:, :longest].reshape(len(items), *parts, longest, *work.row_shape[1:])
