"""The HTTP side: operations, and which status each mistake has. docs/serve.md says what there is."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, TypeVar

import numpy as np
from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Form, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from PIL import Image
from starlette.exceptions import HTTPException

import pairjepa
from pairjepa.apps.labels.labels import Labels, split_labels
from pairjepa.apps.search import query
from pairjepa.apps.serve import schema
from pairjepa.apps.serve.batching import Batcher
from pairjepa.apps.serve.current import Current
from pairjepa.apps.serve.guard import Guard
from pairjepa.apps.serve.page import add_page
from pairjepa.apps.serve.schema import LabelProbabilities, Listing, Results, problems
from pairjepa.pairs.images import BadImage, decode, media_type
from pairjepa.util.errors import PairJEPAError, UsageError
from pairjepa.util.progress import say

if TYPE_CHECKING:
    from pairjepa.apps.search import Index
    from pairjepa.embedder.encoder import Encoder

T = TypeVar("T")

QUEUE = 64
MAX_UPLOAD = 10_000_000
MAX_LABELS = 100
DECODERS = 2
"""Uploads decoded at once, each in `MEMORY`."""
MEMORY = 256_000_000
"""Bytes that decoding may take: 64 megapixels of PNG or BMP, 40 to 80 of JPEG, 12 of WebP or AVIF."""
ENOUGH_PIXELS = 4_000_000
"""What is kept of a larger picture while it waits: many times what any encoder takes in."""
KEPT = {"Cache-Control": "private, max-age=3600"}


def create_app(
    index: "Index",
    encoder: "Encoder",
    *,
    host: str = "localhost",
    queue: int = QUEUE,
    max_upload: int = MAX_UPLOAD,
) -> FastAPI:
    """The application over one index.

    Args:
        index: what is searched.
        encoder: `index.encoder()`.
        host: a name that it is reached by, beside localhost and numeric addresses.
        queue: how many requests may wait for the encoder; beyond it they are refused with 503.
        max_upload: bytes of the largest request.
    """
    batcher, current = Batcher(encoder, queue), Current(index)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await current.settled()
        batcher.close()

    app = FastAPI(
        title="PairJEPA",
        summary="Search images by words, by a picture, or by both.",
        version=pairjepa.__version__,
        docs_url=None,  # FastAPI's own load their scripts from elsewhere; add_page has one that does not
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(Guard, host=host, max_body=max_upload)
    _answer_mistakes(app)
    operations = _Operations(encoder, batcher, current, max_upload)
    picture = {200: {"content": {"image/*": {}}, "description": "A picture."}} | problems(404, 503)
    asked, of_image = problems(422, 503), problems(404, 422, 503)
    get, post = app.get, app.post
    get("/api/images", responses=asked)(operations.images)
    get("/api/images/{id}", responses=picture, response_class=Response)(operations.image)
    get("/api/images/{id}/original", responses=picture, response_class=Response)(operations.original)
    get("/api/search", responses=asked)(operations.search)
    post("/api/search", responses=asked)(operations.search_by_picture)
    get("/api/similar/{id}", responses=of_image)(operations.similar)
    post("/api/label", responses=asked)(operations.label)
    get("/api/label/{id}", responses=of_image)(operations.label_image)
    get("/healthz", responses=problems(503))(operations.healthz)
    add_page(app)
    return app


class _Operations:
    """What can be asked; nothing of it is computed on the event loop. The docstrings are shown at /docs."""

    def __init__(self, encoder: "Encoder", batcher: Batcher, current: Current, max_upload: int) -> None:
        self._batcher, self._current, self._max_upload = batcher, current, max_upload
        self._min_decode_size = encoder.min_decode_size
        self._decoders = CapacityLimiter(DECODERS)
        self._labels = lru_cache(16)(partial(Labels, encoder))

    async def images(self, query: Annotated[schema.Some, Query()]) -> Listing:
        """Some images, evenly spread over the index."""
        some = await to_thread.run_sync(self._current.look().spread, query.k)
        return Listing.model_validate({"results": some}, from_attributes=True)

    async def image(self, id: str) -> Response:
        """A picture of an image of the index, at most 256 pixels a side."""
        small = await self._of_image(self._current.look().thumbnail, id)
        return Response(small, media_type="image/jpeg", headers=KEPT)

    async def original(self, id: str) -> Response:
        """The file of an image as it was indexed; the small picture where that is gone or changed, or in a table."""
        index = self._current.look()
        small = await self._of_image(index.thumbnail, id)
        data = await to_thread.run_sync(index.original, id, limiter=self._decoders)
        kind = "image/jpeg" if data is None else media_type(data)
        return Response(small if data is None else data, media_type=kind, headers=KEPT)

    async def search(self, query: Annotated[schema.WordsQuery, Query()]) -> Results:
        """Images, or captions, that words fit best."""
        return await self._search(query.q, None, query.minus, query, query.threshold)

    async def search_by_picture(
        self, form: Annotated[schema.SearchForm, Form(media_type="multipart/form-data")]
    ) -> Results:
        """Images, or captions, that a picture fits best, or a picture and words together."""
        if form.q is None and form.image is None:
            raise UsageError("The query must be words (q), a picture (image) or both, got neither.")
        upload = None if form.image is None else form.image.file
        return await self._search(form.q, upload, form.minus, form)

    async def similar(self, id: str, choice: Annotated[schema.Choice, Query()]) -> Results:
        """Images most like one of the index, without itself; or the captions that fit it best."""
        vector = await self._of_image(self._current.look().vector, id)
        exclude = id if choice.of == "images" else None
        return await self._nearest(vector, choice, by=choice.by or "image", words=False, exclude=exclude)

    async def label(
        self, form: Annotated[schema.LabelForm, Form(media_type="multipart/form-data")]
    ) -> LabelProbabilities:
        """Which of some labels fits a picture, and how likely each is if one is right."""
        names = _names(form.labels)
        async with self._batcher.place():
            picture = await self._decoded(form.image.file)
            return await self._label(await self._batcher.encode(query.Query(image=picture)), names)

    async def label_image(self, id: str, query: Annotated[schema.LabelQuery, Query()]) -> LabelProbabilities:
        """Which of some labels fits an image of the index."""
        names = _names(query.labels)
        vector = await self._of_image(self._current.look().vector, id)
        async with self._batcher.place():
            return await self._label(vector, names)

    async def healthz(self) -> schema.Health:
        """Whether the server answers, and what from."""
        index = self._current.look()
        return schema.Health(images=len(index), captions=index.has_captions, max_upload=self._max_upload)

    async def _search(
        self,
        words: str | None,
        upload: BinaryIO | None,
        minus: str | None,
        choice: schema.Choice,
        threshold: float | None = None,
    ) -> Results:
        async with self._batcher.place():
            picture = None if upload is None else await self._decoded(upload)
            asked = query.Query(words, picture, minus)
            vector = await self._batcher.encode(asked)
        if choice.of == "captions" or not asked.plain_words:
            threshold = None
        how = {"by": choice.by or asked.by, "words": asked.plain_words, "threshold": threshold}
        return await self._nearest(vector, choice, **how)

    async def _nearest(self, vector: np.ndarray, choice: schema.Choice, **how: Any) -> Results:
        search = partial(self._current.look().search, vector, choice.k, where=choice.where, of=choice.of)
        hits = await to_thread.run_sync(partial(search, **how))
        return Results.model_validate({"results": hits}, from_attributes=True)

    async def _label(self, vector: np.ndarray, names: tuple[str, ...]) -> LabelProbabilities:
        labels = await self._batcher.run(partial(self._labels, names))
        (likely,) = labels.probabilities(vector[None])
        best = np.argsort(-likely, kind="stable")
        return LabelProbabilities(
            labels=[schema.LabelProbability(label=labels.labels[at], probability=likely[at]) for at in best]
        )

    async def _decoded(self, upload: BinaryIO) -> Image.Image:
        return await to_thread.run_sync(read_picture, upload, self._min_decode_size, limiter=self._decoders)

    async def _of_image(self, get: Callable[[str], T | None], id: str) -> T:
        """What the index has of an image."""
        if (found := await to_thread.run_sync(get, id)) is None:
            raise HTTPException(404, "No image of the index has this id. Ids are what a search gives.")
        return found


def _names(labels: str) -> tuple[str, ...]:
    names = tuple(split_labels(labels))
    if len(names) > MAX_LABELS:
        raise UsageError(f"labels must be at most {MAX_LABELS}, got {len(names)}.")
    return names


def read_picture(file: BinaryIO, draft: tuple[int, int]) -> Image.Image:
    """An uploaded picture as upright RGB, reduced by a whole factor to about `ENOUGH_PIXELS`.

    Args:
        file: what was sent.
        draft: the encoder's `min_decode_size`: a JPEG is decoded as the library decodes it.

    Raises:
        BadImage: empty, damaged, no picture at all, or too large.
    """
    try:
        return decode(file.read(), draft=draft, pixels=ENOUGH_PIXELS, memory=MEMORY)
    except BadImage as error:
        raise BadImage(
            f"{error.reason}. Send a smaller copy" if "too large" in error.reason else error.reason
        ) from None


def _answer_mistakes(app: FastAPI) -> None:
    """Every mistake is `{"detail": sentence}`, and no words of ours but these reach a client."""

    def damaged(error: PairJEPAError) -> str:
        say(f"error: {error}")
        return "The index cannot be read. What is wrong stands where the server was started."

    def answer(kind: type[Exception], status: int, detail: Callable[[Any], str]) -> None:
        async def refuse(_: Request, error: Exception) -> JSONResponse:
            return JSONResponse({"detail": detail(error)}, status)

        app.add_exception_handler(kind, refuse)

    async def nothing_there(_: Request, error: Any) -> JSONResponse:
        words = {
            "Not Found": "Nothing is at this address. /docs lists what can be asked.",
            "Method Not Allowed": "This address is asked by another method. /docs says by which.",
        }
        return JSONResponse(
            {"detail": words.get(error.detail, error.detail)}, error.status_code, error.headers
        )

    app.add_exception_handler(HTTPException, nothing_there)
    answer(RequestValidationError, 422, lambda error: schema.sentence(error.errors()))
    answer(UsageError, 422, str)
    answer(BadImage, 422, lambda error: f"image: {error.reason}.")
    answer(PairJEPAError, 500, damaged)
