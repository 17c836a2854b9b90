"""Find images: index, search; and their vectors in a file: embed."""

import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from pairjepa.cli.common import (
    AnyEncoder,
    Device,
    Json,
    Switch,
    next_command,
    print_result,
    stdout_for_results,
)
from pairjepa.cli.flags import given_settings, settings, with_flags
from pairjepa.config.recipes import override
from pairjepa.config.settings import RunConfig
from pairjepa.util.progress import say

if TYPE_CHECKING:
    from pairjepa.apps.search.index import Hit, Index

Images = Annotated[
    str, Parameter(help="Folders of images, images, or pairs as `pairjepa inspect` takes them.")
]
SETTINGS = settings(
    RunConfig(),
    "data.image_column",
    "data.caption_column",
    "data.split_column",
    "data.images",
    "data.no_header",
    "model.engine",
)


@with_flags(SETTINGS)
def index(
    run: Path,
    /,
    *images: Images,
    out: str,
    approximate: Literal["auto", "on", "off"] = "auto",
    remove: Annotated[list[str] | None, Parameter(negative_iterable=())] = None,
    only: Switch = False,
    device: Device = None,
    **given: Any,
) -> None:
    """Embed images once, and again only what is new or changed, so that they can be searched.

    Args:
        run: Run folder that `pairjepa train` wrote, or a pretrained pair such as CLIP.
        out: Folder of the index: new, or one to bring up to date; or a URL, such as s3://bucket/my.index.
        approximate: Search without comparing all vectors: auto does beyond 300,000.
        remove: A source whose images leave the index; may be given again.
        only: Let all other sources leave the index.
    """
    config = override(RunConfig(), given_settings(given))
    with stdout_for_results(device):
        from pairjepa.apps.search.build import build

        build(
            run,
            images,
            out,
            data=config.data,
            approximate=approximate,
            engine=config.model.engine,
            remove=remove or (),
            only=only,
        )
    say(f"wrote {out}")
    next_command("search", out, then='"what is to be seen"')


@with_flags(SETTINGS)
def embed(
    run: AnyEncoder,
    /,
    *images: Images,
    out: Path,
    device: Device = None,
    **given: Any,
) -> None:
    """Write the vectors of images (predicted caption embeddings) into a file.

    Args:
        out: vectors.parquet, or vectors.npy with the names in vectors.json.
    """
    config = override(RunConfig(), given_settings(given))
    with stdout_for_results(device):
        from pairjepa.apps.embed import embed

        written = embed(run, images, out, data=config.data, engine=config.model.engine)
    say(f"wrote {' and '.join(map(str, written))}")


def search(
    index: str,
    words: str | None = None,
    /,
    *,
    image: Path | None = None,
    minus: str | None = None,
    by: Literal["image", "caption", "both"] | None = None,
    threshold: float | None = None,
    k: Annotated[int, Parameter(name=("-k", "--k"))] = 10,
    where: str | None = None,
    raw_where: str | None = None,
    of: Annotated[Literal["images", "captions"], Parameter(name="--in")] = "images",
    as_json: Json = False,
) -> None:
    """Find images by words, by a photograph, or by both together.

    Args:
        index: Folder or URL that `pairjepa index` wrote.
        words: What is to be seen; or words that go with --image.
        image: A photograph to search by.
        minus: Words whose direction is taken from the query's: what is not to be seen.
        by: What is compared: image, the captions that it came with, or both (words: both, if there are any).
        threshold: Least probability, such as 0.5, that an image fits the words.
        k: How many.
        where: A condition on columns of the index, such as "split = 'test' AND width > 500".
        raw_where: A filter in the SQL of Lance in its place, on any column.
        of: captions: which captions fit.
    """
    with stdout_for_results():
        from pairjepa.apps.search.index import Index
        from pairjepa.apps.search.query import Query, encode, is_cut
        from pairjepa.embedder.encoder import warn_of_unknown

        if words is not None and image is None and os.path.isfile(words):
            say(
                f"warning: {words} is a file, and its name is searched for. To search by that photograph: --image."
            )
        query = Query(words, image, minus)
        opened = Index.open(index)
        if not opened.meta.complete:
            say(f"{index} is not complete: run its `pairjepa index` command again to go on with it.")
        encoder = opened.encoder()
        if words is not None and is_cut(encoder, words):
            say("The words are more than the run takes: only their beginning counts.")
        if words is not None and image is not None and not encoder.sees_captions:
            say("This run is contrastive: the query is half-way between the image and the words.")
        vector = encode(encoder, [query])[0]
        if words is not None:
            warn_of_unknown(encoder, [words], "words")
        ask = partial(
            opened.search,
            vector,
            by=by or query.by,
            where=where,
            raw_where=raw_where,
            of=of,
            words=query.plain_words,
        )
        hits = ask(k, threshold=threshold)
        if not hits:
            likely = max((hit.probability or 0 for hit in ask(100)), default=None) if threshold else None
            best = "" if likely is None else f": the best image fits with a probability of {likely:.2f}"
            say(f"Nothing is found{best}.")
    results = [asdict(hit) | {"path": None if hit.path is None else str(hit.path)} for hit in hits]
    print_result({"results": results}, as_json, lambda _: "\n".join(_lines(opened, hits, of)))
    if not as_json:
        next_command("serve", index)


def _lines(index: "Index", hits: "list[Hit]", of: str) -> Iterator[str]:
    from pairjepa.apps.search.terminal import picture, protocol

    way = protocol(sys.stdout)
    for hit in hits:
        thumbnail = index.thumbnail(hit.id) if way is not None and of == "images" else None
        if way is not None and thumbnail is not None:
            yield picture(thumbnail, way)
        place, caption = _plain(str(hit.path or hit.name)), _plain(next(iter(hit.captions), ""))
        first, second = (place, caption) if of == "images" else (caption, place)
        likely = "" if hit.probability is None else f"{hit.probability:5.0%}"
        yield f"{hit.score:.3f}{likely}  {first}" + (f"\n       {second}" if second else "")


def _plain(text: str) -> str:
    """Without what a terminal would take for a command."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )
