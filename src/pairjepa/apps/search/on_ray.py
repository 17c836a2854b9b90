"""Images read and embedded by the workers of Ray, for an index that is written here.

The run goes to each machine once. An image goes out as the name of its file where it has one, as its bytes where it is
in a table; its vector and its thumbnail come back.
"""

import functools
import pickle
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pairjepa.apps.export.hub import write_run
from pairjepa.apps.search.embedding import Embedding
from pairjepa.apps.search.loading import BATCH, Loaded, load, never
from pairjepa.apps.search.sources import Entry, read_file
from pairjepa.apps.search.stored import vectors_of
from pairjepa.embedder.embedder import Embedder
from pairjepa.features.on_ray import one_core, results, rounds
from pairjepa.features.ray_cluster import cluster
from pairjepa.pairs import BadImage
from pairjepa.util.errors import PairJEPAError

TOGETHER = 64
"""Images that one worker embeds at a time: what is tried again when it dies."""


def embedded(embedder: Embedder, entries: Sequence[Entry]) -> Generator[list[Loaded]]:
    """Images with their vectors, in the order in which they are done; those that cannot be read say why.

    Raises:
        PairJEPAError: the cluster cannot be reached, its machines have other versions than this one, or workers died
            again and again.
    """
    with cluster() as (ray, elsewhere):
        compute = functools.partial(_compute, ray.put(_packed(embedder)))
        for some in rounds(_sent(entries), ray.cluster_resources()["object_store_memory"] / 4):
            with closing(results(ray, compute, [data for _, data in some])) as done:
                for number, result, error in done:
                    if error:
                        raise PairJEPAError(error)
                    here = list(_loaded(some[number][0], result, embedder.dim))
                    if elsewhere:
                        _check_seen(here)
                    yield here


def _loaded(entries: Sequence[Entry], result: bytes, dim: int) -> Iterator[Loaded]:
    table = pa.ipc.open_stream(result).read_all()
    vectors = iter(vectors_of(table["vector"], dim))  # of those that have one
    for entry, row in zip(entries, table.drop_columns("vector").to_pylist(), strict=True):
        reason, size = row["reason"], (row["width"], row["height"])
        vector = None if reason else next(vectors)
        yield Loaded(entry, row["digest"], None, size, row["thumbnail"], reason, vector)


def _check_seen(images: Sequence[Loaded]) -> None:
    """Raise if another machine cannot read what this one can: it would be left out, or taken out of the index."""
    for one in images:
        if one.reason and not (found := load(one.entry, never)).reason:
            raise PairJEPAError(
                f"Image {found.entry.name} can be read here, and on a machine of the Ray cluster: {one.reason}. "
                "All its machines must see the photographs where this one does."
            )


def _sent(entries: Sequence[Entry]) -> Iterator[tuple[Sequence[Entry], bytes]]:
    """Entries, and what goes out for them."""
    for start in range(0, len(entries), TOGETHER):
        some = entries[start : start + TOGETHER]
        yield some, pickle.dumps([Sent.of(entry) for entry in some])


@dataclass(frozen=True)
class Sent:
    """What goes out for an image: the name of its file, its bytes, or why it has none."""

    name: str
    path: str | None = None
    data: bytes = b""
    reason: str = ""

    @classmethod
    def of(cls, entry: Entry) -> "Sent":
        """What an entry needs."""
        if entry.path is not None:
            return cls(entry.name, entry.path)
        try:
            return cls(entry.name, data=entry.read())
        except BadImage as error:
            return cls(entry.name, reason=error.reason)

    def read(self) -> bytes:
        """The image file, in a worker."""
        if self.reason:
            raise BadImage(self.reason, self.name)
        return self.data if self.path is None else read_file(self.path)


def _compute(run: Any, data: bytes) -> bytes:
    """In a worker: some images."""
    embedding = _ready(run)
    sent: list[Sent] = pickle.loads(data)  # from the driver, whose code Ray runs here in any case
    rows = []
    for start in range(0, len(sent), BATCH):
        some = sent[start : start + BATCH]
        done = [load(Entry("", one.name, one.path, one.read), never, embedding.enough) for one in some]
        good = [one for one in done if not one.reason]
        vectors = iter(embedding.images(good)) if good else iter(())
        rows += [
            {
                "digest": one.digest,
                "width": one.size[0],
                "height": one.size[1],
                "thumbnail": one.thumbnail,
                "reason": one.reason,
                "vector": None if one.reason else next(vectors),
            }
            for one in done
        ]
    names = {"digest": pa.string(), "width": pa.int32(), "height": pa.int32(), "thumbnail": pa.binary()}
    vector = pa.list_(pa.float32(), embedding.embedder.dim)
    schema = pa.schema([*names.items(), ("reason", pa.string()), ("vector", vector)])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema))
    return sink.getvalue().to_pybytes()


@functools.lru_cache(maxsize=1)
def _ready(run: Any) -> Embedding:
    """In a worker: the run behind a reference."""
    import ray

    one_core()
    with tempfile.TemporaryDirectory() as name:
        for file, data in ray.get(run).items():
            path = Path(name) / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        embedder = Embedder.load(name)
    return Embedding(embedder, "torch", images=0, captions=0)


def _packed(embedder: Embedder) -> dict[str, bytes]:
    """The files of a run that holds all it needs."""
    with tempfile.TemporaryDirectory() as name:
        write_run(embedder, Path(name))
        return {
            str(file.relative_to(name)): file.read_bytes() for file in Path(name).rglob("*") if file.is_file()
        }
