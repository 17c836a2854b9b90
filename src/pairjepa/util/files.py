"""Files that are either whole or not there: atomic writes, digests, JSON."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pairjepa.util.errors import PairJEPAError


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


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file; `what` names it in the error."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise PairJEPAError(f"{what} {path} is not there.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise PairJEPAError(f"{what} {path} is not valid JSON: {error}.") from None


def digest(*parts: Any) -> str:
    """32 hex digits of BLAKE2b over the parts; anything but bytes goes in as sorted JSON."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()


def is_digest(value: object) -> bool:
    """Whether it can be what `digest` and `digest_file` give: what is read from a file is, before it names another."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{32}", value) is not None


def digest_file(path: Path) -> str:
    """32 hex digits of BLAKE2b over the bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def csv_text(cell: str) -> str:
    """Text as a cell of a CSV file: before what a spreadsheet would take for a formula stands a single quote."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def cache_folder() -> Path:
    """Where features are kept: `$PAIRJEPA_CACHE`, else `$XDG_CACHE_HOME/pairjepa`, else `~/.cache/pairjepa`."""
    if named := os.environ.get("PAIRJEPA_CACHE"):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "pairjepa"
