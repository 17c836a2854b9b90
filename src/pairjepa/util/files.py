"""Files that are either whole or not there: atomic writes, digests, JSON."""

import contextlib
import csv
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import Any

from safetensors import SafetensorError

from pairjepa.util.errors import PairJEPAError, first_line, unreadable

LEFTOVER = ".tmp"
"""What the names of temporary folders end with."""


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """A temporary path beside `target` that replaces it when the block ends well, and is removed otherwise."""
    with _scratch(target.parent, target.name) as scratch:
        temporary = scratch / target.name
        temporary.touch()
        mode = temporary.stat().st_mode  # some libraries put a file of their own there, for its owner alone
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(mode)
        temporary.replace(target)


@contextlib.contextmanager
def atomic_folder(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """An empty folder beside `target` that becomes it when the block ends well, and is removed otherwise.

    Args:
        target: not there, or an empty folder.
        replace: take the place of a folder that is there; of two writers, the last one's stays.
    """
    with _scratch(target.parent, target.name) as scratch:
        temporary = scratch / target.name
        temporary.mkdir()
        yield temporary
        while True:
            if replace:
                with contextlib.suppress(FileNotFoundError):
                    target.rename(Path(tempfile.mkdtemp(dir=scratch)) / "replaced")
            try:
                temporary.rename(target)
                return
            except OSError as error:
                if not replace or error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # another was quicker
                    raise


@contextlib.contextmanager
def temporary_folder(where: Path | None = None) -> Iterator[Path]:
    """An empty folder for temporary files; unlike `tempfile`'s, one that a kill leaves is removed by the next call.

    Args:
        where: a folder, which is made if it is not there; the system's own for temporary files if not given.
    """
    with _scratch(where or Path(tempfile.gettempdir()), "pairjepa") as scratch:
        (scratch / "files").mkdir()
        yield scratch / "files"


@contextlib.contextmanager
def _scratch(folder: Path, name: str) -> Iterator[Path]:
    """A new folder `.NAME.*.tmp` in `folder`, locked as long as the block runs and then removed."""
    from filelock import FileLock

    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder, name)
    while True:
        scratch = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=LEFTOVER, dir=folder))
        lock = FileLock(scratch / "lock", fallback_to_soft=False)
        try:
            lock.acquire(timeout=0)
            break
        except (TimeoutError, FileNotFoundError):
            continue  # another process has taken it for a leftover
        except OSError:
            break  # no locks on this file system: nobody takes it for one
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        lock.release()


def remove_leftovers(folder: Path, name: str = "", *, deep: bool = False) -> None:
    """Remove the temporary folders of processes that were killed; those of a process that lives are locked and stay.

    Args:
        folder: where they are; it need not be there.
        name: of the target that was written; of any if not given.
        deep: in the folders below, too.
    """
    from filelock import FileLock

    for where, folders, _ in os.walk(folder):
        for inner in [one for one in folders if one.startswith(".") and one.endswith(LEFTOVER)]:
            folders.remove(inner)
            if name and not inner.startswith(f".{name}."):
                continue
            path = Path(where, inner)
            lock = FileLock(path / "lock", fallback_to_soft=False)
            with contextlib.suppress(OSError), lock.acquire(timeout=0):
                shutil.rmtree(path, ignore_errors=True)
        if not deep:
            break


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in a sentence that `path` cannot be written: where a disk is full, the system's error names no file.

    Raises:
        PairJEPAError: instead of an `OSError` of the block, or what safetensors makes of one.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise PairJEPAError(
            f"{path} cannot be written: {first_line(error)}. "
            "Make room there or mend its permissions, and run the same command again to go on."
        ) from None


def check_file(path: Path, *read: str | Path) -> None:
    """See before the work, not after it, that the file `path` can be written, and make its folder.

    Args:
        path: what is going to be written.
        read: what must not be written over, as it is read.

    Raises:
        PairJEPAError: it cannot, or is a folder or one of `read`.
    """
    if path.is_dir():
        raise PairJEPAError(f"The output must be a file, got the folder {path}. Give a name in it.")
    if any(path.exists() and os.path.exists(one) and path.samefile(one) for one in read):
        raise PairJEPAError(f"The output must be another file than the pairs, got {path}. Give another name.")
    with writing(path), _scratch(path.parent, path.name):
        pass


def write_json(target: Path, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, atomically. NaN is refused: it is not JSON."""
    with atomic_path(target) as temporary:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path, what: str, mend: str = "Put the right file there.") -> Any:
    """Read a JSON file; `what` names it in the error, `mend` says what to do if it is missing or damaged."""
    try:
        return parse_json(path.read_bytes())
    except FileNotFoundError:
        raise PairJEPAError(f"{what} {path} is not there. {mend}") from None
    except ValueError as error:
        raise PairJEPAError(f"{what} {path} is not valid JSON ({error}). {mend}") from None
    except (OSError, MemoryError) as error:
        raise unreadable(path, error, mend) from None


def parse_json(data: bytes) -> Any:
    """What JSON in UTF-8 says.

    Raises:
        ValueError: it is no JSON, or nested deeper than Python reads.
    """
    try:
        return json.loads(data.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("nested too deep") from None


def digest(*parts: Any) -> str:
    """32 hex digits of BLAKE2b over the parts; anything but bytes goes in as sorted JSON."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()


def digest_bytes(data: bytes) -> str:
    """32 hex digits of BLAKE2b over what a file holds."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def is_digest(value: object) -> bool:
    """Whether it can be what `digest` and `digest_file` give: what is read from a file is, before it names another."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{32}", value) is not None


def stays_inside(name: str) -> bool:
    """Whether a name that is read from a file is one of a file in its folder, on any system."""
    path = PureWindowsPath(name)  # which knows both strokes, and drives
    return bool(path.parts) and not path.anchor and ".." not in path.parts


def digest_file(path: Path) -> str:
    """32 hex digits of BLAKE2b over the bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def chunk_size(items: int, least: int) -> int:
    """Items in each file of what is kept as the work goes: `least` or, for more than 128 files, up to 16 times that."""
    return least * min(16, max(1, -(-items // (128 * least))))


def csv_text(cell: str) -> str:
    """Text as a cell of a CSV file: before what a spreadsheet would take for a formula stands a single quote."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def write_rows(path: Path, rows: list[list[Any]]) -> None:
    """A CSV file, whole or not there; no cell of it is a formula.

    Raises:
        PairJEPAError: it cannot be written.
    """
    with (
        writing(path),
        atomic_path(path) as temporary,
        # a name may hold bytes that are no UTF-8: they go back to disk as they came
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        # all text in quotes: a carriage return alone would else begin a row
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        writer.writerows([csv_text(c) if isinstance(c, str) else c for c in row] for row in rows)


def cache_folder() -> Path:
    """Where features are kept: `$PAIRJEPA_CACHE`, else `$XDG_CACHE_HOME/pairjepa`, else `~/.cache/pairjepa`.

    Raises:
        PairJEPAError: none of them is named, and the user has no home.
    """
    if named := os.environ.get("PAIRJEPA_CACHE"):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "pairjepa"
    except RuntimeError:  # this user has no home
        raise PairJEPAError(
            "The cache must have a folder, got a user without a home. Set PAIRJEPA_CACHE to a folder."
        ) from None
