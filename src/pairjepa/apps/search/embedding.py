"""Vectors of images and captions for an index: from features that a training has left in the cache, else computed."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from PIL import Image

from pairjepa.apps.search.loading import Loaded
from pairjepa.apps.search.sources import Entry
from pairjepa.config.settings import tuned
from pairjepa.embedder.embedder import Embedder
from pairjepa.features.cache import FeatureStore
from pairjepa.features.engines import Engine, choice
from pairjepa.features.work import ImageWork, TextWork, Work, compute_shard, image_key, strings
from pairjepa.pairs.images import decode

FEW = 64
"""Images for which the cache is not looked at: each of its files is read, to be sure that it is sound."""


@dataclass(frozen=True)
class Pictures:
    """Pictures as `ImageWork` takes them: in memory, or entries that are read where they are forwarded."""

    images: Sequence[Image.Image | Entry]
    names: Sequence[str]

    @property
    def n_images(self) -> int:
        """How many."""
        return len(self.images)

    def image(self, row: int, draft: tuple[int, int] | None = None) -> Image.Image:
        """One of them."""
        one = self.images[row]
        return decode(one.read(), draft=draft) if isinstance(one, Entry) else one

    def take(self, rows: np.ndarray) -> "Pictures":
        """These alone."""
        return Pictures([self.images[row] for row in rows], [self.names[row] for row in rows])


class Embedding:
    """What makes vectors for an index.

    Args:
        embedder: the run.
        engine: what forwards the backbones, one of `engines.ENGINES` or `auto`: see `choice.choose`.
        images: how many are to come.
        captions: how many are to come.
        cache: root of the cache; without one, nothing is looked up.
    """

    def __init__(
        self, embedder: Embedder, engine: str, *, images: int, captions: int, cache: Path | None = None
    ) -> None:
        self.embedder, self._engine = embedder, engine
        self._expected = {"image": images, "text": captions}
        self._cache = cache if images >= FEW else None
        self._stores: dict[str, list[FeatureStore]] = {}
        self._engines: dict[str, Engine] = {}

    @property
    def min_decode_size(self) -> tuple[int, int]:
        """(width, height) that a JPEG need not be decoded above."""
        return self.embedder.min_decode_size

    def images(self, images: Sequence[Loaded]) -> Float32[np.ndarray, "images dim"]:
        """Predicted caption embeddings; all of them are decoded.

        Raises:
            PairJEPAError: features are not finite, or a named engine is not installed or does not agree with PyTorch.
        """
        work = self._image_work(images, [one.image for one in images if one.image is not None])
        return self.embedder.predict_features(self._features(work))

    def images_on_ray(self, batches: Iterable[list[Loaded]]) -> Generator[list[Loaded]]:
        """Images with vectors, for which the workers of Ray compute the features; those that are not decoded as given.

        Raises:
            PairJEPAError: as `features.on_ray.computed`.
        """
        from pairjepa.features.on_ray import computed

        def parts() -> Iterator[tuple[tuple[list[Loaded], list[Loaded]], Work]]:
            for batch in batches:
                new = [one for one in batch if one.image is not None]
                work = self._image_work(new, [one.entry.sent() for one in new])
                others = [one for one in batch if one.image is None]
                yield ([replace(one, image=None) for one in new], others), work

        with closing(computed(self.embedder.image, parts())) as done:
            for (new, others), features in done:
                vectors = self.embedder.predict_features(features) if new else ()
                yield [*others, *(replace(one, vector=v) for one, v in zip(new, vectors, strict=True))]

    def _image_work(self, images: Sequence[Loaded], pictures: Sequence[Image.Image | Entry]) -> ImageWork:
        keys = [
            image_key(
                one.digest,
                one.size,
                self.min_decode_size,
                one.image is not None and "values" in one.image.info,
            )
            for one in images
        ]
        return ImageWork(
            self.embedder.image,
            Pictures(pictures, [one.entry.name for one in images]),
            self.embedder.config.model.image_views,
            np.array(keys, "S"),
            self.embedder.config.model.feature_batch,
        )

    def captions(self, captions: Sequence[str]) -> Float32[np.ndarray, "captions dim"]:
        """Embeddings of captions.

        Raises:
            PairJEPAError: as `images`.
        """
        if not captions:
            return np.empty((0, self.embedder.dim), np.float32)
        batch = self.embedder.config.model.feature_batch
        return self.embedder.target_features(self._features(TextWork.of(self.embedder.text, captions, batch)))

    def _features(self, work: Work) -> Float32[np.ndarray, "item ..."]:
        asked = strings(work.keys)
        keys = list(dict.fromkeys(asked))
        place = {key: row for row, key in enumerate(keys)}
        features = np.empty((len(keys), *work.item_shape), np.float32)
        for store in self._kept(work):
            held = store.holds(keys)
            there = list(compress(keys, held))
            features[[place[key] for key in there]] = store.table(there).gather(np.arange(len(there)))
            keys = list(compress(keys, ~held))
        for start in range(0, len(keys), work.shard):
            some = keys[start : start + work.shard]
            features[[place[key] for key in some]] = compute_shard(work, self._made(work, some), some)
        return features[[place[key] for key in asked]]

    def _kept(self, work: Work) -> list[FeatureStore]:
        """Stores of the untrained backbone's features; a tuned one's are nowhere."""
        if self._cache is None or tuned(self.embedder.config.model, work.side):
            return []
        if work.side not in self._stores:
            self._stores[work.side] = [*choice.stores(work, self._cache).values()]
        return self._stores[work.side]

    def _made(self, work: Work, items: Sequence[str]) -> Engine:
        if work.side not in self._engines:
            named = self._engine != "auto"
            name = self._engine if named else choice.choose(work, self._expected[work.side])
            if name == "onnx":
                work.backbone.to("cpu")
            _, self._engines[work.side] = choice.ready(name, work, items, named)
        return self._engines[work.side]
