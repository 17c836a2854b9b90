"""An index: embedded images in a folder that needs no server, and what is asked of it.

meta.json        format, run (path, digest of its weights), dim, model, whether it is approximate, whole or not
images.lance     a row an image: what it is, its captions, thumbnail, and vectors: the predicted caption embedding, the
                 mean of those of its captions, and both, mixed
captions.lance   a row a caption: its image, its words and vector (the target embedding)
model/           the run as ONNX graphs, so that a query needs no PyTorch

The tables are Lance's: appended to and deleted from in commits, each of which is there or not.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, Float32

from pairjepa.apps.search.meta import CAPTIONS, IMAGES, MODEL, Meta
from pairjepa.apps.search.place import Place
from pairjepa.apps.search.stored import COLUMNS, INNER
from pairjepa.apps.search.vectors import Vectors
from pairjepa.util.errors import PairJEPAError, UsageError, check_count, unknown
from pairjepa.util.files import digest_bytes
from pairjepa.util.unit import check_unit

if TYPE_CHECKING:
    from pairjepa.embedder.encoder import Encoder

By = Literal["image", "caption", "both"]
WIDE = 100
"""Nearest images that a threshold picks from, for the best score need not be the highest probability."""
DISPLAY = ("id", "name", "path")
"""Columns of a hit, beside its captions."""


@dataclass(frozen=True)
class Hit:
    """One answer of a search."""

    id: str
    """Of the image; `Index.thumbnail(id)` is its picture."""
    name: str
    score: float
    """Cosine with the query, corrected for hubs where the run's dev says so; a float32."""
    captions: tuple[str, ...]
    """The image's, or, in a search of captions, the one that was found."""
    path: Path | None
    """Where the image was on this machine; None if it was inside a table."""
    probability: float | None = None
    """That it fits the words; see `metrics.matching`. None where dev could not show it."""


@dataclass(frozen=True)
class Item:
    """One image of an index."""

    id: str
    name: str
    captions: tuple[str, ...]
    path: Path | None
    split: str | None
    width: int
    height: int
    """Pixels of the upright image."""
    metadata: dict[str, Any]
    """Columns that came with the pairs."""


