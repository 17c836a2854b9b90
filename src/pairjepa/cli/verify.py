"""Check files: verify."""

from pathlib import Path

from pairjepa.cli.common import Json, print_result, stdout_for_results
from pairjepa.util.errors import PairJEPAError


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
    without = f", {len(found['unchecked']):,} have no checksum" if found["unchecked"] else ""
    counts = f"{found['sound']:,} files are what was written, {len(found['damaged']):,} are not{without}."
    print_result(found, as_json, lambda _: "\n".join([*found["damaged"].values(), counts]))
    if found["damaged"]:
        raise PairJEPAError(
            f"{len(found['damaged']):,} files of {folder} are damaged or missing. Put them back."
        )
