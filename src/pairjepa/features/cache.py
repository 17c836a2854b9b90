"""Features on disk: written in shards, each whole or not there, and read through memory maps.

    <cache>/features/<key>/manifest.json          what the key is made of
    <cache>/features/<key>/<shard>.npy            float32 (items, ...)
    <cache>/features/<key>/<shard>.json           makes it valid: its items' keys, the digest of the .npy

`key` is the digest of the manifest, `shard` that of the item keys, so that two processes at the same work write
the same files. Whatever does not fit what is written beside it is computed again, and said.

Axes: `item` = distinct images or captions, `row` = those asked for, in order and with repetitions.
"""

import contextlib
import mmap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int

from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import atomic_path, digest, digest_file, read_json, write_json
from pairjepa.util.progress import say

FORMAT = 1
KEPT_BYTES = 128 * 2**20
"""Features of a larger table stay in memory only while a batch is read from them."""


class FeatureTable:
    """Rows of features that lie in memory-mapped shards.

    Attributes:
        shape: (rows, views, width) of images, (rows, width) of captions.
    """

    def __init__(self, shards: Sequence[np.ndarray], shard: np.ndarray, offset: np.ndarray) -> None:
        """Row `i` is `shards[shard[i]][offset[i]]`."""
        # as plain arrays, which are looked into more quickly than an np.memmap
        self._shards, self._shard, self._offset = [np.asarray(mapped) for mapped in shards], shard, offset
        item_shape = shards[0].shape[1:] if shards else ()
        self.shape: tuple[int, ...] = (len(shard), *item_shape)
        self._large = sum(mapped.nbytes for mapped in shards) > KEPT_BYTES

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._shard)

    def gather(
        self, rows: Int[np.ndarray, " row"], views: Int[np.ndarray, " row"] | None = None
    ) -> Float32[np.ndarray, "row ..."]:
        """A float32 copy of the features of these rows, to the bit as they were computed.

        Args:
            rows: which rows.
            views: of each row the one view that is wanted; None takes all, if there are several.
        """
        shard, offset = self._shard[rows], self._offset[rows]
        result = np.empty((len(rows), *self.shape[1 if views is None else 2 :]), np.float32)
        for number in np.unique(shard):
            here = np.flatnonzero(shard == number)
            mapped = self._shards[number]
            start, end = here[0], here[-1] + 1
            if views is None and end - start == len(here):  # rows in order: nothing is copied twice
                np.take(mapped, offset[start:end], axis=0, out=result[start:end], mode="clip")
            else:
                result[here] = mapped[offset[here]] if views is None else mapped[offset[here], views[here]]
            if self._large:
                _give_back(mapped)
        return result


