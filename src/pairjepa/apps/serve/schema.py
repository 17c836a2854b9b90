"""What goes over the wire: parameters with their limits, forms, and answers."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import UploadFile
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

NO_SPACE = r"[^\s\x1c-\x1f\x85]"
"""At least one character that Python, too, takes for no white space."""

Words = Annotated[str, Field(max_length=1000, pattern=NO_SPACE, description="What the picture should show.")]
Minus = Annotated[
    str,
    Field(
        max_length=1000,
        pattern=NO_SPACE,
        description="What it should not show: other words, whose direction is taken from the query's.",
        json_schema_extra={"format": "minus"},
    ),
]
Threshold = Annotated[
    float, Field(ge=0, le=1, description="Least probability of an image that is found by words alone.")
]
K = Annotated[int, Field(ge=1, le=100, description="How many results.")]
Where = Annotated[
    str,
    Field(
        max_length=1000,
        description="A condition on columns of the images, such as split = 'test' AND width > 500.",
        json_schema_extra={"format": "condition"},
    ),
]
Of = Annotated[
    Literal["images", "captions"],
    Field(description="What is searched: images, or the captions that came with them."),
]
By = Annotated[
    Literal["image", "caption", "both"],
    Field(
        description="What of an image is compared: itself, the captions that it came with, or both. "
        "Left out: both for words, where there are captions, and itself for a picture."
    ),
]
PICTURE = Field(
    description="A picture: JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000 or PPM.",
    json_schema_extra={"format": "picture"},
)
LabelNames = Annotated[
    str,
    Field(
        max_length=2000,
        description="Two to 100 labels, separated by commas.",
        json_schema_extra={"format": "labels"},
    ),
]


class Asked(BaseModel):
    """Parameters: a misspelt one is refused."""

    model_config = ConfigDict(extra="forbid")


class Some(Asked):
    """Some images."""

    k: K = 24


class Choice(Asked):
    """Which results of a search."""

    k: K = 10
    by: By | SkipJsonSchema[None] = None
    where: Where | SkipJsonSchema[None] = None
    of: Annotated[Of, Field(alias="in")] = "images"


class WordsQuery(Choice):
    """Words, and how they are searched for."""

    q: Words
    minus: Minus | SkipJsonSchema[None] = None
    threshold: Threshold | SkipJsonSchema[None] = None


class SearchForm(Choice):
    """A picture, words, or both together."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["image"]}, {"required": ["q"]}]})

    image: Annotated[UploadFile | SkipJsonSchema[None], PICTURE] = None
    q: Words | SkipJsonSchema[None] = None
    minus: Minus | SkipJsonSchema[None] = None


class LabelQuery(Asked):
    """The labels to choose from."""

    labels: LabelNames


class LabelForm(LabelQuery):
    """A picture and the labels to choose from."""

    image: Annotated[UploadFile, PICTURE]


class Listed(BaseModel):
    """One image of the index."""

    id: str
    """`/api/images/{id}` is its picture."""
    name: str
    captions: list[str]
    """The image's; in a search of captions, the one that was found."""


class Listing(BaseModel):
    """Some images of the index."""

    results: list[Listed]


class Result(Listed):
    """One image that was found."""

    score: float
    """Cosine with the query, corrected for hubs where that helps: a float32, written without loss."""
    probability: float | None
    """That it is the image which the words describe, if one of the index is; null of other searches."""


class Results(BaseModel):
    """Best first."""

    results: list[Result]


class LabelProbability(BaseModel):
    """One label of those that were given."""

    label: str
    probability: float


class LabelProbabilities(BaseModel):
    """Best first; the probabilities sum to 1."""

    labels: list[LabelProbability]


class Health(BaseModel):
    """The server answers, and what from."""

    status: Literal["ok"] = "ok"
    images: int
    captions: bool
    """Whether the index has captions to search in."""
    max_upload: int
    """Bytes of the largest request."""


class Problem(BaseModel):
    """Why a request was refused, in a sentence."""

    detail: str


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals that an operation declares; any may come of the request's size, Host or site."""
    words = {
        400: "A foreign Host header, or a body that cannot be parsed.",
        403: "A browser asks for a page of another site.",
        404: "No image has this id.",
        413: "The request is too large.",
        422: "A parameter is not as it must be, or the upload is no picture.",
        503: "The queue is full, and Retry-After says when to try again; or the index was replaced by another run's.",
    }
    return {status: {"model": Problem, "description": words[status]} for status in (400, 403, 413, *statuses)}


def sentence(errors: Sequence[Any]) -> str:
    """The first of pydantic's errors as `<name> must <rule>, got <value>.`"""
    error = errors[0]
    name = next((str(part) for part in error["loc"] if part not in ("body", "query", "path")), "body")
    if error["type"] == "extra_forbidden":
        return f"{name} is no parameter of this address. /docs lists those that are."
    if error["type"] == "missing":
        return f"{name} must be given."
    if error["type"] == "string_pattern_mismatch":
        return f"{name} must hold at least one word."
    rule = re.sub(r"^(\w+ should|Expected) ", "", error["msg"])
    got = repr(error["input"])
    return f"{name} must {rule}, got {got if len(got) <= 60 else f'{len(got):,} characters'}."
