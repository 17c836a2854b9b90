"""What a user did wrong, said in one sentence: `<name> must <rule>, got <value>. <what to do>.`"""

import difflib
import errno
from collections.abc import Iterable


class PairJEPAError(Exception):
    """A mistake that the user can mend. The command line prints it without a trace-back (exit 1)."""


class UsageError(PairJEPAError):
    """A setting or an argument that cannot be (exit 2)."""


def system_error(error: Exception) -> str | None:
    """Why a file was not read, where that is no damage: no right, no more open files or memory, a failing disk.

    Returns:
        The end of a sentence on the file, with what to do; None if the file is damaged or not there. Arrow says of
        damage, too, that it is an `OSError`, but gives it no number.
    """
    if not isinstance(error, OSError) or error.errno in (None, errno.ENOENT):
        return None
    return (
        f"cannot be read: {error.strerror or error}. It was not changed. Mend what keeps it from being read (rights, "
        "`ulimit -n`, memory, the disk), and run the same command again."
    )


def close_matches(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` and the list of what is known, ready to end a message with."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    listed = ", ".join(names[:20]) + (f", … ({len(names)} in all)" if len(names) > 20 else "")
    return f"{hint} Known: {listed or 'none'}."


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is in no registry."""
    return UsageError(f"Unknown {kind} {name!r}.{close_matches(name, known)}")


def missing_extra(package: str, extra: str) -> PairJEPAError:
    """The error for an optional package that is not installed."""
    return PairJEPAError(
        f"This needs the package {package!r}, which is not installed. "
        f"Install it with: pip install 'pairjepa[{extra}]'."
    )
