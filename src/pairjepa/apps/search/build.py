"""Make an index, or bring it up to date: embed what is new or changed, take out what is gone."""

import contextlib
import shlex
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pairjepa.apps.embed import is_pair
from pairjepa.apps.search import approximate as approximation
from pairjepa.apps.search.index import Index
from pairjepa.apps.search.loading import Loaded, load, loaded, never
from pairjepa.apps.search.meta import CAPTIONS, IMAGES, META, MODEL, Approximation, Meta
from pairjepa.apps.search.place import Place
from pairjepa.apps.search.sources import Entry, Source, open_source
from pairjepa.apps.search.tables import Tables
from pairjepa.apps.search.vectors import first_line
from pairjepa.backbones import location
from pairjepa.config.settings import DataConfig, EngineName
from pairjepa.embedder.onnx_embedder import SETTINGS
from pairjepa.features.engines import check_engine
from pairjepa.metrics.hubness import HubnessCorrection
from pairjepa.model import correction
from pairjepa.pairs.problems import EXAMPLES
from pairjepa.pairs.sources import located
from pairjepa.run.folder import RunFolder
from pairjepa.util.checksums import seal
from pairjepa.util.errors import PairJEPAError, UsageError
from pairjepa.util.files import cache_folder, chunk_size, remove_leftovers
from pairjepa.util.lock import LOCK, exclusive
from pairjepa.util.memory import give_back_freed_memory
from pairjepa.util.progress import progress, say
from pairjepa.util.words import counted

if TYPE_CHECKING:
    from pairjepa.apps.search.embedding import Embedding
    from pairjepa.embedder.embedder import Embedder

UNLIKE = 2
"""Deviations below dev's mean hubness from which the mean of what is indexed is that of another kind of images."""
COMMIT = 512
"""Images after which what was embedded is kept, up to 16 times as many of a large index; a kill loses no more."""


def build(
    run: str | Path,
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    data: DataConfig | None = None,
    approximate: approximation.Choice = "auto",
    engine: EngineName = "auto",
    remove: Sequence[str] = (),
    only: bool = False,
) -> Index:
    """Index images with a trained run or a pretrained pair, or bring an index up to date.

    Images that are in it already and have not changed are not embedded again, nor is one twice that has the same bytes
    under several names. Features that a training has left in the cache are taken from there. What is gone from one of
    the sources leaves the index; sources that were indexed before and are not given stay as they are. Killed at any
    moment, the same call goes on.

    Args:
        run: folder of a run, or a pretrained pair (a Transformers folder, or a hub id) as it is.
        sources: folders of images, single images, or pairs as `Pairs.open` takes them.
        out: folder of the index, or its URL on object storage. Of several processes that write one index, those on
            one disk go one after the other, those on object storage at the same time; nothing is lost either way.
        data: names of columns, where usual ones do not find them.
        approximate: whether a search compares all vectors: auto does up to 300,000.
        engine: what forwards the backbones, as `model.engine` of a training; ray does so for images alone.
        remove: sources whose images leave the index.
        only: let the images of all sources go that are not given.

    Raises:
        UsageError: no source is given, a setting does not fit one, or one to remove is not in the index.
        PairJEPAError: run, sources or index are not as they must be, or no image can be read.
    """
    if not sources and not remove:
        raise UsageError("IMAGES must name at least one folder, image or set of pairs, got none.")
    check_engine(engine)
    model, place = _opened(run), Place(out)
    _checked(place, model)
    opened = {source.key: source for source in (open_source(str(s), data or DataConfig()) for s in sources)}
    give_back_freed_memory()  # copies on the way, which of a million images are more than a gigabyte
    # On object storage there is no such lock, and none is needed: Lance puts one writer's commits on top of another's.
    alone = contextlib.nullcontext() if place.folder is None else exclusive(place.folder, wait=True)
    with _written(place), alone:
        if place.folder is not None:
            remove_leftovers(place.folder)
        meta = _checked(place, model)  # as whoever wrote it before has left it
        made = _Build(model, place, meta, list(opened.values()), engine)
        return made.finished(approximate, made.leaving(remove, only))


