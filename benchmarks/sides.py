"""Run the sides of a comparison in alternation, each time in a process of its own; medians, and peak memory.

A process of its own, because a side's peak memory is then its own, and what one side does to the process (the
allocator, PyTorch's threads) does not help or hurt another. A benchmark is a script with a function a side:

    def ours(given: argparse.Namespace) -> Measured: ...
    def theirs(given: argparse.Namespace) -> Measured: ...

    if __name__ == "__main__":
        sys.exit(main(__doc__, lambda given: {"ours": ours, "theirs": theirs}, arguments, summary))

A function sets up, measures, and returns numbers, `seconds` (of the measured part) among them; one that runs a
command of PairJEPA returns what `command` says of it.
"""

import argparse
import json
import math
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pairjepa.util.files import write_json
from pairjepa.util.memory import peak_rss

Measured = dict[str, Any]
Sides = Mapping[str, Callable[[argparse.Namespace], Measured]]
Summary = Callable[[dict[str, Measured], argparse.Namespace], dict[str, Any]]


def main(
    doc: str | None,
    sides: Callable[[argparse.Namespace], Sides],
    arguments: Callable[[argparse.ArgumentParser], None],
    summary: Summary,
) -> int:
    """The command line of a benchmark: `--side` runs one side once, else all are run in alternation.

    Args:
        doc: of the script, for `--help`.
        sides: the arguments → of each side its name and function.
        arguments: adds the script's own arguments.
        summary: medians of all sides → what is written beside them (ratios, sentences).
    """
    parser = parser_of(doc)
    arguments(parser)
    parser.set_defaults(out=Path("runs") / f"{Path(sys.argv[0]).stem.replace('_', '-')}.json")
    parser.add_argument("--repeats", type=int, default=5, help="how often each side is run")
    parser.add_argument("--only", nargs="+", help="run these sides alone, and write nothing")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    given = parser.parse_args()
    of = sides(given)
    if given.side is not None:
        measured_once = of[given.side](given)
        print(json.dumps({"peak_rss_mb": peak_rss_mb()} | measured_once))
        return 0
    if unknown := set(given.only or ()) - set(of):
        parser.error(f"--only must name sides, got {', '.join(sorted(unknown))}. There are {', '.join(of)}.")
    measured = compare(given.only or list(of), given.repeats)
    result = {**machine(), "repeats": given.repeats, "sides": measured}
    if not given.only:
        result |= summary(result["sides"], given)
    finish(result, None if given.only else given.out)
    return 0


def parser_of(doc: str | None) -> argparse.ArgumentParser:
    """The command line of a script, with `--out`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write what was found here, too")
    return parser


def finish(result: dict[str, Any], out: Path | None) -> None:
    """Print what was found as JSON, and write it where that is wanted."""
    print(json.dumps(result, indent=2))
    if out is not None:
        write_json(out, result)


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    return {"cpus": os.cpu_count(), "load_before": round(os.getloadavg()[0], 1)}


def compare(sides: list[str], repeats: int) -> dict[str, Measured]:
    """Medians of each side's numbers over `repeats` rounds, in each of which every side is run once."""
    rounds: dict[str, list[Measured]] = {side: [] for side in sides}
    for number in range(repeats):
        for side in sides:
            rounds[side].append(_run_apart(side))
            print(f"{number + 1}/{repeats} {side}: {_short(rounds[side][-1])}", file=sys.stderr)
    return {side: _median(all_) for side, all_ in rounds.items()}


def ratio(slower: Measured, faster: Measured, of: str = "seconds") -> float:
    """How many times as long the first takes."""
    return round(float(slower[of]) / float(faster[of]), 2)


def exponent(measured: Sequence[Measured], of: str = "seconds") -> float:
    """How a number grows with `items`: the slope of its logarithm over theirs."""
    sizes, values = ([math.log(one[name]) for one in measured] for name in ("items", of))
    return round(statistics.linear_regression(sizes, values).slope, 2)


def _run_apart(side: str) -> Measured:
    """One side in a process of its own, with this script's arguments."""
    done = subprocess.run([sys.executable, *sys.argv, "--side", side], stdout=subprocess.PIPE, text=True)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        sys.exit(f"{side} failed")
    measured: Measured = json.loads(lines[-1])
    return measured


def command(*words: str, environment: Mapping[str, str] | None = None) -> Measured:
    """Run `pairjepa WORDS` to its end: its seconds, and its own peak memory.

    `peak_anonymous_mb` leaves out the pages of memory-mapped files, which the system takes back when it needs them;
    it is looked at every 20 ms, where /proc tells it.
    """
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "pairjepa", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=None if environment is None else os.environ | dict(environment),
    )
    said: list[str] = []
    readers = [
        threading.Thread(target=lambda s=s: said.append(s.read())) for s in (process.stdout, process.stderr)
    ]
    for reader in readers:
        reader.start()
    anonymous = 0
    while True:
        done, code, usage = os.wait4(process.pid, os.WNOHANG)
        if done:
            break
        anonymous = max(anonymous, memory_of(process.pid, "RssAnon"))
        time.sleep(0.02)
    seconds = time.perf_counter() - start
    for reader in readers:
        reader.join()
    if code:
        sys.exit(f"pairjepa {' '.join(words)} failed:\n{''.join(said)}")
    measured = {
        "seconds": seconds,
        "peak_rss_mb": usage.ru_maxrss // (2**20 if sys.platform == "darwin" else 2**10),
    }
    return measured | ({"peak_anonymous_mb": anonymous // 2**20} if anonymous else {})


def memory_of(process: int, kind: str = "VmRSS") -> int:
    """Bytes of memory that a process uses now; 0 where the system does not tell."""
    try:
        found = re.search(rf"{kind}:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
    except OSError:
        return 0
    return 1024 * int(found[1]) if found else 0


def peak_rss_mb() -> int:
    """Peak resident set size of this process so far, in MB."""
    return peak_rss() // 2**20


def _median(rounds: list[Measured]) -> Measured:
    """Field by field; what is no number is that of the last round. All rounds' seconds stand beside."""
    last = rounds[-1]
    numbers = {
        name: round(statistics.median(one[name] for one in rounds), 5)
        for name, value in last.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    return last | numbers | {"all_seconds": [round(one["seconds"], 5) for one in rounds if "seconds" in one]}


def _short(measured: Measured) -> str:
    return ", ".join(f"{k} {v:.4g}" for k, v in measured.items() if isinstance(v, int | float))
