"""The HTTP side: routes, what they answer, and which status each mistake has. docs/serve.md says what there is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

from fastapi import FastAPI, Form, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

import pairjepa
from pairjepa.apps.serve import schema
from pairjepa.apps.serve.batching import Busy
from pairjepa.apps.serve.guard import Guard
from pairjepa.apps.serve.page import add_page
from pairjepa.apps.serve.schema import LabelNames, LabelProbabilities, Results, problems
from pairjepa.apps.serve.service import Replaced, Service, UnknownImage
from pairjepa.pairs.images import BadImage
from pairjepa.util.errors import PairJEPAError, UsageError
from pairjepa.util.progress import say

if TYPE_CHECKING:
    from pairjepa.apps.search import Hit, Index
    from pairjepa.embedder.encoder import Encoder

QUEUE = 64
MAX_UPLOAD = 10_000_000


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
    service = Service(index, encoder, queue)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service:
            yield

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
    _add_images(app, service)
    _add_search(app, service)
    _add_labels(app, service)

    @app.get("/healthz", responses=problems(503))
    async def healthz() -> schema.Health:
        """Whether the server answers, and what from."""
        service.look()
        index = service.index
        return schema.Health(images=len(index), captions=index.has_captions, max_upload=max_upload)

    add_page(app)
    return app


PICTURE: dict[int | str, dict[str, object]] = {200: {"content": {"image/*": {}}, "description": "A picture."}}
KEPT = {"Cache-Control": "private, max-age=3600"}


def _add_images(app: FastAPI, service: Service) -> None:
    @app.get("/api/images", responses=problems(422, 503))
    async def images(k: Annotated[schema.K, Query()] = 24) -> schema.Listing:
        """Some images, evenly spread over the index."""
        return schema.Listing(
            results=[
                schema.Listed(id=item.id, name=item.name, captions=list(item.captions))
                for item in await service.spread(k)
            ]
        )

    @app.get("/api/images/{id}", response_class=Response, responses=PICTURE | problems(404, 503))
    async def image(id: str) -> Response:
        """A picture of an image of the index, at most 256 pixels a side."""
        return Response(await service.thumbnail(id), media_type="image/jpeg", headers=KEPT)

    @app.get("/api/images/{id}/original", response_class=Response, responses=PICTURE | problems(404, 503))
    async def original(id: str) -> Response:
        """The file of an image as it was indexed; the small picture where that is gone or changed, or in a table."""
        picture, kind = await service.original(id)
        return Response(picture, media_type=kind, headers=KEPT)


def _add_search(app: FastAPI, service: Service) -> None:
    @app.get("/api/search", responses=problems(422, 503))
    async def search(query: Annotated[schema.WordsQuery, Query()]) -> Results:
        """Images, or captions, that words fit best."""
        return _results(await service.search(query.q, None, query.minus, query, query.threshold))

    @app.post("/api/search", responses=problems(422, 503))
    async def search_by_picture(
        form: Annotated[schema.SearchForm, Form(media_type="multipart/form-data")],
    ) -> Results:
        """Images, or captions, that a picture fits best, or a picture and words together."""
        if form.q is None and form.image is None:
            raise UsageError("The query must be words (q), a picture (image) or both, got neither.")
        upload = None if form.image is None else form.image.file
        return _results(await service.search(form.q, upload, form.minus, form))

    @app.get("/api/similar/{id}", responses=problems(404, 422, 503))
    async def similar(id: str, choice: Annotated[schema.Choice, Query()]) -> Results:
        """Images most like one of the index, without itself; or the captions that fit it best."""
        return _results(await service.similar(id, choice))


def _add_labels(app: FastAPI, service: Service) -> None:
    @app.post("/api/label", responses=problems(422, 503))
    async def label(
        form: Annotated[schema.LabelForm, Form(media_type="multipart/form-data")],
    ) -> LabelProbabilities:
        """Which of some labels fits a picture, and how likely each is if one is right."""
        return _labels(await service.label_upload(form.image.file, form.labels))

    @app.get("/api/label/{id}", responses=problems(404, 422, 503))
    async def label_image(id: str, labels: Annotated[LabelNames, Query()]) -> LabelProbabilities:
        """Which of some labels fits an image of the index."""
        return _labels(await service.label_image(id, labels))


def _answer_mistakes(app: FastAPI) -> None:
    """Every mistake is `{"detail": sentence}`, and no words of ours but these reach a client."""

    def refuse(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
        return JSONResponse({"detail": detail}, status, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return refuse(422, schema.sentence(error.errors()))

    @app.exception_handler(UsageError)
    async def wrong(_: Request, error: UsageError) -> JSONResponse:
        return refuse(422, str(error))

    @app.exception_handler(BadImage)
    async def no_picture(_: Request, error: BadImage) -> JSONResponse:
        return refuse(422, f"image: {error.reason}.")

    @app.exception_handler(UnknownImage)
    async def nowhere(_: Request, error: UnknownImage) -> JSONResponse:
        return refuse(404, str(error))

    @app.exception_handler(Busy)
    async def busy(_: Request, error: Busy) -> JSONResponse:
        return refuse(503, str(error), {"Retry-After": str(error.retry_after)})

    @app.exception_handler(Replaced)
    async def replaced(_: Request, error: Replaced) -> JSONResponse:
        return refuse(503, str(error))

    @app.exception_handler(PairJEPAError)
    async def damaged(_: Request, error: PairJEPAError) -> JSONResponse:
        say(f"error: {error}")
        return refuse(500, "The index cannot be read. What is wrong stands where the server was started.")

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> JSONResponse:
        return refuse(error.status_code, error.detail, dict(error.headers or {}))


def _results(hits: list["Hit"]) -> Results:
    return Results(
        results=[
            schema.Result(
                id=hit.id,
                name=hit.name,
                score=hit.score,
                probability=hit.probability,
                captions=list(hit.captions),
            )
            for hit in hits
        ]
    )


def _labels(labels: list[tuple[str, float]]) -> LabelProbabilities:
    return LabelProbabilities(
        labels=[schema.LabelProbability(label=label, probability=likely) for label, likely in labels]
    )
