"""Where shards are written to: a folder here, or one behind a URL. A shard is there whole, or not at all."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pairjepa.pairs.shards.places import connect, is_url, tried
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import (
    atomic_path,
    cache_folder,
    parse_json,
    read_json,
    remove_leftovers,
    temporary_folder,
    write_json,
    writing,
)

MANIFEST = "shards.json"
"""Says beside the shards which pairs they are, so that others are not mixed with them, and of each what is in it."""

END = bytes(2 * tarfile.BLOCKSIZE)
"""What a whole tar ends with."""


def target_of(out: str) -> "Target":
    """The target that a folder or a URL names.

    Raises:
        PairJEPAError: it is a file, or a file system that cannot be reached.
        UsageError: the scheme of the URL is unknown.
    """
    return _Remote(out) if is_url(out) else _Local(Path(out.removeprefix("file://")).expanduser())


class _Local:
    """A folder. Its shards are written beside their place and renamed, so those that are there are whole."""

    def __init__(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise PairJEPAError(f"--out must be a folder, got the file {folder}. Name another.")
        self._folder = folder

    def manifest(self) -> Any:
        """The manifest that is there, or None."""
        path = self._folder / MANIFEST
        return read_json(path, "The manifest") if path.exists() else None

    def claim(self, manifest: Any) -> None:
        """Write the manifest."""
        with writing(self._folder):
            write_json(self._folder / MANIFEST, manifest)

    def tidy(self) -> None:
        """Take away what an earlier process left half written."""
        remove_leftovers(self._folder)

    def shards(self) -> list[str]:
        """Names of the shards that are there."""
        return [path.name for path in self._folder.glob("*.tar")]

    def whole(self, name: str) -> bool:
        """Whether a shard is there, to its end."""
        return (self._folder / name).is_file()

    def write(self, name: str, into: Callable[[Path], None]) -> str:
        """Have `into` write a shard into the file that it is given, put it in its place and say where that is."""
        target = self._folder / name
        with writing(target), atomic_path(target) as temporary:
            into(temporary)
        return str(target)


class _Remote:
    """A folder of a file system that fsspec reaches. A shard is made here and then sent in one go."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._fs, self._path = connect(self._url)

    def tidy(self) -> None:
        remove_leftovers(cache_folder())

    def manifest(self) -> Any:
        if not tried(self._url, lambda: self._fs.exists(f"{self._path}/{MANIFEST}")):
            return None
        try:
            return parse_json(tried(self._url, lambda: self._fs.cat_file(f"{self._path}/{MANIFEST}")))
        except ValueError:
            return "damaged"

    def claim(self, manifest: Any) -> None:
        tried(self._url, lambda: self._fs.makedirs(self._path, exist_ok=True))
        data = json.dumps(manifest, indent=2).encode()
        tried(self._url, lambda: self._fs.pipe_file(f"{self._path}/{MANIFEST}", data))

    def shards(self) -> list[str]:
        found: list[str] = tried(self._url, lambda: self._fs.glob(f"{self._path}/*.tar"))
        return found

    def whole(self, name: str) -> bool:
        """Whether it is there and ends as a tar does: not every file system renames what has come whole."""
        path = f"{self._path}/{name}"
        if not tried(self._url, lambda: self._fs.exists(path)):
            return False
        size = tried(self._url, lambda: self._fs.info(path))["size"]
        start = max(size - len(END), 0)
        return bool(size and tried(self._url, lambda: self._fs.cat_file(path, start=start, end=size)) == END)

    def write(self, name: str, into: Callable[[Path], None]) -> str:
        with writing(cache_folder()), temporary_folder(cache_folder()) as folder:
            path = folder / name
            into(path)
            tried(f"{self._url}/{name}", lambda: self._send(path, f"{self._path}/{name}"))
        return f"{self._url}/{name}"

    def _send(self, path: Path, target: str) -> None:
        self._fs.put_file(str(path), target)
        self._fs.invalidate_cache(self._path)
        size = self._fs.info(target)["size"]
        if size != path.stat().st_size:
            raise OSError(f"{size:,} bytes arrived of {path.stat().st_size:,}")


Target = _Local | _Remote
"""Where shards go."""
