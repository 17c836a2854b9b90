"""Where shards are: paths, patterns, folders and URLs to a list of shards, and how a file system is reached."""

import glob
import itertools
import os
import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, TypeVar

from pairjepa.pairs.folders import folders_below, is_image, matching, walk
from pairjepa.util.errors import PairJEPAError, UsageError, close_matches, first_line
from pairjepa.util.progress import say

WAITS = (0.5, 2.0, 8.0)
"""Seconds before each further try to reach a file system."""

MAX_SHARDS = 1_000_000
THREADS = 8
"""Shards that are asked for at once: a request to an object store is mostly waiting."""

_URL = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_BRACES = re.compile(r"(\{[^{}]*\})")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_PACKAGES = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs",
    "http": "fsspec[http]", "https": "fsspec[http]",
}  # fmt: skip
_PACKED = re.compile(r"\.(tar\.(gz|bz2|xz|zst)|tgz)$")
_TAR = re.compile(r"\.(tar(\.(gz|bz2|xz|zst))?|tgz)\}?$")
_MAGIC = re.compile(r"[*?\[{]")
_CHANGES = (
    "ETag",
    "etag",
    "md5Hash",
    "generation",
    "blob_id",
    "mtime",
    "LastModified",
    "last_modified",
    "created",
)
"""What file systems call that which is another when a file is: an object's tag, or the time of its change."""

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Shard:
    """One tar file."""

    url: str
    """Absolute path, or URL."""
    name: str
    """As seen from the folder that all shards of the source are in or below."""
    size: int
    """Bytes."""
    stamp: str
    """Another when the file has changed."""


def is_url(source: str) -> bool:
    """Whether `source` has a scheme; `file://` is a path by another name."""
    return _URL.match(source) is not None and not source.startswith("file://")


def named(source: str) -> str:
    """The source if it names shards by itself: a `.tar`, a pattern of them, or a URL."""
    path = Path(source.removeprefix("file://")).expanduser()
    is_shards = is_url(source) or (_TAR.search(source) is not None and not path.is_dir())
    return source if is_shards else ""


def folder(source: str) -> str:
    """A folder with `.tar` files in it or one below, and no image: beside images, a tar is somebody's copy of them."""
    root = Path(source).expanduser()
    there = any(matching(below, "*.tar") for below in folders_below(root, 1))
    return source if there and not any(map(is_image, walk(root))) else ""


def check_plain(urls: Iterable[str]) -> None:
    """Refuse compressed shards.

    Raises:
        PairJEPAError: one is compressed.
    """
    if packed := next((url for url in urls if _PACKED.search(url)), None):
        raise PairJEPAError(
            f"Shards must be plain .tar files, got {packed}: images cannot be read by their place in a packed one. "
            "Unpack it (gunzip) first; JPEG does not get smaller anyway."
        )


def find(source: str) -> list[Shard]:
    """The shards that `source` names, sorted, those of braces in the order of the braces.

    Args:
        source: a `.tar`, a pattern (`{000..127}`, `{a,b}`, `*`, `?`, `[…]`), a folder of `.tar` in it or in folders of
            it, or a URL of one of these.

    Raises:
        PairJEPAError: nothing is there, or a file system cannot be reached.
        UsageError: a scheme that no package knows, or a pattern of too many shards.
    """
    source = source if is_url(source) else str(Path(source.removeprefix("file://")).expanduser().absolute())
    expanded = [source] if not is_url(source) and os.path.exists(source) else braces(source)
    check_plain(expanded)
    urls = list(dict.fromkeys(itertools.chain.from_iterable(_listed(pattern) for pattern in expanded)))
    if not urls:
        raise PairJEPAError(
            f"{source} must be .tar shards that are there, got none. Check the name and the pattern."
        )
    folder = _fixed_folder(source)
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(lambda url: _shard(url, folder), urls))


def braces(pattern: str) -> list[str]:
    """Bash's brace expansion of lists and ranges of numbers, not nested.

    Raises:
        UsageError: it is of more than a million.
    """
    choices = [_choices(part) for part in _BRACES.split(pattern)]
    if prod(len(some) for some in choices) > MAX_SHARDS:
        raise UsageError(f"A pattern must be of at most {MAX_SHARDS:,} shards, got {pattern}. Name fewer.")
    return ["".join(parts) for parts in itertools.product(*choices)]


