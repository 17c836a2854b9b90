"""The two tables of an index while they are written.

An image is in the index when its row is: captions are appended before their images, and those whose image never came
are taken out when the next run begins, or, where another writer may be about to append their image, when it comes. So a
process may be killed between any two commits.

Each commit is a new version of a table. Lance writes it down by a file that may be made once only, and a writer that
comes second puts its change on top of the other's. An image that both have put in has two rows until its source is
indexed again; a search shows one of them.
"""

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from sys import intern
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float32

from pairjepa.apps.search import stored
from pairjepa.apps.search.loading import Loaded
from pairjepa.apps.search.meta import CAPTIONS, IMAGES
from pairjepa.apps.search.place import Place
from pairjepa.apps.search.vectors import lance_module, reading
from pairjepa.metrics.hubness import HubnessCorrection
from pairjepa.metrics.matching import CAPTION_WEIGHT, mean_directions, mixed
from pairjepa.util.checksums import FILE
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import atomic_folder
from pairjepa.util.unit import check_unit

_FRAGMENT = 100_000  # rows a file; a full one is not written again when the index grows
_DELETED = 0.1  # share of a file's rows: more, and it is written again without them
KEPT = timedelta(minutes=10)
"""How long files stay after they have been replaced: whoever has the index open still reads them."""
_ID_INDEX = "id_idx"


@dataclass(frozen=True, slots=True)
class Known:
    """What is kept in memory of an image that is in the index."""

    source: str
    stamp: str
    digest: str