def _give_back(mapped: np.ndarray) -> None:
    """Take a file's pages out of this process's memory; the system still has them, as long as there is room."""
    file = mapped.base.base if isinstance(mapped.base, np.memmap) else None
    if isinstance(file, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        file.madvise(mmap.MADV_DONTNEED)


class FeatureStore:
    """The shards of one kind of features: all of the same backbone, with the same views."""

    def __init__(self, cache: Path, made_of: dict[str, Any], item_shape: tuple[int, ...]) -> None:
        """Open the store of `made_of`, and check what is in it.

        Args:
            cache: root of the cache; `features/<key>` is made below it.
            made_of: what the features depend on, JSON-ready.
            item_shape: shape of the features of one item: (views, width) or (width,).

        Raises:
            PairJEPAError: the folder cannot be written.
        """
        self.made_of = _manifest(made_of, item_shape)
        self.key = digest(self.made_of)
        self.folder = cache / "features" / self.key
        self._item_shape = item_shape
        self._shards: list[np.ndarray] = []
        self._places: dict[str, tuple[int, int]] = {}
        try:
            self._check_manifest()
        except OSError as error:
            raise _unwritable(self.folder, error) from None
        for path in sorted(self.folder.glob("*.json")):
            if path.name != "manifest.json":
                self._add(path.stem)

    @classmethod
    def begun(
        cls, cache: Path, made_of: dict[str, Any], item_shape: tuple[int, ...]
    ) -> "FeatureStore | None":
        """The store of `made_of` if something is in it, else None; nothing is made."""
        folder = cache / "features" / digest(_manifest(made_of, item_shape))
        return cls(cache, made_of, item_shape) if any(folder.glob("*.npy")) else None

    def __contains__(self, item: str) -> bool:
        """Whether the features of this item are there."""
        return item in self._places

    def has_shard(self, items: Sequence[str]) -> bool:
        """Whether exactly this shard is there by now: another process may have written it since."""
        name = digest(list(items))
        return (self.folder / f"{name}.json").exists() and self._add(name)

    def write(self, items: Sequence[str], features: Float32[np.ndarray, "item ..."]) -> None:
        """Keep the features of these items as one shard.

        Raises:
            PairJEPAError: the disk is full, or the folder cannot be written.
        """
        name = digest(list(items))
        data = self.folder / f"{name}.npy"
        try:
            with atomic_path(data) as temporary, temporary.open("wb") as file:
                np.save(file, np.ascontiguousarray(features, np.float32), allow_pickle=False)
            write_json(
                data.with_suffix(".json"),
                {"key": self.key, "data": digest_file(data), "items": list(items)},
            )
        except OSError as error:
            raise _unwritable(self.folder, error) from None
        if not self._add(name):
            raise PairJEPAError(
                f"The features just written to {data} cannot be read back. Is the disk sound?"
            )

    def table(self, items: Iterable[str]) -> FeatureTable:
        """The rows of these items, all of which must be there."""
        places = np.array([self._places[item] for item in items], np.int64).reshape(-1, 2)
        return FeatureTable(self._shards, places[:, 0], places[:, 1])

    def _check_manifest(self) -> None:
        path = self.folder / "manifest.json"
        found: Any = None
        if path.exists():
            try:
                found = read_json(path, "The manifest")
            except PairJEPAError:
                found = "damaged"
        if found == self.made_of:
            return
        shards = [p for p in self.folder.glob("*.json") if p != path]
        if found is not None or shards:
            say(f"The manifest of {self.folder} does not fit its features: they are computed again.")
        for shard in shards:
            shard.unlink(missing_ok=True)
        write_json(path, self.made_of)

    def _add(self, name: str) -> bool:
        """Map the shard `name`; False, and a line, if it is damaged."""
        try:
            items, features = self._read(name)
        except (PairJEPAError, OSError, ValueError, KeyError, TypeError) as error:
            say(f"Damaged feature shard {self.folder / name}.npy is computed again ({error}).")
            with contextlib.suppress(OSError):
                (self.folder / f"{name}.json").unlink()
            return False
        number = len(self._shards)
        self._shards.append(features)
        for offset, item in enumerate(items):
            self._places.setdefault(item, (number, offset))
        return True

    def _read(self, name: str) -> tuple[list[str], np.ndarray]:
        label = read_json(self.folder / f"{name}.json", "The label")
        data, items = self.folder / f"{name}.npy", label["items"]
        if label["key"] != self.key or digest(items) != name:
            raise ValueError("its label is of another shard")
        if digest_file(data) != label["data"]:
            raise ValueError("its numbers are not those that were written")
        features: np.ndarray = np.load(data, mmap_mode="r", allow_pickle=False)
        if features.dtype != np.float32 or features.shape != (len(items), *self._item_shape):
            raise ValueError(f"it holds {features.dtype} {features.shape}")
        return items, features


def verify(folder: Path) -> tuple[list[Path], dict[Path, str]]:
    """The files of a store, and what is wrong with some of them: they are computed again when they are needed."""
    path = folder / "manifest.json"
    files, wrong = [path], {}
    try:
        manifest = read_json(path, "The manifest")
        store = FeatureStore.__new__(FeatureStore)
        store.folder, store.key, store._item_shape = folder, digest(manifest), tuple(manifest["item_shape"])
        if store.key != folder.name:
            raise ValueError("it is of other features")
    except (PairJEPAError, KeyError, TypeError, ValueError) as error:
        return files, {path: f"{path} is damaged ({error})."}
    for label in sorted(folder.glob("*.json")):
        if label == path:
            continue
        files += [label, label.with_suffix(".npy")]
        try:
            store._read(label.stem)
        except (PairJEPAError, OSError, ValueError, KeyError, TypeError) as error:
            wrong[label.with_suffix(".npy")] = f"{label.with_suffix('.npy')} is damaged ({error})."
    return files, wrong


def _manifest(made_of: dict[str, Any], item_shape: tuple[int, ...]) -> dict[str, Any]:
    return {"format": FORMAT, **made_of, "item_shape": list(item_shape)}


def _unwritable(folder: Path, error: OSError) -> PairJEPAError:
    return PairJEPAError(
        f"The feature cache {folder} cannot be written: {error.strerror or error}. "
        "Make room there, or set PAIRJEPA_CACHE to another folder."
    )
