"""Damage every artefact in every way, use it, and say what happens: a table of outcomes, none of them silent.

    python benchmarks/damage.py [--only WORDS] [--quick] [--out FILE]

Everything is made here, from `shapes` and tiny backbones. Each file is deleted, emptied, cut, changed in one bit (in
several places) and replaced by other JSON (of several kinds); then the command that reads it runs, in this process:

    refused     exit status 1 and a sentence
    said        done, with a line that is not there otherwise
    verify      the result is the same, and `pairjepa verify` finds the file
    made again  the result is the same, and the file is there again as it was (of the cache)
    SILENT      another result without a word, or a damage that nothing finds
    TRACEBACK   an exception

The worst of several tries is shown. Prints Markdown; the exit status is 1 if anything is SILENT or a TRACEBACK.
"""

import contextlib
import hashlib
import io
import os
import random
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sides import parser_of

import pairjepa
from pairjepa.apps.export.folder import PACKAGES
from pairjepa.cli import main as pairjepa_command
from pairjepa.evaluation.tables import markdown
from pairjepa.training.loop import Trainer
from pairjepa.util import checksums

DATA = "shapes:60"
SMALL = {
    "data.source": DATA,
    "model.dim": 16,
    "training.epochs": 3,
    "training.batch_size": 20,
    "training.checkpoint_seconds": 0,
}
FROZEN = SMALL | {"model.image": "tiny-resnet", "model.text": "tiny-bert"}
FLIPS = 3
OTHER_JSON = (b"{}", b"[]", b"null", b'"text"', b'{"format": 1}', b"[" * 100_000)
"""What parses and is not as it must be; the last one is nested without end."""


def _flipped(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]


