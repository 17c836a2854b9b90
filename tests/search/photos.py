"""Photographs as people have them: files in a folder."""

from collections.abc import Iterable
from pathlib import Path

from pairjepa.pairs import Pairs

_PAIRS = Pairs.open("shapes:80")


def write(folder: Path, rows: Iterable[int]) -> list[Path]:
    """Pictures of these rows as PNG files `07.png`; the same bytes each time."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for row in rows:
        path = folder / f"{row:02}.png"
        path.write_bytes(_PAIRS.read_bytes(row))
        paths.append(path)
    return paths


def data(row: int) -> bytes:
    """The bytes of that file."""
    return _PAIRS.read_bytes(row)
