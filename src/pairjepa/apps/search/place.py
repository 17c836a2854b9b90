"""Where an index lies: a folder, or a URL of object storage that Lance and fsspec both open (`s3://bucket/my.index`)."""

import re
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any, TypeVar

from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import LEFTOVER, atomic_folder, atomic_path, cache_folder, temporary_folder, writing

T = TypeVar("T")

_PLAIN = re.compile(r"\w[\w.-]*")


class Place:
    """A folder by its path, or by its URL.

    Attributes:
        folder: its path; None if it is on object storage.
    """

    def __init__(self, where: "str | Path | Place") -> None:
        self._name = str(where).rstrip("/")
        self.folder = None if "://" in self._name else Path(self._name)

    def __str__(self) -> str:
        return self._name

    def __truediv__(self, name: str) -> str:
        """Of a file or table in it: what Lance takes, and what is shown."""
        return f"{self._name}/{name}" if self.folder is None else str(self.folder / name)

    def read(self, name: str) -> bytes | None:
        """What a file holds; None if it is not there.

        Raises:
            PairJEPAError: object storage cannot be reached.
        """
        if self.folder is not None:
            path = self.folder / name
            return path.read_bytes() if path.is_file() else None
        return self._asked(
            lambda files, root: files.cat_file(f"{root}/{name}") if files.exists(f"{root}/{name}") else None
        )

    def write(self, name: str, data: bytes) -> None:
        """Make or replace a file, as a whole or not at all: an object is not there before all of it is.

        Raises:
            PairJEPAError: the disk is full or may not be written; object storage cannot be reached.
        """
        if self.folder is not None:
            with writing(self.folder), atomic_path(self.folder / name) as temporary:
                temporary.write_bytes(data)
            return
        from fsspec.implementations.local import LocalFileSystem

        def put(files: Any, root: str) -> None:
            files.makedirs(root, exist_ok=True)
            if not isinstance(files, LocalFileSystem):
                files.pipe_file(f"{root}/{name}", data)
                return
            with files.open(f"{root}/{name}", "wb", autocommit=False) as file:
                file.write(data)
            file.commit()  # a disk shows a file from its first byte

        self._asked(put)

    def names(self) -> list[str] | None:
        """What is in it, without temporary folders; None if it is no folder, or is not there.

        Raises:
            PairJEPAError: object storage cannot be reached.
        """
        if self.folder is not None:
            if not self.folder.is_dir():
                return None
            return sorted(p.name for p in self.folder.iterdir() if not p.name.endswith(LEFTOVER))
        paths = self._asked(lambda files, root: files.ls(root, detail=False) if files.isdir(root) else None)
        return None if paths is None else sorted(PurePath(path).name for path in paths)

    def holds(self, name: str) -> bool:
        """Whether a file is in it.

        Raises:
            PairJEPAError: object storage cannot be reached.
        """
        if self.folder is not None:
            return (self.folder / name).is_file()
        return self._asked(lambda files, root: bool(files.exists(f"{root}/{name}")))

    def exists(self) -> bool:
        """Whether there is a folder or a file."""
        return self.folder.exists() if self.folder is not None else self.names() is not None

    def keep(self, name: str, make: Callable[[Path], object], last: str) -> None:
        """Put a folder into it, made by `make(path)`; it is whole when its file `last` is there.

        Raises:
            PairJEPAError: object storage cannot be reached; or as `make`.
        """
        if self.folder is not None:
            make(self.folder / name)
            return
        with temporary_folder() as temporary:
            made = temporary / name
            make(made)
            data = (made / last).read_bytes()
            (made / last).unlink()
            self._asked(lambda files, root: files.put(f"{made}/", f"{root}/{name}/", recursive=True))
        self.write(f"{name}/{last}", data)

    def here(self, name: str, digest: str) -> Path:
        """A folder in it as one of this machine: of object storage its files are fetched once, into the cache.

        Args:
            name: of the folder.
            digest: another where its content is another.

        Raises:
            PairJEPAError: object storage cannot be reached, or a file there has no plain name.
        """
        if self.folder is not None:
            return self.folder / name
        kept = cache_folder() / "models" / digest
        if not kept.is_dir():
            paths = self._asked(lambda files, root: files.find(f"{root}/{name}", maxdepth=1))
            names = [PurePath(path).name for path in paths]
            # object storage takes names that lead elsewhere on a disk
            if bad := next((one for one in names if not _PLAIN.fullmatch(one)), None):
                raise PairJEPAError(
                    f"{self / name} must hold files with plain names, got {bad!r}. Make the index again."
                )
            with writing(kept), atomic_folder(kept) as temporary:
                targets = [str(temporary / one) for one in names]
                self._asked(lambda files, _: files.get(paths, targets))
        return kept

    def _asked(self, work: Callable[[Any, str], T]) -> T:
        """`work(file system, path in it)`, and what is wrong with object storage is said in a sentence."""
        from pairjepa.pairs.shards.places import connect, tried

        files, root = connect(self._name)
        return tried(self._name, lambda: work(files, root))
