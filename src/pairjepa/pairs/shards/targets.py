"""Where shards are written to: a folder here, or one behind a URL. A shard is there whole, or not at all."""

import contextlib
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pairjepa.pairs.shards.places import connect, is_url, tried
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import (
    atomic_path,
    cache_folder,
    parse_json,
    remove_leftovers,
    temporary_folder,
    writing,
)

MANIFEST = "shards.json"
"""Says beside the shards which pairs they are, so that others are not mixed with them, and of each what is in it."""

END = bytes(2 * tarfile.BLOCKSIZE)
"""What a whole tar ends with."""


class Target:
    """A folder, here or of a file system that fsspec reaches.

    Raises:
        PairJEPAError: it is a file, or a file system that cannot be reached.
        UsageError: the scheme of the URL is unknown.
    """

    def __init__(self, out: str) -> None:
        import fsspec

        folder = Path(out.removeprefix("file://")).expanduser()
        self._is_remote = is_url(out)
        if self._is_remote:
            self._out = out.rstrip("/")
            self._fs, self._path = connect(self._out)
        else:
            if folder.exists() and not folder.is_dir():
                raise PairJEPAError(f"--out must be a folder, got the file {folder}. Name another.")
            self._out = str(folder)
            self._fs, self._path = fsspec.filesystem("file"), str(folder.absolute())
        remove_leftovers(cache_folder() if self._is_remote else folder)  # of an earlier process

    def manifest(self) -> Any:
        """The manifest that is there, or None.

        Raises:
            PairJEPAError: it is damaged.
        """
        path = f"{self._path}/{MANIFEST}"
        if not tried(self._out, lambda: self._fs.exists(path)):
            return None
        try:
            return parse_json(tried(self._out, lambda: self._fs.cat_file(path)))
        except ValueError as error:
            raise PairJEPAError(
                f"The manifest {self._out}/{MANIFEST} is not valid JSON ({error}). Put the right file there."
            ) from None

    def claim(self, manifest: Any) -> None:
        """Write the manifest."""
        with self.written(MANIFEST) as path:
            path.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def holds_shards(self) -> bool:
        """Whether any are there."""
        names = tried(
            self._out,
            lambda: self._fs.ls(self._path, detail=False) if self._fs.exists(self._path) else [],
        )
        return any(name.endswith(".tar") for name in names)

    def whole(self, name: str) -> bool:
        """Whether a shard is there and ends as a tar does: not every file system renames what has come whole."""
        path = f"{self._path}/{name}"
        if not tried(self._out, lambda: self._fs.exists(path)):
            return False
        size = tried(self._out, lambda: self._fs.info(path))["size"]
        start = max(size - len(END), 0)
        return bool(size and tried(self._out, lambda: self._fs.cat_file(path, start=start, end=size)) == END)

    def url(self, name: str) -> str:
        """Where a file is."""
        return f"{self._out}/{name}"

    @contextlib.contextmanager
    def written(self, name: str) -> Iterator[Path]:
        """A path for a file of this name, which is in its place when the block ends well."""
        if not self._is_remote:
            target = Path(self.url(name))
            with writing(target), atomic_path(target) as temporary:
                yield temporary
            return
        with writing(cache_folder()), temporary_folder(cache_folder()) as folder:  # sent in one go
            yield folder / name
            tried(self.url(name), lambda: self._send(folder / name, f"{self._path}/{name}"))

    def _send(self, path: Path, target: str) -> None:
        self._fs.makedirs(self._path, exist_ok=True)
        self._fs.put_file(str(path), target)
        self._fs.invalidate_cache(self._path)
        size = self._fs.info(target)["size"]
        if size != path.stat().st_size:
            raise OSError(f"{size:,} bytes arrived of {path.stat().st_size:,}")