class Tables:
    """Both tables, open for writing."""

    def __init__(
        self,
        place: Place,
        dim: int,
        columns: pa.Schema,
        weights: str,
        caption_weight: float | None = None,
        correction: HubnessCorrection | None = None,
    ) -> None:
        """Open or make them, with these columns beside those of every index, for vectors of these weights.

        `caption_weight` is the share of the captions in the vectors of a search by both. With a `correction` new tables
        hold beside each vector what it takes from a score.

        Raises:
            PairJEPAError: a table is damaged or of other weights, or a column is there already and of another type.
        """
        vectors = [
            field
            for column in stored.COLUMNS.values()
            for field in (
                pa.field(stored.checksum_of(column), pa.uint64()),
                pa.field(column, pa.list_(pa.float32(), dim if correction is None else dim + stored.MORE)),
            )
        ]
        base = [
            *(pa.field(name, pa.string()) for name in ("id", "name", "path", "source", "split")),
            *(pa.field(name, pa.int32()) for name in ("width", "height")),
        ]
        own = {
            IMAGES: [
                pa.field("captions", pa.list_(pa.string())),
                *(pa.field(name, pa.string()) for name in ("digest", "stamp")),
                pa.field("thumbnail", pa.binary()),
                *vectors,
            ],
            CAPTIONS: [pa.field("caption", pa.string()), pa.field("digest", pa.string()), *vectors[:2]],
        }
        there = place.names() or []
        if place.folder is not None and not set(own) <= set(there):
            (place.folder / FILE).unlink(missing_ok=True)  # of tables that are gone
        self._tables: dict[str, Any] = {}
        for name, fields in own.items():
            schema = pa.schema([*base, *columns, *fields], {stored.WEIGHTS: weights, stored.DIM: str(dim)})
            if place.folder is None and not _is_there(place / name):
                _make(place / name, schema)
            elif place.folder is not None and name not in there:
                with atomic_folder(place.folder / name) as new:  # a table that is begun would be damaged
                    _make(str(new), schema)
            self._tables[name] = _opened(place / name)
        for name in own:
            stored.check_weights(self._tables[name], place / name, weights)
            self._add_columns(name, pa.schema([*columns, vectors[0], pa.field("digest", pa.string())]))
        self._caption_weight = CAPTION_WEIGHT if caption_weight is None else caption_weight
        self._correction, self._penalties = correction, list[np.ndarray]()
        if correction is None and any(
            stored.width_of(table) > stored.dim_of(table) for table in self._tables.values()
        ):
            raise PairJEPAError(
                f"{place} was made with a run that corrects scores for hubs, and the run's "
                "hubness.safetensors is gone or of other weights. Put it back, or evaluate the run again."
            )
        with reading(place / IMAGES):
            images = self._images.to_table(columns=["id", "source", "stamp", "digest"])
        columns_of = (images[name].to_pylist() for name in ("id", "source", "stamp", "digest"))
        self.known: dict[str, Known] = {}
        for id, source, stamp, digest in zip(*columns_of, strict=True):
            # two writers have put it in at the same moment: unlike any stamp, so that it is put in once
            twice = id in self.known
            self.known[id] = Known(intern(source), "" if twice else stamp, digest)
        self._held = {known.digest: id for id, known in self.known.items()}
        with reading(place / CAPTIONS):
            ids = self._tables[CAPTIONS].to_table(columns=["id"])["id"]
        left_over = pc.unique(ids.filter(pc.invert(pc.is_in(ids, images["id"])))).to_pylist()
        self._left_over, self._alone = set(left_over), place.folder is not None
        if self._alone:
            self._delete(CAPTIONS, left_over)
            self._left_over.clear()

    def files(self, folder: Path) -> list[str]:
        """All files of the tables of the index in a folder; Lance never writes one of them again."""
        paths = [path for name in self._tables for path in (folder / name).rglob("*") if path.is_file()]
        return [path.relative_to(folder).as_posix() for path in paths if path.suffix != ".json"]

    def searched_columns(self, name: str, *, mixed: bool) -> list[str]:
        """Columns of vectors of one table that are searched; `mixed`: with captions."""
        return [
            c
            for c in stored.COLUMNS.values()
            if c in self._tables[name].schema.names and (mixed or c == "vector")
        ]

    @property
    def mean_penalty(self) -> float | None:
        """Mean of what the hubness correction takes from the images that were put in; None if there is nothing."""
        return -float(np.concatenate(self._penalties).mean()) if self._penalties else None

    def rows(self, name: str) -> int:
        """Rows of one table."""
        return int(self._tables[name].count_rows())

    def holds(self, digest: str) -> bool:
        """Whether an image of these bytes is in the index."""
        return digest in self._held

    def embedded(self, images: Collection[Loaded]) -> dict[str, Loaded]:
        """By digest, images with what is kept of others of the same bytes, as far as those are still there."""
        of, found = {one.digest: one for one in images}, dict[str, Loaded]()
        facts = ["digest", "thumbnail", "width", "height"]
        for part in _quoted([self._held[digest] for digest in of if digest in self._held]):
            rows = self._images.to_table(
                columns=[*facts, *stored.vector_columns(self._images)], filter=f"id IN ({part})"
            )
            vectors = stored.checked_vectors(rows, self._images.uri)[:, : stored.dim_of(self._images)]
            for row, vector in zip(rows.select(facts).to_pylist(), vectors, strict=True):
                size = row["width"], row["height"]
                one = replace(of[row["digest"]], vector=vector, thumbnail=row["thumbnail"], size=size)
                found[one.digest] = one
        return found

    def put(self, images: Sequence[Loaded], captions: Sequence[Float32[np.ndarray, "captions dim"]]) -> None:
        """Add images with vectors, or put them in the place of those of the same id; and their captions' vectors."""
        ids = [one.entry.id for one in images]
        self.remove([id for id in ids if id in self.known])
        self._delete(CAPTIONS, self._left_over.intersection(ids))
        rows = [
            one.entry.metadata
            | {name: getattr(one.entry, name) for name in ("id", "name", "path", "source", "split", "stamp")}
            | {"digest": one.digest, "width": one.size[0], "height": one.size[1]}
            | {"thumbnail": one.thumbnail, "captions": one.entry.captions}
            for one in images
        ]
        if texts := [row | {"caption": caption} for row in rows for caption in row["captions"]]:
            self._append(CAPTIONS, texts, {"vector": np.concatenate(captions)})
        vectors = np.stack([one.vector for one in images if one.vector is not None])
        words = mean_directions(captions)
        both = mixed(vectors, words, self._caption_weight)
        self._append(IMAGES, rows, {"vector": vectors, "caption_vector": words, "both_vector": both})
        for row in rows:
            self.known[row["id"]] = Known(row["source"], row["stamp"], row["digest"])
            self._held[row["digest"]] = row["id"]

    def remove(self, ids: Collection[str]) -> None:
        """Take images out, and their captions."""
        self._delete(IMAGES, ids)
        self._delete(CAPTIONS, ids)
        for id in ids:
            known = self.known.pop(id)
            if self._held.get(known.digest) == id:
                del self._held[known.digest]

    def finish(self) -> None:
        """Make many small files one, so that an index opens quickly, and forget versions that nobody reads any more."""
        for table in self._tables.values():
            with _unless_another_writes():
                table.checkout_latest()
                table.optimize.compact_files(
                    target_rows_per_fragment=_FRAGMENT, materialize_deletions_threshold=_DELETED
                )
                if any(index.name == _ID_INDEX for index in table.describe_indices()):
                    table.optimize.optimize_indices(index_names=[_ID_INDEX])
                else:
                    table.create_scalar_index("id", "BTREE", name=_ID_INDEX)

    def forget(self) -> None:
        """Remove the files of versions that are older than `KEPT`, and of commits that were never finished.

        Where others may write, the latter may be theirs: Lance removes those after a week.
        """
        for table in self._tables.values():
            with _unless_another_writes():
                table.cleanup_old_versions(KEPT, delete_unverified=self._alone)

    @property
    def _images(self) -> Any:
        return self._tables[IMAGES]

    def _append(self, name: str, rows: list[dict[str, Any]], vectors: dict[str, np.ndarray]) -> None:
        """Rows, of which what a table has no column for is left out."""
        table = self._tables[name]
        schema: pa.Schema = table.schema
        check_unit(vectors["vector"], "What is indexed", "Its run is of no use: train another.")
        if (correction := self._correction) is not None and stored.width_of(table) > stored.dim_of(table):
            penalty = correction.of_image if name == IMAGES else correction.of_text
            vectors = {column: stored.with_penalty(some, penalty(some)) for column, some in vectors.items()}
            if name == IMAGES:
                self._penalties.append(vectors["vector"][:, stored.dim_of(table)])
        full = pa.Table.from_pylist(rows, schema)
        for column in vectors.keys() & set(schema.names):  # 0.1 wrote one
            flat = pa.array(vectors[column].ravel())
            for field, array in (
                (column, pa.FixedSizeListArray.from_arrays(flat, stored.width_of(table, column))),
                (stored.checksum_of(column), pa.array(stored.row_checksums(vectors[column]))),
            ):
                full = full.set_column(schema.get_field_index(field), schema.field(field), array)
        self._tables[name] = lance_module().write_dataset(full, table, mode="append")

    def _delete(self, name: str, ids: Collection[str]) -> None:
        for part in _quoted(sorted(ids)):
            self._tables[name].checkout_latest()
            self._tables[name].delete(f"id IN ({part})")

    def _add_columns(self, name: str, columns: pa.Schema) -> None:
        table = self._tables[name]
        there = {field.name: field.type for field in table.schema}
        for field in columns:
            if there.get(field.name, field.type) != field.type:
                raise PairJEPAError(
                    f"The column {field.name!r} must be {there[field.name]} as in the index, got {field.type}. "
                    "Give it another name, or make another index."
                )
        if new := [field for field in columns if field.name not in there]:
            table.add_columns(pa.schema(new))


