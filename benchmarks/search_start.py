"""How long `pairjepa --help` and a text query take from the shell, start of the program included, on a warm disk.

    python benchmarks/search_start.py INDEX --scratch FOLDER

INDEX is a real one; beside it a made-up one of 100,000 images is searched, which SCRATCH keeps for the next time. Times
are over those of a Python program that does nothing.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from made_index import made_index
from sides import Measured, command, main, ratio

from pairjepa.apps.search import Index

WORDS = "a dog in the snow"
GENERATED = 100_000
THUMBNAIL = 10_000  # bytes


def arguments(parser: argparse.ArgumentParser) -> None:
    """What is searched."""
    parser.add_argument("index", type=Path)
    parser.add_argument("--scratch", type=Path, required=True, help="where the made-up index is kept")


def python(given: argparse.Namespace) -> Measured:
    """An empty program."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return {"seconds": time.perf_counter() - start}


def say_help(given: argparse.Namespace) -> Measured:
    """The commands."""
    return command("--help")


def search(given: argparse.Namespace) -> Measured:
    """Words, in the real index."""
    return _search(given.index)


def search_generated(given: argparse.Namespace) -> Measured:
    """Words, in many made-up images."""
    path = given.scratch / f"{GENERATED}-start"
    return _search(made_index(path, GENERATED, given.index, "off", captions=False, thumbnail=THUMBNAIL))


def _search(index: Path) -> Measured:
    return command("search", str(index), WORDS, "--json") | {"images": len(Index.open(index))}


def summary(medians: dict[str, Measured], given: argparse.Namespace) -> dict[str, Any]:
    """Times over an empty program's."""
    return {
        "words": WORDS,
        "ratios": {name: ratio(one, medians["python"]) for name, one in medians.items() if name != "python"},
    }


SIDES = {"python": python, "help": say_help, "search": search, "search-generated": search_generated}

if __name__ == "__main__":
    sys.exit(main(__doc__, SIDES, arguments, summary))
