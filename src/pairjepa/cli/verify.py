"""Check files: verify."""

from pathlib import Path

from pairjepa.cli.common import Json, print_result, stdout_for_results
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.words import counted


def verify(
    folder: Path,
    /,
    *,
    as_json: Json = False,
) -> None:
    """Read every file and say which are not what was written. Exit status 1 if there is one.

    Args:
        folder: A run, an index, an export, embeddings, the cache, or a folder of them.
    """
    with stdout_for_results():
        from pairjepa.apps.verify import verify

        found = verify(folder)
    without = f", {len(found['unchecked']):,} without a checksum" if found["unchecked"] else ""
    counts = f"{counted(found['sound'], 'file')} as written, {len(found['damaged']):,} damaged or missing{without}."
    print_result(found, as_json, lambda _: "\n".join([*found["damaged"].values(), counts]))
    if found["damaged"]:
        raise PairJEPAError(
            f"{folder} must be what was written, got {counted(len(found['damaged']), 'file')} damaged or missing. "
            "Put them back."
        )
