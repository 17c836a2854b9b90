"""What a user did wrong, said in one sentence: `<name> must <rule>, got <value>. <what to do>.`"""

import contextlib
import difflib
import errno
import re
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from numbers import Integral
from pathlib import Path


class PairJEPAError(Exception):
    """A mistake that the user can mend. The command line prints it without a trace-back (exit 1)."""


class UsageError(PairJEPAError):
    """A setting or an argument that cannot be (exit 2)."""


def close_matches(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` and the list of what is known, ready to end a message with."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    listed = ", ".join(names[:20]) + (f", … ({len(names)} in all)" if len(names) > 20 else "")
    return f"{hint} Known: {listed or 'none'}."


def near_path(path: Path) -> str:
    """`Did you mean 'photos'? ` where a path that is not there is nearly one that is, else nothing."""
    path = path.absolute()
    if path.exists():
        return ""
    folder = next(parent for parent in path.parents if parent.is_dir())
    names = [one.name for one in folder.glob("*")]
    near = difflib.get_close_matches(path.relative_to(folder).parts[0], names, n=1, cutoff=0.7)
    return f"Did you mean {str(folder / near[0])!r}? " if near else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is in no registry."""
    return UsageError(f"Unknown {kind} {name!r}.{close_matches(name, known)}")


def check_count(name: str, number: object) -> None:
    """Raise `UsageError` for what is no whole number of at least 1."""
    if not isinstance(number, Integral) or number < 1:
        rule = "at least 1" if isinstance(number, Integral) else "a whole number"
        raise UsageError(f"{name} must be {rule}, got {number!r}.")


def missing_extra(package: str, extra: str) -> PairJEPAError:
    """The error for an optional package that is not installed."""
    return PairJEPAError(
        f"This needs the package {package!r}, which is not installed. "
        f"Install it with: pip install 'pairjepa[{extra}]'."
    )


@contextlib.contextmanager
def needs(module: str, extra: str, package: str | None = None) -> Iterator[None]:
    """Import an optional package in the block.

    Args:
        module: what is imported.
        extra: of PairJEPA, which brings it.
        package: its name where it is not the module's.

    Raises:
        PairJEPAError: it is not installed; or it is, and cannot be loaded.
    """
    try:
        yield
    except (ImportError, OSError, MemoryError) as error:
        if find_spec(module) is None:
            raise missing_extra(package or module, extra) from None
        advice = f"Install it anew: pip install --force-reinstall {package or module}."
        if not isinstance(error, ImportError) or _MEMORY.search(str(error)):
            advice = hindrance(error) or advice
        raise PairJEPAError(
            f"The package {package or module!r} is installed and cannot be loaded ({first_line(error)}). {advice}"
        ) from None


def unreadable(path: Path | str, error: BaseException, mend: str) -> PairJEPAError:
    """The error for a file that a library could not read: `mend` is said of one that is missing or damaged only."""
    if isinstance(error, FileNotFoundError):
        return PairJEPAError(f"{path} is not there. {mend}")
    if (advice := hindrance(error)) is not None:
        return PairJEPAError(f"{path} cannot be read ({first_line(error)}). {advice}")
    return PairJEPAError(f"{path} is damaged ({first_line(error)}). {mend}")


def hindrance(error: BaseException) -> str | None:
    """What to do where a file may be sound and something else keeps it from being read; None where nothing else does.

    Libraries of Rust and C++ say it in their own words, with the system's number or without.
    """
    number = getattr(error, "errno", None)
    if number is None and (named := re.search(r"os error (\d+)", str(error))):
        number = int(named[1])
    if isinstance(error, MemoryError) or number == errno.ENOMEM or _MEMORY.search(str(error)):
        return "Memory is short: close other programs, and run the same command again."
    if isinstance(error, ImportError):
        return "A package that this needs cannot be loaded: install it, anew if it is there."
    if number in (errno.EMFILE, errno.ENFILE):
        return "Too many files are open: raise the limit (ulimit -n 4096), and run the same command again."
    if number in (errno.EACCES, errno.EPERM):
        return "The right to read is missing: give it (chmod u+rX), and run the same command again."
    if number in (errno.EIO, errno.ESTALE, errno.ETIMEDOUT):
        return (
            "The disk does not give it: see that it is connected and sound, and run the same command again."
        )
    return None


_MEMORY = re.compile(
    "allocate memory|bad_alloc|out of memory|memory allocation|can't allocate", re.IGNORECASE
)


def first_line(error: BaseException) -> str:
    """The first line of what a library says, without the full stop; the rest is for its own users."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip().rstrip(".")[:200]
