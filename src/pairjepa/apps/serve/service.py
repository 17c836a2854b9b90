"""What the server does, without HTTP: searches and labels over one index, nothing of it on the event loop."""

import asyncio
from functools import lru_cache, partial
from math import inf
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from anyio import CapacityLimiter, to_thread
from PIL import Image

from pairjepa.apps.labels.labels import Labels, split_labels
from pairjepa.apps.search.query import Query
from pairjepa.apps.serve.batching import Batcher
from pairjepa.apps.serve.schema import Choice
from pairjepa.apps.serve.uploads import read_picture
from pairjepa.pairs.images import media_type
from pairjepa.util.errors import PairJEPAError, UsageError
from pairjepa.util.progress import say

if TYPE_CHECKING:
    from jaxtyping import Float32

    from pairjepa.apps.search import Hit, Index
    from pairjepa.apps.search.index import Item
    from pairjepa.embedder.encoder import Encoder

LOOK = 1.0
"""Seconds after which the index is looked at again, if someone asks; on object storage each look costs a request."""

MAX_LABELS = 100
DECODERS = 2
"""Uploads decoded at once, each in `uploads.MEMORY`."""


class UnknownImage(Exception):
    """No image of the index has this id."""

    def __init__(self) -> None:
        super().__init__("No image of the index has this id. Ids are what a search gives.")


class Replaced(Exception):
    """Another run's index lies where that of the encoder was: what is asked would be compared with other vectors."""

    def __init__(self) -> None:
        super().__init__("The index was replaced by that of another run. The server must be started again.")


class Service:
    """Searches and labels. An asynchronous context manager, for the event loop that serves.

    Args:
        index: what is searched.
        encoder: the index's.
        queue: how many requests may wait for the encoder.
    """

    def __init__(self, index: "Index", encoder: "Encoder", queue: int) -> None:
        self.index = index
        self._looking: asyncio.Task[None] | None = None
        self._looked = -inf
        self._lost = ""
        self._replaced = False
        self._batcher, self._min_decode_size = Batcher(encoder, queue), encoder.min_decode_size
        self._decoders = CapacityLimiter(DECODERS)
        self._labels = lru_cache(16)(partial(Labels, encoder))

    async def __aenter__(self) -> "Service":
        await self._batcher.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._looking is not None:
            await self._looking
        await self._batcher.__aexit__(*error)

    def look(self) -> None:
        """Take up what was indexed since, beside the requests; those that come meanwhile are answered as before.

        An index that cannot be read any more is said once, and the one that is in memory goes on answering.

        Raises:
            Replaced: it is that of another run now.
        """
        idle = self._looking is None or self._looking.done()
        if idle and asyncio.get_running_loop().time() >= self._looked + LOOK:
            self._looking = asyncio.create_task(self._look())
        if self._replaced:
            raise Replaced

    async def _look(self) -> None:
        try:
            found = await to_thread.run_sync(self.index.refreshed)
            if replaced := found.meta.digest != self.index.meta.digest:
                if not self._replaced:
                    say(f"{found.path} was replaced by the index of another run. Start the server again.")
            else:
                self.index = found
            self._replaced, self._lost = replaced, ""
        except PairJEPAError as error:
            if self._lost != (lost := str(error)):
                say(f"What was indexed since cannot be read: {lost}")
            self._lost = lost
        finally:
            self._looked = asyncio.get_running_loop().time()

    async def search(
        self,
        words: str | None,
        upload: BinaryIO | None,
        minus: str | None,
        choice: Choice,
        threshold: float | None = None,
    ) -> list["Hit"]:
        """The best for words, a picture, or both, without what `minus` says.

        Raises:
            Busy: the queue is full.
            BadImage: the upload is no picture.
            UsageError: the condition cannot be; there are no captions.
        """
        async with self._batcher.place():
            picture = None if upload is None else await self._decoded(upload)
            query = Query(words, picture, minus)
            vector = await self._batcher.encode(query)
        if choice.of == "captions" or not query.plain_words:
            threshold = None
        return await self._nearest(
            vector, choice, by=choice.by or query.by, words=query.plain_words, threshold=threshold
        )

    async def similar(self, id: str, choice: Choice) -> list["Hit"]:
        """The images nearest to an image of the index, without itself; or the captions nearest to it.

        Raises:
            UnknownImage: there is no such image.
            UsageError: as `search`.
        """
        vector = await self._vector(id)
        return await self._nearest(
            vector,
            choice,
            by=choice.by or "image",
            words=False,
            exclude=id if choice.of == "images" else None,
        )

    async def label_upload(self, upload: BinaryIO, labels: str) -> list[tuple[str, float]]:
        """Labels of an uploaded picture with their probabilities, best first.

        Raises:
            Busy: the queue is full.
            BadImage: the upload is no picture.
            UsageError: the labels cannot be.
        """
        names = _names(labels)
        async with self._batcher.place():
            vector = await self._batcher.encode(Query(image=await self._decoded(upload)))
            return await self._labelled(vector, names)

    async def label_image(self, id: str, labels: str) -> list[tuple[str, float]]:
        """Labels of an image of the index, as `label_upload`.

        Raises:
            UnknownImage: there is no such image.
        """
        names = _names(labels)
        vector = await self._vector(id)
        async with self._batcher.place():
            return await self._labelled(vector, names)

    async def spread(self, k: int) -> list["Item"]:
        """About `k` images, evenly spread over the index."""
        self.look()
        return await to_thread.run_sync(self.index.spread, k)

    async def original(self, id: str) -> tuple[bytes, str]:
        """An image's file and its media type, if it is still the one that was indexed; else its small copy.

        Raises:
            UnknownImage: there is no such image.
        """
        small = await self.thumbnail(id)
        data = await to_thread.run_sync(self.index.original, id, limiter=self._decoders)
        return (small, "image/jpeg") if data is None else (data, media_type(data))

    async def thumbnail(self, id: str) -> bytes:
        """A small JPEG of an image of the index.

        Raises:
            UnknownImage: there is no such image.
        """
        self.look()
        picture = await to_thread.run_sync(self.index.thumbnail, id)
        if picture is None:
            raise UnknownImage
        return picture

    async def _decoded(self, upload: BinaryIO) -> Image.Image:
        return await to_thread.run_sync(read_picture, upload, self._min_decode_size, limiter=self._decoders)

    async def _vector(self, id: str) -> "Float32[np.ndarray, ' dim']":
        self.look()
        vector = await to_thread.run_sync(self.index.vector, id)
        if vector is None:
            raise UnknownImage
        return vector

    async def _nearest(self, vector: np.ndarray, choice: Choice, **how: Any) -> list["Hit"]:
        self.look()
        search = partial(self.index.search, vector, choice.k, where=choice.where, of=choice.of, **how)
        return await to_thread.run_sync(search)

    async def _labelled(self, vector: np.ndarray, names: tuple[str, ...]) -> list[tuple[str, float]]:
        known = await self._batcher.run(partial(self._labels, names))
        (likely,) = known.probabilities(vector[None])
        return [(known.labels[at], float(likely[at])) for at in np.argsort(-likely, kind="stable")]


def _names(labels: str) -> tuple[str, ...]:
    names = tuple(split_labels(labels))
    if len(names) > MAX_LABELS:
        raise UsageError(f"labels must be at most {MAX_LABELS}, got {len(names)}.")
    return names