def _opened(uri: str) -> Any:
    with reading(uri):
        table = lance_module().dataset(uri)
        _ = table.schema  # is read when it is asked for
        return table


def _make(uri: str, schema: pa.Schema) -> None:
    lance = lance_module()
    try:
        # not `write_dataset`, which tries again after another writer's first commit, and takes that one's rows away
        lance.LanceDataset.commit(
            uri, lance.LanceOperation.Overwrite(schema, []), read_version=0, max_retries=0
        )
    except (OSError, RuntimeError) as error:
        try:
            _opened(uri)  # another writer was first
        except PairJEPAError:
            raise error from None


def _is_there(uri: str) -> bool:
    """Whether a table has a version, sound or not: on object storage its folder is seen before."""
    try:
        lance_module().dataset(uri)
    except (OSError, ValueError, RuntimeError) as error:
        return "was not found" not in str(error)
    return True


@contextlib.contextmanager
def _unless_another_writes() -> Iterator[None]:
    """Go on where another writer has changed the same files in between: it does the same when it is done."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if not any(word in str(error).lower() for word in ("conflict", "concurrent")):
            raise


def _quoted(ids: Sequence[str]) -> Iterator[str]:
    """Lists for `IN`, none too long."""
    for start in range(0, len(ids), 1000):
        yield ", ".join("'" + id.replace("'", "''") + "'" for id in ids[start : start + 1000])