def connect(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it.

    Raises:
        PairJEPAError: the package that speaks to it is not installed, or it cannot be reached.
        UsageError: no package is known to.
    """
    import fsspec

    scheme = url.partition("://")[0].lower()
    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        raise PairJEPAError(
            f"{scheme}:// needs a package that is not installed ({first_line(error)}). "
            f"Install it with: pip install '{_PACKAGES.get(scheme, f'fsspec[{scheme}]')}'."
        ) from None
    except ValueError:
        raise UsageError(
            f"A URL must be of a scheme that fsspec knows, got {url}."
            f"{close_matches(scheme, fsspec.available_protocols())}"
        ) from None
    return tried(url, lambda: fsspec.core.url_to_fs(url))


def tried(url: str, work: Callable[[], _Result]) -> _Result:
    """`work()`, again after a pause where the connection is to blame.

    Raises:
        PairJEPAError: what `url` names is not there or may not be read, or cannot be reached after all tries.
    """
    for wait in (*WAITS, None):
        try:
            return work()
        except PairJEPAError:
            raise
        except FileNotFoundError:
            raise PairJEPAError(f"{url} must be there, got no such file. Check the name.") from None
        except (PermissionError, IsADirectoryError) as error:
            raise PairJEPAError(f"{url} must be readable, got: {first_line(error)}.") from None
        except Exception as error:  # each file system has its own words for a connection that is lost
            if wait is None:
                raise PairJEPAError(
                    f"{url} must be within reach, got {len(WAITS) + 1} times: {first_line(error)}. Check the "
                    "connection and run the same command again: what is done is kept."
                ) from None
            say(f"{url}: {first_line(error)}; trying again in {wait:g} s")
            time.sleep(wait)
    raise AssertionError


def _choices(part: str) -> list[str]:
    if not part.startswith("{"):
        return [part]
    inner = part[1:-1]
    if numbers := _RANGE.fullmatch(inner):
        first, last = numbers.groups()
        if abs(int(last) - int(first)) >= MAX_SHARDS:
            raise UsageError(f"A pattern must be of at most {MAX_SHARDS:,} shards, got {part}. Name fewer.")
        # as bash: zeros in front of one are zeros in front of all
        width = max(len(first), len(last)) if first.startswith("0") or last.startswith("0") else 0
        step = 1 if int(first) <= int(last) else -1
        return [f"{number:0{width}d}" for number in range(int(first), int(last) + step, step)]
    return inner.split(",") if "," in inner else [part]


def _listed(pattern: str) -> list[str]:
    """The shards of one pattern without braces."""
    itself = pattern.endswith(".tar") and not _MAGIC.search(pattern)
    if not is_url(pattern):
        if os.path.isdir(pattern):
            inside = glob.escape(pattern)
            return sorted(glob.glob(f"{inside}/*.tar") + glob.glob(f"{inside}/*/*.tar"))
        return [pattern] if itself or os.path.isfile(pattern) else sorted(glob.glob(pattern))
    if itself:
        return [pattern]
    fs, path = connect(pattern)
    wanted = [path] if _MAGIC.search(path) else [f"{path.rstrip('/')}/*.tar", f"{path.rstrip('/')}/*/*.tar"]
    found = [one for some in wanted for one in tried(pattern, lambda some=some: fs.glob(some))]  # type: ignore[misc]
    return sorted(fs.unstrip_protocol(one) for one in found if one.endswith(".tar"))


def _fixed_folder(source: str) -> str:
    """The folder that the user named, without the part that differs from shard to shard; ends with `/`."""
    fixed = _MAGIC.split(source)[0]
    if fixed == source and (not source.endswith(".tar") or os.path.isdir(source)):
        return source.rstrip("/") + "/"
    return fixed[: fixed.rfind("/") + 1]


def _shard(url: str, folder: str) -> Shard:
    if not is_url(url):
        try:
            status = os.stat(url)
        except OSError as error:
            raise PairJEPAError(f"The shard {url} must be there, got: {first_line(error)}.") from None
        return Shard(url, url.removeprefix(folder), status.st_size, str(status.st_mtime_ns))
    fs, path = connect(url)
    info = tried(url, lambda: fs.info(path))
    size = info.get("size")
    if size is None:
        raise PairJEPAError(
            f"{url} must be of a server that says how long its files are and gives parts of them, got none of that. "
            "Copy the shards to one that does, or here."
        )
    name = path.removeprefix(fs._strip_protocol(folder)).lstrip("/")
    return Shard(url, name, int(size), "|".join(str(info[key]) for key in _CHANGES if info.get(key)))