@dataclass(frozen=True)
class _Model:
    """What images are embedded with."""

    name: str
    """Folder of a run, folder of a pair, or a pair's hub id."""
    weights: str
    """Digest."""
    load: Callable[[], "Embedder"]
    chosen: Mapping[str, Any]
    """What dev has shown about search; of a pair, nothing is known."""
    correction: HubnessCorrection | None
    """None where nothing is gained by it."""


def _opened(run: str | Path) -> _Model:
    if is_pair(run):
        from pairjepa.embedder.embedder import Embedder

        pair = Embedder.from_pair(run)
        return _Model(location.located(str(run)), pair.weights, lambda: pair, {}, None)
    folder = RunFolder(Path(run))
    folder.check_trained()
    kept = correction.load(folder.path, folder.weights)

    def load() -> "Embedder":
        from pairjepa.embedder.embedder import Embedder

        return Embedder.load(folder)

    return _Model(
        str(folder.path.absolute()),
        folder.weights,
        load,
        (folder.summary or {}).get("search", {}),
        kept if kept is not None and kept.alpha else None,
    )


def _checked(place: Place, model: _Model) -> Meta | None:
    """What the index at `place` says of itself; None if there is none yet.

    Raises:
        PairJEPAError: it was made with another model, or something else is there.
    """
    there = place.names()
    if (there is None and place.exists()) or (META not in (there or []) and set(there or []) - {LOCK}):
        raise PairJEPAError(
            f"--out must be a new or empty folder or an index, got {place}, which holds other files. "
            "Give another folder."
        )
    if META not in (there or []):
        return None
    meta = Meta.read(place)
    if meta.digest != model.weights:
        raise PairJEPAError(
            f"{place} was made with the run {meta.run} (weights {meta.digest[:8]}), and {model.name} is another "
            f"({model.weights[:8]}): their vectors do not compare. Give another --out, or index with the same run."
        )
    return meta


@contextlib.contextmanager
def _written(place: Place) -> Iterator[None]:
    """Say in a sentence why it cannot be written."""
    try:
        yield
    except OSError as error:
        mend = "Make room there or mend its permissions"
        if place.folder is None:
            mend = "Check the name, the connection and what you may write there"
        raise PairJEPAError(
            f"{place} cannot be written: {error.strerror or first_line(error)[:300]}. "
            f"{mend}, and run the same command again to go on."
        ) from None


