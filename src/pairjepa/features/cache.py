"""Features on disk: written in shards, each whole or not there, and read through memory maps.

    <cache>/features/<key>/manifest.json          what the key is made of
    <cache>/features/<key>/<shard>.npy            float32 (items, ...); hidden states are float16 (items, token, width),
                                                  each shard as long as its longest caption
    <cache>/features/<key>/<shard>.json           makes it valid: its items' keys, the digest of the .npy

`key` is the digest of the manifest, `shard` that of the item keys, so that two processes at the same work write
the same files. Whatever does not fit what is written beside it is computed again, and said. What cannot be read, for
want of descriptors, rights or memory, is not damaged: it is said, and nothing is changed.

Axes: `item` = distinct images or captions, `row` = those asked for, in order and with repetitions.
"""

import contextlib
import functools
import mmap
import os
import resource
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float16, Float32, Int, Int64

from pairjepa.util.errors import PairJEPAError, unreadable
from pairjepa.util.files import atomic_path, digest, digest_file, parse_json, read_json, write_json
from pairjepa.util.progress import say

ItemKeys = Sequence[str] | np.ndarray
"""Keys of items, in ASCII: strings or, where there are many, bytes of one length."""
FORMAT = 1
HIDDEN_STATES = "hidden state"
KEPT_BYTES = 128 * 2**20
"""Features of larger files stay in memory only while a batch is read from them."""
LIMIT = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
OPEN = 256 if LIMIT == resource.RLIM_INFINITY else max(8, min(256, LIMIT // 4))
"""Shards that are mapped at a time, as each takes a descriptor; others are opened again when it is their turn."""


@dataclass(frozen=True)
class Shard:
    """A file of features that has been checked."""

    path: Path
    data: str
    """Digest of the file."""

    def __call__(self) -> np.ndarray:
        """Its features, memory-mapped.

        Raises:
            PairJEPAError: the file is not there any more, or cannot be opened.
        """
        try:
            return _mapped(self)
        except (OSError, ValueError) as error:
            raise unreadable(self.path, error, _MEND) from None


@functools.lru_cache(OPEN)
def _mapped(shard: Shard) -> np.ndarray:
    # as a plain array, which is looked into more quickly than an np.memmap
    return np.asarray(np.load(shard.path, mmap_mode="r", allow_pickle=False))


class FeatureTable:
    """Rows of features that lie in memory-mapped shards.

    Attributes:
        shape: (rows, views, width) of images, (rows, width) of captions.
        engine: what computed them.
    """

    def __init__(
        self,
        shards: Sequence[Callable[[], np.ndarray]],
        shard: np.ndarray,
        offset: np.ndarray,
        item_shape: tuple[int, ...],
        engine: str = "torch",
        held: int = 0,
    ) -> None:
        """Row `i` is `shards[shard[i]]()[offset[i]]`; `held`: items in all shards, if they are more than the rows."""
        self._shards, self._shard, self._offset = shards, shard, offset
        self.shape: tuple[int, ...] = (len(shard), *item_shape)
        self.engine = engine
        self._large = 4 * max(len(shard), held) * np.prod(item_shape) > KEPT_BYTES

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
        result = np.empty((len(rows), *self.shape[1 if views is None else 2 :]), np.float32)
        for here, offset, mapped in self._by_shard(rows):
            result[here] = mapped[offset] if views is None else mapped[offset, views[here]]
        return result

    def gather_states(
        self, rows: Int[np.ndarray, " row"], longest: int
    ) -> Float16[np.ndarray, "row token width"]:
        """Hidden states of these rows, `longest` positions of each; those behind a caption's end mean nothing."""
        result = np.zeros((len(rows), longest, self.shape[-1]), np.float16)
        for here, offset, mapped in self._by_shard(rows):
            result[here, : mapped.shape[1]] = mapped[offset, :longest]
        return result

    def _by_shard(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Which of the rows lie in a shard, where, and its features."""
        shard, offset = self._shard[rows], self._offset[rows]
        for number in np.unique(shard):
            here, mapped = np.flatnonzero(shard == number), self._shards[number]()
            yield here, offset[here], mapped
            if self._large:
                _give_back(mapped)


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
        self._shards: list[Shard] = []
        # Sorted keys of items, their rows, and keys that are not sorted in yet.
        self._keys, self._rows, self._added = np.empty(0, "S1"), np.empty(0, np.int64), list[np.ndarray]()
        self._starts = [0]  # the first row of each shard
        self._check_manifest()
        for name in self._labels():
            self._add(name)

    @classmethod
    def begun(
        cls, cache: Path, made_of: dict[str, Any], item_shape: tuple[int, ...]
    ) -> "FeatureStore | None":
        """The store of `made_of` if something is in it, else None; nothing is made."""
        folder = cache / "features" / digest(_manifest(made_of, item_shape))
        held = any(file.endswith(".npy") for file in _listed(folder))
        return cls(cache, made_of, item_shape) if held else None

    def holds(self, items: ItemKeys) -> Bool[np.ndarray, " item"]:
        """Which of these items have features here."""
        return self._find(items) >= 0

    def refresh(self) -> set[str]:
        """Take in what other processes have written since, and name it."""
        known = {shard.path.stem for shard in self._shards}
        return {item for name in self._labels() if name not in known for item in self._add(name)}

    def lock_file(self, items: Sequence[str]) -> Path:
        """What is locked by who computes these items."""
        return self.folder / f".{digest(list(items))}.lock"

    def write(self, items: Sequence[str], features: Float[np.ndarray, "item ..."]) -> None:
        """Keep the features of these items as one shard.

        Raises:
            PairJEPAError: the disk is full, or the folder cannot be written.
        """
        name = digest(list(items))
        data = self.folder / f"{name}.npy"
        try:
            with atomic_path(data) as temporary, temporary.open("wb") as file:
                np.save(file, np.ascontiguousarray(features, _dtype(self.made_of)), allow_pickle=False)
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

    def table(self, items: ItemKeys) -> FeatureTable:
        """The rows of these items, all of which must be there."""
        rows, starts = self._find(items), np.array(self._starts)
        assert (rows >= 0).all()
        shard = np.searchsorted(starts, rows, side="right") - 1
        engine = self.made_of.get("engine", "torch")
        return FeatureTable(
            self._shards, shard, rows - starts[shard], self._item_shape, engine, self._starts[-1]
        )

    def _find(self, items: ItemKeys) -> Int64[np.ndarray, " item"]:
        """The row of each item in all shards, one after the other; -1 if it is not there."""
        if self._added:
            keys = np.concatenate([self._keys, *self._added])
            rows = np.concatenate([self._rows, np.arange(len(self._rows), len(keys))])
            order = np.argsort(keys, kind="stable")  # of equal ones the first comes first
            self._keys, self._rows, self._added = keys[order], rows[order], []
        asked, found = np.asarray(items, "S"), np.full(len(items), -1)
        if len(self._keys):
            at = np.searchsorted(self._keys, asked.astype(self._keys.dtype)).clip(max=len(self._keys) - 1)
            there = self._keys[at] == asked
            found[there] = self._rows[at[there]]
        return found

    def _labels(self) -> list[str]:
        """Names of the shards that have one."""
        return sorted(
            file.removesuffix(".json")
            for file in _listed(self.folder)
            if file.endswith(".json") and file != "manifest.json"
        )

    def _check_manifest(self) -> None:
        path, found = self.folder / "manifest.json", None
        try:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                found = parse_json(path.read_bytes())
        except OSError as error:
            raise unreadable(path, error, _MEND) from None
        except ValueError:
            found = "damaged"
        if found == self.made_of:
            return
        labels = self._labels()
        if found is not None or labels:
            say(f"The manifest of {self.folder} does not fit its features: they are computed again.")
        try:
            for name in labels:
                (self.folder / f"{name}.json").unlink(missing_ok=True)
            write_json(path, self.made_of)
        except OSError as error:
            raise _unwritable(self.folder, error) from None

    def _add(self, name: str) -> list[str]:
        """Take in the shard `name`, and give its items; none if it is not there or, with a line, if it is damaged."""
        try:
            items, shard = self._read(name)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise unreadable(self.folder / f"{name}.npy", error, _MEND) from None
        except (ValueError, KeyError, TypeError) as error:
            say(f"Damaged feature shard {self.folder / name}.npy is computed again ({error}).")
            with contextlib.suppress(OSError):
                (self.folder / f"{name}.json").unlink()
            return []
        self._shards.append(shard)
        self._added.append(np.array(items, "S"))
        self._starts.append(self._starts[-1] + len(items))
        return items

    def _read(self, name: str) -> tuple[list[str], Shard]:
        label = parse_json((self.folder / f"{name}.json").read_bytes())
        data, items = self.folder / f"{name}.npy", label["items"]
        if label["key"] != self.key or digest(items) != name:
            raise ValueError("its label is of another shard")
        if digest_file(data) != label["data"]:
            raise ValueError("its numbers are not those that were written")
        features = np.load(data, mmap_mode="r", allow_pickle=False)
        shape, dtype = (len(items), *self._item_shape), _dtype(self.made_of)
        if dtype == "float16" and features.ndim == 3:
            shape = (len(items), features.shape[1], self._item_shape[1])
        if features.dtype != dtype or features.shape != shape:
            raise ValueError(f"it holds {features.dtype} {features.shape}")
        return items, Shard(data, label["data"])


def _listed(folder: Path) -> list[str]:
    """Files of a folder; none if it is not there."""
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise unreadable(folder, error, _MEND) from None


def verify(folder: Path) -> tuple[list[Path], dict[Path, str]]:
    """The files of a store, and what is wrong with some of them: they are computed again when they are needed."""
    path = folder / "manifest.json"
    files, wrong = [path], {}
    try:
        manifest = read_json(path, "The manifest")
        store = FeatureStore.__new__(FeatureStore)
        store.folder, store.key, store.made_of = folder, digest(manifest), manifest
        store._item_shape = tuple(manifest["item_shape"])
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
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            wrong[label.with_suffix(".npy")] = str(unreadable(label.with_suffix(".npy"), error, "")).strip()
    for data in sorted(set(folder.glob("*.npy")) - set(files)):
        wrong[data] = f"{data} must have {data.stem}.json beside it, got none. Remove it: it is not used."
    return [*files, *wrong], wrong


def _manifest(made_of: dict[str, Any], item_shape: tuple[int, ...]) -> dict[str, Any]:
    return {"format": FORMAT, **made_of, "item_shape": list(item_shape)}


def _dtype(made_of: dict[str, Any]) -> str:
    return "float16" if made_of["kind"] == HIDDEN_STATES else "float32"


_MEND = "Look at the disk, or set PAIRJEPA_CACHE to another folder, and run the same command again."


def _unwritable(folder: Path, error: OSError) -> PairJEPAError:
    return PairJEPAError(
        f"The feature cache {folder} cannot be written: {error.strerror or error}. "
        "Make room there, or set PAIRJEPA_CACHE to another folder."
    )
