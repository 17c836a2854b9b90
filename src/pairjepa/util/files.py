"""Files that are either whole or not there: atomic writes, digests, JSON."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pairjepa.util.errors import PairJEPAError, unreadable


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """A temporary path beside `target` that replaces it when the block ends well, and is removed otherwise."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside `target`, which must not be there, that becomes it when the block ends well."""
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # of an earlier try that was killed
    temporary.mkdir(parents=True)
    try:
        yield temporary
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in a sentence that `path` cannot be written: where a disk is full, the system's error names no file.

    Raises:
        PairJEPAError: instead of an `OSError` of the block.
    """
    try:
        yield
    except OSError as error:
        raise PairJEPAError(
            f"{path} cannot be written: {error.strerror or error}. "
            "Make room there or mend its permissions, and run the same command again to go on."
        ) from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


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


def digest_file(path: Path) -> str:
    """32 hex digits of BLAKE2b over the bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


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
