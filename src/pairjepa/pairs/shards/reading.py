"""Bytes of images by their place in a shard. Safe to call from several threads.

A local shard is read where it lies. Of a remote one, blocks are fetched as they are needed, a few ahead where reading
goes on, and kept in a file without a name in the cache folder while the shard is in use: rows of a few shards in any
order cost each byte once, and no memory.
"""

import os
import tempfile
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, cached_property, lru_cache
from typing import Any

from pairjepa.pairs.images import BadImage, bad_image
from pairjepa.pairs.shards.places import connect, is_url, tried
from pairjepa.util.files import cache_folder, writing

BLOCK = 2 << 20
"""Bytes that are asked for at once: less and the answer's delay counts, more and a single image costs too much."""

AHEAD = 4
"""Blocks that are fetched before they are needed."""

IN_USE = 16
"""Remote shards that are kept: those of two buffers of a training, and what is asked for beside it."""


def read(url: str, stamp: str, offset: int, length: int) -> bytes:
    """`length` bytes of a shard from `offset` on; `stamp` is that of `places.Shard`: another one is another file.

    Raises:
        BadImage: the shard is shorter than it was, or gone from the disk.
        PairJEPAError: a remote shard cannot be reached.
    """
    try:
        if is_url(url):
            with _lock:
                shard = _remote(url, stamp)
            data = shard.read(offset, length)
        else:
            with open(url, "rb") as file:
                file.seek(offset)
                data = file.read(length)
    except OSError as error:
        raise bad_image(error) from None
    if len(data) < length:
        raise BadImage("cannot be read: its shard has become shorter")
    return data


class _Remote:
    """A remote shard and the file of its blocks, which is closed when the last thread lets go of it."""

    def __init__(self, url: str, stamp: str) -> None:
        self._url = url
        cache_folder().mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=cache_folder())  # noqa: SIM115
        self._blocks: dict[int, Future[None]] = {}
        self._lock = threading.Lock()

    @cached_property
    def _place(self) -> tuple[Any, str, int]:
        """File system, path and bytes."""
        fs, path = connect(self._url)
        return fs, path, tried(self._url, lambda: fs.info(path))["size"]

    def read(self, offset: int, length: int) -> bytes:
        first, last = offset // BLOCK, (offset + max(length, 1) - 1) // BLOCK
        with self._lock:
            size = self._place[2]
            goes_on = first - 1 in self._blocks or (first == 0 and 0 in self._blocks)
            needed = [(block, self._block(block)) for block in range(first, last + 1)]
            for block in range(last + 1, last + 1 + (AHEAD if goes_on else 0)):
                self._block(block)
        for block, fetched in needed:
            try:
                fetched.result()
            except BaseException:
                with self._lock:
                    self._blocks.pop(block, None)  # so that it is tried again when it is asked for again
                raise
        return os.pread(self._file.fileno(), min(length, max(size - offset, 0)), offset)

    def _block(self, block: int) -> Future[None]:
        if block not in self._blocks:
            self._blocks[block] = _fetchers().submit(self._fetch, block * BLOCK)
        return self._blocks[block]

    def _fetch(self, start: int) -> None:
        fs, path, size = self._place
        end = min(start + BLOCK, size)
        if start >= end:
            return

        def whole() -> bytes:
            data: bytes = fs.cat_file(path, start=start, end=end)
            if len(data) != end - start:
                raise OSError(f"{len(data):,} bytes came of {end - start:,}")
            return data

        data = tried(self._url, whole)
        with writing(cache_folder()):
            while data:
                data = data[os.pwrite(self._file.fileno(), data, end - len(data)) :]


_remote = lru_cache(IN_USE)(_Remote)
_lock = threading.Lock()


@cache
def _fetchers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2 * AHEAD, thread_name_prefix="pairjepa-shards")
