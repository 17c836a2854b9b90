"""How large the project is, beside the limits it holds itself to: lines, words, entries, layers.

    python benchmarks/size.py

The exit status is 1 if a limit is passed.
"""

import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent
CORE = tuple(f"src/pairjepa/{name}/" for name in ("config", "model", "objectives", "metrics", "training"))


def files(*under: str) -> list[str]:
    """What git knows below these paths and is text."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", *under], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return sorted({name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()})


def lines(names: Iterable[str]) -> int:
    """Of these files together."""
    return sum((ROOT / name).read_text("utf-8").count("\n") for name in names)


def measured() -> dict[str, tuple[int, int]]:
    """Figure → value and limit."""
    source = files("src/pairjepa")
    entries = {name.split("/")[2] for name in source if not name.split("/")[2].startswith("__")}
    words = [len((ROOT / name).read_text("utf-8").split()) for name in files("README.md", "docs/*.md")]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    layers = next(one["layers"] for one in contracts["contracts"] if one["type"] == "layers")
    return {
        "lines of src/pairjepa": (lines(source), 20_000),
        "lines of the core (config, model, objectives, metrics, training)": (
            lines(name for name in source if name.startswith(CORE)),
            4_500,
        ),
        "entries at the top of src/pairjepa": (len(entries), 15),
        "import layers": (len(layers), 13),
        "lines of benchmarks/ and studies/": (lines(files("benchmarks", "studies")), 2_500),
        "words of README.md and docs/": (sum(words), 16_000),
    }


if __name__ == "__main__":
    found = measured()
    for name, (value, limit) in found.items():
        print(f"{value:7,} of at most {limit:6,}  {name}" + ("  <- too large" if value > limit else ""))
    sys.exit(any(value > limit for value, limit in found.values()))