class _Build:
    """One pass over the sources."""

    def __init__(
        self, model: _Model, place: Place, meta: Meta | None, sources: list[Source], engine: EngineName
    ) -> None:
        self._model, self._place, self._sources, self._engine = model, place, sources, engine
        self._loaded: Embedder | None = None
        self._unreadable: list[Loaded] = []
        if meta is None:
            chosen = model.chosen
            meta = Meta(
                run="",
                digest=model.weights,
                dim=self._encoding().dim,
                model="run",
                pairjepa=metadata.version("pairjepa"),
                caption_weight=chosen.get("caption_weight"),
                fit=chosen.get("fit", {}),
                penalty=chosen.get("penalty"),
            )
        self._meta = meta
        if meta.run != model.name:  # a new index, or a run that has moved
            self._note(run=model.name)
        self._tables = Tables(
            place,
            meta.dim,
            _unified(sources),
            meta.digest,
            meta.caption_weight,
            model.correction,
        )

    def leaving(self, names: Sequence[str], only: bool) -> set[str]:
        """Sources whose images leave the index.

        Raises:
            UsageError: a source of that name is not in it.
        """
        there = {row.source for row in self._tables.known.values()}
        leaving = there - {source.key for source in self._sources} if only else set()
        for name in names:
            if not (found := {name, located(name)} & there):
                raise UsageError(
                    f"--remove must name a source of the index, got {name!r}. "
                    f"There are: {', '.join(sorted(there)) or 'none'}."
                )
            leaving |= found
        return leaving

    def finished(self, choice: approximation.Choice, leaving: set[str]) -> Index:
        """Do what there is to do; images of the sources `leaving` go."""
        entries = {entry.id: entry for source in self._sources for entry in source.entries}
        known = self._tables.known
        todo = [e for e in entries.values() if e.id not in known or known[e.id].stamp != e.stamp]
        given = {source.key for source in self._sources} | leaving
        gone = [id for id, row in known.items() if row.source in given and id not in entries]
        _warn_of_lost_sources({row.source for row in known.values()} - given)
        unfinished = not self._meta.complete
        if todo or gone:
            self._note(complete=False)
            self._embed(todo)
        gone += [bad.entry.id for bad in self._unreadable if bad.entry.id in known]
        self._tables.remove(gone)
        self._say_unreadable(len(entries))
        new = len(todo) - len(self._unreadable)
        del entries, todo
        for source in self._sources:
            source.entries.clear()  # of a million images they are a gigabyte
        give_back_freed_memory()
        self._keep_model()
        changed = bool(new or gone or unfinished)
        if changed:
            self._tables.finish()
        ways = self._approximated(choice, changed)
        self._tables.forget()
        self._say_if_unlike()
        folder = self._place.folder
        if folder is not None:
            seal(folder, self._tables.files(folder))
        self._note(complete=True, sealed=folder is not None, approximate=ways)
        pictures = len({row.digest for row in known.values()})
        names = "" if pictures == len(known) else f" under {counted(len(known), 'name')}"
        say(
            f"{counted(pictures, 'image')}{names}: {new:,} new or changed, {len(known) - new:,} as they were, "
            f"{len(gone):,} gone"
        )
        return Index(self._place, self._meta)

    def _embed(self, todo: list[Entry]) -> None:
        if not todo:
            return
        from pairjepa.apps.search.embedding import Embedding

        embedding = Embedding(
            self._encoding(),
            "torch" if self._engine == "ray" else self._engine,
            images=len(todo),
            captions=sum(len(entry.captions) for entry in todo),
            cache=cache_folder(),
        )
        waiting: list[Loaded] = []
        enough = chunk_size(len(todo), COMMIT)
        with progress("index", len(todo), "images") as bar, closing(self._read(todo, embedding)) as batches:
            for batch in batches:
                waiting += self._embedded(batch, {one.digest: one for one in waiting}, embedding)
                if len(waiting) >= enough:
                    self._commit(waiting, embedding)
                    waiting = []
                bar.advance(len(batch))
            self._commit(waiting, embedding)

    def _read(self, todo: list[Entry], embedding: "Embedding") -> Generator[list[Loaded]]:
        batches = loaded(todo, self._tables.holds, embedding.min_decode_size)
        return embedding.images_on_ray(batches) if self._engine == "ray" else batches

    def _embedded(
        self, loaded: list[Loaded], kept: dict[str, Loaded], embedding: "Embedding"
    ) -> list[Loaded]:
        """Images with their vectors; those of the same bytes as one that is there take its."""
        kept |= self._tables.embedded([one for one in loaded if one.held])
        # What was there when it was read may have been overwritten since.
        loaded = [
            load(one.entry, never, embedding.min_decode_size) if one.held and one.digest not in kept else one
            for one in loaded
        ]
        self._unreadable += [one for one in loaded if one.reason]
        good = [one for one in loaded if not one.reason]
        kept |= {one.digest: one for one in good if one.vector is not None}
        new = list({one.digest: one for one in good if one.digest not in kept}.values())
        vectors = embedding.images(new) if new else ()
        kept |= {one.digest: replace(one, image=None, vector=v) for one, v in zip(new, vectors, strict=True)}
        return [replace(kept[one.digest], entry=one.entry) for one in good]

    def _commit(self, images: list[Loaded], embedding: "Embedding") -> None:
        if not images:
            return
        captions = list(dict.fromkeys(caption for one in images for caption in one.entry.captions))
        vectors = embedding.captions(captions)
        place = {caption: row for row, caption in enumerate(captions)}
        rows = ([place[caption] for caption in one.entry.captions] for one in images)
        self._tables.put(images, [vectors[np.array(some, np.int64)] for some in rows])
        give_back_freed_memory()  # of tables on their way to the disk

    def _encoding(self) -> "Embedder":
        """The model, loaded when something is to be embedded."""
        if self._loaded is None:
            from pairjepa.backbones.vectors import VectorTexts
            from pairjepa.util.memory import keep_freed_memory

            keep_freed_memory()
            self._loaded = self._model.load()
            if isinstance(texts := self._loaded.text, VectorTexts):
                for source in self._sources:
                    texts.known |= source.vectors
            if self._loaded.weights != self._model.weights:
                raise PairJEPAError(
                    f"{self._model.name} must keep its weights while it is indexed, got others. "
                    "Index with it in another folder."
                )
        return self._loaded

    def _keep_model(self) -> None:
        """Put the run into the index as a model that needs no PyTorch, if it is not there."""
        if not self._place.holds(f"{MODEL}/{SETTINGS}"):
            from pairjepa.apps.export.onnx import export_onnx
            from pairjepa.backbones.vectors import check_exportable

            say("making the model that answers queries, once an index")
            try:
                check_exportable(self._encoding().image)
                self._place.keep(MODEL, lambda path: export_onnx(self._encoding(), path), SETTINGS)
            except PairJEPAError as error:
                say(f"Queries will need the run itself and PyTorch, which is slower: {error}")
                return
        self._note(model="onnx")

    def _approximated(self, choice: approximation.Choice, changed: bool) -> dict[str, Approximation]:
        before, ways = Meta.read(self._place).approximate, {}
        for name, other in ((IMAGES, CAPTIONS), (CAPTIONS, IMAGES)):
            asked = other if self._tables.rows(other) else name
            if not approximation.wanted(self._tables.rows(name), choice):
                continue
            for column in self._tables.searched_columns(name, mixed=asked != name):
                key = name if column == "vector" else f"{name}/{column}"
                way = before.get(key)
                if way is None or changed:
                    way = approximation.approximate(self._place / name, self._place / asked, way, column)
                ways[key] = way
        return ways

    def _say_if_unlike(self) -> None:
        """Say if the training's captions are far from these images: what dev has shown need not hold for them."""
        mean, usual = self._tables.mean_penalty, self._meta.penalty
        if mean is not None and usual is not None and mean < usual[0] - UNLIKE * usual[1]:
            say(
                "These images are unlike those of the training: corrections for hubs and probabilities may be off."
            )

    def _say_unreadable(self, of: int) -> None:
        if not self._unreadable:
            return
        named = [f"{bad.entry.name}: {bad.reason}" for bad in self._unreadable]
        listed = "".join(f"\n  {line}" for line in named[:EXAMPLES])
        if not self._tables.known:
            raise PairJEPAError(
                f"At least one image must be readable, got none of {of:,}. The first:{listed}"
            )
        say(f"{len(named):,} of {of:,} images cannot be read, left out:{listed}")

    def _note(self, **changes: Any) -> None:
        self._meta = replace(self._meta, **changes)
        self._meta.write(self._place)


def _unified(sources: list[Source]) -> pa.Schema:
    try:
        return pa.unify_schemas([pa.schema([]), *(source.columns for source in sources)])
    except pa.ArrowException as error:
        raise PairJEPAError(
            f"The columns of the sources must be of the same types, but they are not: {error}. "
            "Rename the column in one of them, or make an index of each."
        ) from None


def _warn_of_lost_sources(sources: set[str]) -> None:
    for source in sorted(sources):
        if Path(source).is_absolute() and not Path(source).exists():
            say(
                f"warning: {source} is not there any more, and its images are still in the index. To take them out, "
                f"add --remove {shlex.quote(source)}."
            )
