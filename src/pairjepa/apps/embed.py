"""Vectors of images by a trained run, in hand or in a file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from pairjepa.apps.search.loading import Loaded, loaded, never
from pairjepa.apps.search.sources import Entry, open_source
from pairjepa.backbones.location import is_hub_id
from pairjepa.config.settings import DataConfig, EngineName
from pairjepa.embedder.encoder import Encoder
from pairjepa.features.engines import check_engine
from pairjepa.pairs.problems import EXAMPLES
from pairjepa.util.checksums import read_record, write_record
from pairjepa.util.errors import PairJEPAError, UsageError
from pairjepa.util.files import atomic_path, cache_folder, check_file, writing
from pairjepa.util.progress import progress, say
from pairjepa.util.tables import write_table

SUFFIXES = (".parquet", ".npy")


@dataclass(frozen=True, eq=False)
class ImageVectors:
    """Images that could be read, as vectors."""

    rows: list[int]
    """Of the entries that were given."""
    vectors: Float32[np.ndarray, "images dim"]
    unreadable: list[tuple[str, str]]
    """Name and reason of the images that could not."""


def embed(
    run: str | Path,
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    data: DataConfig | None = None,
    engine: EngineName = "auto",
) -> list[Path]:
    """Embed images with a trained run into a file. What cannot be read is left out and named.

    Args:
        run: folder of a run, one that `pairjepa export RUN --to onnx` wrote, or a pretrained pair.
        sources: folders of images, images, or pairs as `Pairs.open` takes them.
        out: `.parquet`, with the columns `name`, `path` and `vector`; or `.npy`, the matrix, beside which a `.json`
            has the names. Both hold the digest of the run's weights.
        data: names of columns, where usual ones do not find them.
        engine: what forwards the backbone, as `model.engine` of a training.

    Returns:
        The files that were written.

    Raises:
        UsageError: no source is given, or `out` is of another kind.
        PairJEPAError: run or sources are not as they must be, no image can be read, `out` cannot be written, or a
            `.json` of something else is in its way.
    """
    out = Path(out)
    about = out.with_suffix(".json")
    if out.suffix not in SUFFIXES:
        raise UsageError(f"--out must end in {' or '.join(SUFFIXES)}, got {str(out)!r}.")
    if not sources:
        raise UsageError("IMAGES must name at least one folder, image or set of pairs, got none.")
    check_file(out, *sources)
    if out.suffix == ".npy" and about.exists():
        mend = f"The names of {out.name} would take its place: give --out another name."
        read_record(about, {"weights": str, "names": list}, mend)
    entries = [entry for one in sources for entry in open_source(str(one), data or DataConfig()).entries]
    encoder = load_encoder(run)
    found = embed_entries(encoder, entries, engine)
    names = [entries[row].name for row in found.rows]
    with writing(out):
        if out.suffix == ".npy":
            with atomic_path(out) as temporary, temporary.open("wb") as file:
                np.save(file, found.vectors, allow_pickle=False)
            write_record(about, {"weights": encoder.weights, "names": names})
            return [out, about]
        values = pa.FixedSizeListArray.from_arrays(pa.array(found.vectors.ravel()), encoder.dim)
        paths = pa.array([entries[row].path for row in found.rows], pa.string())
        table = pa.table({"name": names, "path": paths, "vector": values})
        write_table(table.replace_schema_metadata({"weights": encoder.weights}), out)
    return [out]


def embed_entries(encoder: Encoder, entries: list[Entry], engine: EngineName = "auto") -> ImageVectors:
    """Vectors of the entries that can be read; features that a training has left in the cache are taken from there.

    Raises:
        UsageError: there is no such engine, or it is Ray.
        PairJEPAError: no image can be read.
    """
    check_engine(engine)
    if engine == "ray":
        raise UsageError(
            "model.engine must be one of auto, torch, bfloat16, onnx here, got 'ray'. `pairjepa index` takes it."
        )
    vectors: list[np.ndarray] = []
    rows: list[int] = []
    unreadable: list[tuple[str, str]] = []
    images = _images(encoder, len(entries), engine)
    with progress("embed", len(entries), "images") as bar:
        for batch in loaded(entries, never, encoder.min_decode_size):
            good = [one for one in batch if not one.reason]
            unreadable += [(one.entry.name, one.reason) for one in batch if one.reason]
            rows += [row for row, one in enumerate(batch, bar.done) if not one.reason]
            if good:
                vectors.append(images(good))
            bar.advance(len(batch))
    if unreadable:
        listed = "".join(f"\n  {name}: {reason}" for name, reason in unreadable[:EXAMPLES])
        say(f"{len(unreadable):,} of {len(entries):,} images cannot be read, left out:{listed}")
    if not rows:
        raise PairJEPAError("At least one image must be readable, got none. Give images that can be read.")
    return ImageVectors(rows, np.concatenate(vectors), unreadable)


def _images(
    encoder: Encoder, images: int, engine: EngineName
) -> Callable[[list[Loaded]], Float32[np.ndarray, "images dim"]]:
    """What embeds decoded images: a run by the engine and the cache, an ONNX export by itself."""
    from pairjepa.embedder.onnx_embedder import OnnxEmbedder

    if isinstance(encoder, OnnxEmbedder):
        return lambda batch: encoder.encode_image([one.image for one in batch if one.image is not None])
    from pairjepa.apps.search.embedding import Embedding
    from pairjepa.util.memory import keep_freed_memory

    keep_freed_memory()
    return Embedding(encoder, engine, images=images, captions=0, cache=cache_folder()).images


def load_encoder(run: str | Path) -> Encoder:
    """A run in use: from its ONNX graphs if the folder is an export, else with PyTorch; or a pretrained pair as it is.

    Raises:
        PairJEPAError: the folder is neither, or damaged.
    """
    from pairjepa.embedder import onnx_embedder

    if (Path(run) / onnx_embedder.SETTINGS).is_file():
        return onnx_embedder.OnnxEmbedder.load(run)
    from pairjepa.run.folder import RunFolder

    # says that there is no run before PyTorch is loaded
    folder = None if is_pair(run) else RunFolder(Path(run))
    from pairjepa.embedder.embedder import Embedder

    return Embedder.from_pair(run) if folder is None else Embedder.load(folder)


def is_pair(name: str | Path) -> bool:
    """Whether this names no run: a model folder of Transformers, or a hub id."""
    here = Path(name)
    hub = "/" in str(name) and is_hub_id(str(name))
    return hub or ((here / "config.json").is_file() and not (here / "run.json").is_file())