class Index:
    """Embedded images, and their captions if there are any. Safe to be asked by several threads."""

    def __init__(self, place: Place, meta: Meta, tables: tuple[Vectors, Vectors] | None = None) -> None:
        """See `open`, and `refreshed`."""
        self.place, self.meta = place, meta
        self._images, self._captions = tables or (
            Vectors(place / name, [*DISPLAY, words], meta.digest, meta.ways(name))
            for name, words in ((IMAGES, "captions"), (CAPTIONS, "caption"))
        )

    @property
    def path(self) -> Path | str:
        """Its folder, or its URL."""
        return self.place.folder or str(self.place)

    @classmethod
    def open(cls, path: str | Path) -> "Index":
        """Open an index that `pairjepa index` made, as it is now; see `refreshed` for what is indexed later.

        Args:
            path: its folder, or a URL of it on object storage, such as `s3://bucket/my.index`.

        Raises:
            PairJEPAError: there is none, it is another version's, or a table is damaged.
        """
        place = Place(path)
        return cls(place, Meta.read(place))

    def refreshed(self) -> "Index":
        """This index, or, where something was indexed since, a new one that shares with it what has not changed.

        What this one answers stays as it is; its files are kept for `tables.KEPT` after they have been replaced.

        Raises:
            PairJEPAError: the index is gone or damaged.
        """
        meta = Meta.read(self.place)
        images = self._images.refreshed(meta.ways(IMAGES))
        captions = self._captions.refreshed(meta.ways(CAPTIONS))
        if meta == self.meta and images is self._images and captions is self._captions:
            return self
        return Index(self.place, meta, (images, captions))

    def warm(self) -> None:
        """Read now what the first search would: of exact ones all vectors, names and captions."""
        self._images.warm(COLUMNS[self._by(None)])
        self._captions.warm()

    def __len__(self) -> int:
        """Number of images; the same picture (by its bytes) is one, whatever it is called through."""
        return self._images.pictures

    @property
    def has_captions(self) -> bool:
        """Whether images came with captions, which can be searched too."""
        return bool(len(self._captions))

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.meta.dim

    @property
    def columns(self) -> list[str]:
        """What `where` may speak of: no column that says where images lie."""
        from pairjepa.apps.search.conditions import condition_columns

        return condition_columns(self._images.schema)

    def search(
        self,
        vector: Float32[np.ndarray, " dim"],
        k: int = 10,
        *,
        by: By | None = None,
        where: str | None = None,
        raw_where: str | None = None,
        of: Literal["images", "captions"] = "images",
        exclude: str | None = None,
        words: bool | None = None,
        threshold: float | None = None,
    ) -> list[Hit]:
        """The `k` nearest by score, best first; of equal ones the one that was indexed first.

        Scores are cosines. In the directions that the run was measured in, from words to images and from images to
        captions, they are corrected for hubs, where that has helped on its dev split. The search is exact unless
        `meta.approximate` says otherwise; scores always are.

        Args:
            vector: of unit norm, from `encoder()`.
            k: how many; fewer where there are not as many.
            by: in a search of images, what of them is compared: what the run predicts from them (image), the captions
                that they came with (caption), or both, mixed as `meta.caption_weight` says. None is both where there
                are captions and, if a threshold is given, both have a probability. Images without captions come last
                by caption, and by both stand for themselves.
            where: a condition on `columns`, such as `split = 'test' AND width > 500`; see `conditions`.
            raw_where: a filter in Lance's own SQL in its place, on any column. Not for what a stranger writes: it may
                take any time and memory.
            of: what is searched: images, or the captions that came with them.
            exclude: id of an image that is left out (and its captions), whatever it is called through.
            words: whether the vector is of words; None takes it for them in a search of images, else for an image.
            threshold: least probability of a hit, in a search of images by words; see `Hit.probability`.

        Raises:
            UsageError: the vector's width, k or a condition cannot be; there are no captions.
            PairJEPAError: the index is damaged.
        """
        given = type(vector).__name__
        try:
            vector = np.asarray(vector, np.float32)
        except (TypeError, ValueError):
            vector = np.empty(0, np.float32)
        if vector.shape != (self.dim,) or not np.isfinite(vector).all():
            raise UsageError(
                f"vector must be {self.dim} finite numbers, got {given}{f' of {vector.shape}' if vector.size else ''}. "
                "Words and pictures are embedded first, by an encoder of the index."
            )
        check_unit(vector[None], "vector", "Take it from an encoder of the index.")
        check_count("k", k)
        if of not in ("images", "captions"):
            raise unknown("of", of, ("images", "captions"))
        if of == "captions" and not self.has_captions:
            raise UsageError("in must be images for this index, got captions: its images came without any.")
        searched = self._captions if of == "captions" else self._images
        asked, by = by, "image" if of == "captions" else self._by(by)
        if asked is None and threshold is not None and by not in self.meta.fit:
            by = "image"  # one caption an image: dev did not show how captions fit
        measured = words is None or words == (of == "images")
        fit = self.meta.fit.get(by) if of == "images" and measured else None
        if threshold is not None and (fit is None or not 0 <= threshold <= 1):
            raise UsageError(_no_threshold(threshold, by, words=of == "images" and measured))
        if where is not None and raw_where is not None:
            raise UsageError("where must be left out beside raw_where. Write both conditions into raw_where.")
        if raw_where is not None:
            searched.check_filter(raw_where)
        sql = raw_where
        if where is not None:
            from pairjepa.apps.search.conditions import to_sql  # a parser, which most searches do without

            sql = to_sql(where, searched.schema)
        left_out = {} if exclude is None else self._images.row(exclude, ["digest"]) or {}
        most = k if threshold is None else max(k, WIDE)
        rows, scores, cosines = searched.nearest(
            vector, most, sql, exclude, left_out.get("digest"), COLUMNS[by], corrected=measured
        )
        likely = [None] * len(rows) if fit is None else probability_of(cosines, fit).tolist()
        return [
            Hit(
                id=row["id"],
                name=row["name"],
                score=score,
                captions=(row["caption"],) if of == "captions" else tuple(row["captions"]),
                path=_path(row["path"]),
                probability=probability,
            )
            for row, score, probability in zip(rows, scores, likely, strict=True)
            if threshold is None or probability is None or probability >= threshold
        ][:k]

    def _by(self, by: By | None) -> By:
        """What a search of images compares with."""
        mixed = COLUMNS["both"] in self._images.schema.names
        if by is None:
            return "both" if mixed and self.has_captions else "image"
        if by not in COLUMNS:
            raise unknown("by", by, COLUMNS)
        if by != "image" and not (mixed and self.has_captions):
            why = "its images came without captions"
            if not mixed:
                why = "another version made it. Make it again in another folder"
            raise UsageError(f"by must be image for this index, got {by}: {why}.")
        return by

    def get(self, id: str) -> Item | None:
        """The image of that id; None if there is none."""
        row = self._images.row(id, self._described)
        return None if row is None else self._item(row)

    def original(self, id: str) -> bytes | None:
        """The file of that image; None if it is not there, is in a table, or is not the very one that was indexed."""
        row = self._images.row(id, ["path", "digest"]) or {}
        path = _path(row.get("path"))
        with contextlib.suppress(OSError):
            data = path.read_bytes() if path is not None and path.is_file() else b""
            if digest_bytes(data) == row.get("digest"):
                return data
        return None

    def spread(self, count: int = 24) -> list[Item]:
        """About so many images, evenly spread over the index: what it holds, before anything is asked."""
        return [self._item(row) for row in self._images.spread(count, self._described)]

    @property
    def _described(self) -> list[str]:
        return [name for name in self._images.schema.names if name not in (*INNER, "source")]

    @staticmethod
    def _item(row: dict[str, Any]) -> Item:
        given = {name: row.pop(name) for name in ("id", "name", "split", "width", "height")}
        captions, path = tuple(row.pop("captions")), _path(row.pop("path"))
        return Item(**given, captions=captions, path=path, metadata=row)

    def thumbnail(self, id: str) -> bytes | None:
        """A JPEG of at most 256 pixels a side; None if there is no such image."""
        row = self._images.row(id, ["thumbnail"])
        return None if row is None else row["thumbnail"]

    def vector(self, id: str) -> Float32[np.ndarray, " dim"] | None:
        """The image's vector; None if there is no such image."""
        return self._images.vector(id)

    @property
    def ids(self) -> list[str]:
        """Of all images, in the order of `matrix`."""
        return self._images.ids

    def matrix(self) -> Float32[np.ndarray, "images dim"]:
        """The vectors of all images."""
        return self._images.matrix()

    def encoder(self) -> "Encoder":
        """What turns queries into vectors: the ONNX graphs in the index, else the run that it was made with.

        Raises:
            PairJEPAError: the run has moved or changed.
        """
        if self.meta.model == "onnx":
            from pairjepa.embedder.onnx_embedder import OnnxEmbedder

            folder = self.place.here(MODEL, self.meta.digest)
            again = f"run `pairjepa index RUN IMAGES --out {self.place}` again, which makes it anew"
            if self.place.folder is None:
                again = "run the same command again, which fetches it anew"
            mend = f"Remove {folder}, and {again}."
            encoder = OnnxEmbedder.load(folder, mend)
            if encoder.weights != self.meta.digest:
                raise PairJEPAError(
                    f"{folder} must be the model that {self.place} was made with "
                    f"({self.meta.digest[:8]}), got another run's ({encoder.weights[:8]}). {mend}"
                )
            return encoder
        from pairjepa.apps.embed import is_pair, load_encoder

        run = self.meta.run
        again = f"pairjepa index RUN IMAGES --out {self.place}"
        if not (Path(run).is_dir() or is_pair(run)):
            raise PairJEPAError(
                f"The run {run} that {self.place} was made with is not there any more. Put it back, or say where it "
                f"is now: {again} (nothing is embedded again)."
            )
        embedder = load_encoder(run)
        if embedder.weights != self.meta.digest:
            raise PairJEPAError(
                f"The run {run} has been trained again since {self.place} was made with it. "
                f"Make a new index: {again.replace(str(self.place), 'FOLDER')}."
            )
        return embedder


def probability_of(cosines: Float[np.ndarray, "*any"], fit: Sequence[float]) -> Float[np.ndarray, "*any"]:
    """That images fit words, by their cosines; see `metrics.matching`."""
    slope, intercept = fit
    return np.exp(-np.logaddexp(0, -(slope * cosines.astype(np.float64) + intercept)))


def _no_threshold(threshold: float, by: str, *, words: bool) -> str:
    if not 0 <= threshold <= 1:
        return f"threshold must be between 0 and 1, got {threshold}."
    rule = f"threshold must be left out here, got {threshold}: "
    if not words:
        return rule + "only images that are searched by words alone have a probability."
    return (
        rule
        + f"the run's dev split did not show how probably an image fits by {by}. Train it again, or leave it out."
    )


def _path(value: str | None) -> Path | None:
    return None if value is None else Path(value)