DAMAGES: dict[str, Callable[[bytes, random.Random], Sequence[bytes | None]]] = {
    "deleted": lambda data, chance: [None],
    "empty": lambda data, chance: [b""],
    "truncated": lambda data, chance: [data[: len(data) // 2]],
    "one byte changed": lambda data, chance: [_flipped(data, chance) for _ in range(FLIPS)],
    "other JSON": lambda data, chance: OTHER_JSON,
}
"""What a file holds afterwards; None where it is gone."""
OUTCOMES = ("verify", "made again", "said", "refused", "SILENT", "TRACEBACK")
BAD = OUTCOMES[-2:]


@dataclass(frozen=True)
class Use:
    """Artefacts in a folder, and the command that reads them."""

    folder: str
    files: tuple[str, ...]
    """Patterns."""
    command: tuple[str, ...]
    """Of `pairjepa`; `@` stands for the folder that all are in."""
    result: tuple[str, ...] = ()
    """Files that it writes, which must be the same; where there are none, what it prints."""


EVALUATE = ("evaluate", "@/run", "--json")
REPORT = ("report", "@/run", "--out", "@/report.html", "--projection", "pca")
TRAIN = ("train", "masked", "--run", "@/half")
TRAIN += tuple(f"--{'data' if name == 'data.source' else name}={value}" for name, value in FROZEN.items())
SEARCH = ("search", "@/index", "a red circle", "--json")
LABEL = ("@/photo.png", "--labels", "a circle,a square", "--json")
CONTROL = ("text-only/run.json", "text-only/model.safetensors")
READ = ("evaluation/test.json", "illustrations/test/*", "metrics.jsonl", "summary.json")
INTERRUPTED = ("run.json", "metrics.jsonl", "model.safetensors", "checkpoint.safetensors")
TABLE = ("data/*", "_versions/*.manifest", "_indices/*/*")
USES = (
    Use("run", ("run.json", "model.safetensors", "image/*", "text/*", *CONTROL), EVALUATE),
    Use("run", READ, REPORT, ("report.html",)),
    Use("run", ("embeddings/test/*",), ("compare", "@/run", "@/other", "--json")),
    Use("half", INTERRUPTED, TRAIN, ("half/model.safetensors", "half/text-only/model.safetensors")),
    Use("tuned", ("image/*", "text/*"), ("evaluate", "@/tuned", "--json")),
    Use("index", ("meta.json", "checksums.json", *(f"images.lance/{name}" for name in TABLE)), SEARCH),
    Use("index", tuple(f"captions.lance/{name}" for name in TABLE), (*SEARCH, "--in", "captions")),
    Use("index", ("model/text*", "model/tok*", "model/p*", "model/c*"), SEARCH),
    Use("index", ("model/image*", "model/joint*"), (*SEARCH, "--image", "@/photo.png")),
    Use("onnx", ("image*", "text*", "p*", "tok*", "checksums.json"), ("label", "@/onnx", *LABEL)),
    Use("hub", ("run.json", "model.safetensors", "image/*", "text/*"), ("label", "@/hub", *LABEL)),
    Use("hub", ("metrics.jsonl", "summary.json", "evaluation/*"), ("verify", "@/hub")),
    Use("cache", ("features/*/*", "images/*"), EVALUATE),
)
EXPORTS = [name for name, packages in PACKAGES.items() if all(map(find_spec, packages))]


def make(root: Path, exports: Sequence[str]) -> None:
    """All artefacts, whole."""
    os.environ["PAIRJEPA_CACHE"] = str(root / "cache")
    for name, seed in (("run", 0), ("other", 1)):
        pairjepa.train(pairjepa.recipe("masked", FROZEN | {"training.seed": seed}), None, root / name)
        pairjepa.evaluate(root / name)
    pairjepa.train(pairjepa.recipe("tiny", SMALL), None, root / "tuned")
    with _stopped_after(2), contextlib.suppress(KeyboardInterrupt):
        pairjepa.train(pairjepa.recipe("masked", FROZEN), None, root / "half")
    pairjepa.Pairs.open(DATA).image(0).save(root / "photo.png")
    if "onnx" in exports:  # an index holds such graphs too
        run(("index", "@/run", DATA, "--out", "@/index"), root)
    for target in exports:
        run(("export", "@/run", "--to", target, "--out", f"@/{target}"), root)


@contextlib.contextmanager
def _stopped_after(epochs: int) -> Iterator[None]:
    save = Trainer._save

    def stop(self: Trainer, position: dict[str, Any], event: Any) -> None:
        save(self, position, event)
        if position["epoch"] > epochs:
            raise KeyboardInterrupt

    Trainer._save = stop  # type: ignore[method-assign]
    try:
        yield
    finally:
        Trainer._save = save  # type: ignore[method-assign]


@dataclass(frozen=True)
class Done:
    """What a command did."""

    status: int
    said: frozenset[str]
    """Lines on stderr, without numbers that a clock gives."""
    result: str
    """Digest of what must be the same."""


def run(command: Sequence[str], root: Path, result: Sequence[str] = ()) -> Done:
    """One command, in this process; `@` is `root`."""
    checksums._warn.cache_clear()  # it is said once for each folder
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = pairjepa_command([word.replace("@", str(root)) for word in command])
    digest = hashlib.sha256()
    for file in result:
        digest.update((root / file).read_bytes() if (root / file).is_file() else b"none")
    if not result:
        digest.update(out.getvalue().encode())
    said = frozenset(line for line in err.getvalue().splitlines() if "/s" not in line[-4:])
    return Done(status, said, digest.hexdigest())


class Bench:
    """Whole artefacts, and a copy of them at one place, which is damaged again and again."""

    def __init__(self, folder: Path, exports: Sequence[str] = EXPORTS) -> None:
        """Make them in `folder`."""
        self.whole, self.copy = folder / "whole", folder / "all"
        self.copy.mkdir(parents=True)
        # at that place, since a run knows its data and an index its run by their paths
        make(self.copy, exports)
        shutil.copytree(self.copy, self.whole)
        self._expected: dict[Use, Done] = {}

    def files(self, use: Use, few: bool = False) -> list[str]:
        """The files that are damaged, from their folder on; `few` takes one of each pattern."""
        root, found = self.whole / use.folder, set()
        for pattern in use.files:
            paths = sorted(path for path in root.glob(pattern) if path.is_file())
            found.update(paths[:1] if few else paths)
        return sorted(str(path.relative_to(root)) for path in found)

    def outcome(self, use: Use, file: str, damage: str, quick: bool = False) -> str:
        """The worst of all tries; `quick` has one."""
        if use not in self._expected:
            self._restore()
            self._expected[use] = run(use.command, self.copy, use.result)
        whole = (self.whole / use.folder / file).read_bytes()
        chance = random.Random(f"{use.folder} {file} {damage}")
        tries = DAMAGES[damage](whole, chance)
        seen = {self._tried(use, file, data) for data in ([chance.choice(tries)] if quick else tries)}
        return max(seen, key=OUTCOMES.index)

    def _restore(self) -> None:
        shutil.rmtree(self.copy)
        shutil.copytree(self.whole, self.copy)

    def _tried(self, use: Use, file: str, data: bytes | None) -> str:
        self._restore()
        path = self.copy / use.folder / file
        if data is None:
            path.unlink()
        else:
            path.write_bytes(data)
        try:
            found = run(("verify", f"@/{use.folder}"), self.copy).status
            done = run(use.command, self.copy, use.result)
        except Exception:
            print(f"{use.folder}/{file}:\n{traceback.format_exc()}", file=sys.stderr)
            return "TRACEBACK"
        expected = self._expected[use]
        if done.status:
            return "refused"
        if done.said - expected.said:
            return "said"
        if done.result != expected.result:
            return "SILENT"
        if found:
            return "verify"
        whole = (self.whole / use.folder / file).read_bytes()
        return "made again" if path.is_file() and path.read_bytes() == whole else "SILENT"


def table(bench: Bench, only: str = "", quick: bool = False) -> tuple[list[list[str]], int]:
    """Rows of the table, and how many cells are bad; `quick` tries one damage on one file of each pattern."""
    rows, bad, number = [["artefact", *DAMAGES]], 0, 0
    for use in USES:
        for file in bench.files(use, quick):
            if only not in f"{use.folder}/{file}":
                continue
            number += 1
            chosen = [list(DAMAGES)[number % len(DAMAGES)]] if quick else list(DAMAGES)
            cells = {damage: bench.outcome(use, file, damage, quick) for damage in chosen}
            bad += sum(cell in BAD for cell in cells.values())
            rows.append([f"{use.folder}/{file}", *(cells.get(damage, "") for damage in DAMAGES)])
            print("  ".join(rows[-1]), file=sys.stderr, flush=True)
    return rows, bad


def main() -> int:
    """Do it."""
    parser = parser_of(__doc__)
    parser.add_argument("--only", default="", help="artefacts whose path holds this")
    parser.add_argument("--quick", action="store_true", help="one damage of one file of each kind")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows, bad = table(Bench(Path(folder)), options.only, options.quick)
    cells = sum(cell != "" for row in rows[1:] for cell in row[1:])
    text = markdown(rows)
    text += f"\n\n{len(rows) - 1} artefacts, {cells} cells: {bad} silent or a traceback.\n"
    print(text)
    if options.out is not None:
        options.out.write_text(text, "utf-8")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
