"""Kill every verb at random moments, run the same command again, and show that nothing is lost and nothing is left.

    python benchmarks/kill_resume.py [--times 20] [--verbs train evaluate …] [--seed 0] [--out FILE]

Each moment is a SIGKILL in a fresh folder (output, cache, temporary files) and the same command again, which must
succeed, give the result of an uninterrupted one, and leave no file that an uninterrupted one does not leave. Prints a
table; the exit status is 1 if anything is not so. Works on images that the program draws, offline.
"""

import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sides import parser_of

from pairjepa.evaluation.tables import aligned
from pairjepa.util.files import write_json

IMAGES = 120
PRELOADED = ["pairjepa.evaluation.evaluate", "transformers.models.auto.modeling_auto", "onnxscript"]
"""Of the process that the commands are forked from, so that moments do not fall into imports."""
UNEQUAL = {
    *("seconds", "images_per_second", "cost", "checksum"),  # what a clock says, and checksums of it
    "tokenizer_config.json",  # its checksum:
    # what Transformers remembers of a tokenizer's last call, and of where it was loaded from
    *("is_local", "local_files_only", "max_length", "stride", "truncation_side", "truncation_strategy"),
}
"""Keys of JSON files that are not the same in two runs."""
LANCE = ("images.lance", "captions.lance")

Result = Callable[[Path], dict[str, Any]]


@dataclass(frozen=True)
class Verb:
    """A command and what it is to leave."""

    words: str
    """The command, with names in the folder that it runs in."""
    result: Result
    """What must be the same, however often it was killed."""
    needs: tuple[str, ...] = ()
    """What `prepared` makes and the command finds; of a name in two words, the first is what it is called there."""


def files(name: str) -> Result:
    """Digests of all files under `name`, without `UNEQUAL`."""

    def digests(place: Path) -> dict[str, str]:
        root = place / name
        paths = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
        return {str(path.relative_to(place)): hashlib.sha256(_equal(path)).hexdigest() for path in paths}

    return digests


def _equal(path: Path) -> bytes:
    if path.suffix not in (".json", ".jsonl"):
        return path.read_bytes()
    lines = path.read_text("utf-8").splitlines() if path.suffix == ".jsonl" else [path.read_text("utf-8")]
    return json.dumps([_without(json.loads(line)) for line in lines], sort_keys=True).encode()


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(item) for key, item in value.items() if key not in UNEQUAL}
    return [_without(item) for item in value] if isinstance(value, list) else value


def index(place: Path) -> dict[str, Any]:
    """All rows of the index's tables, and what its model folder holds."""
    import lance

    found: dict[str, Any] = {"model": sorted(path.name for path in (place / "index/model").iterdir())}
    for name in LANCE:
        rows = lance.dataset(str(place / "index" / name)).to_table().to_pylist()
        found[name] = sorted(
            (row["id"], row["name"], str(row.get("caption")), *row["vector"]) for row in rows
        )
    return found


VERBS = {
    "inspect": Verb("inspect DATA --json", files("said")),
    "train": Verb(
        "train tiny-masked --data DATA --run run --training.epochs 3 --training.batch-size 32 "
        "--training.checkpoint-seconds 0",
        files("run"),
    ),
    "evaluate": Verb("evaluate run", files("run/evaluation"), ("run",)),
    "index, new": Verb("index run DATA --out index", index, ("run",)),
    "index, update": Verb("index run PHOTOS --out index", index, ("run", "index")),
    "shards": Verb("shards DATA --out shards --images-per-shard 10", files("shards")),
    "audit": Verb("audit run DATA --out audit --folds 2", files("audit"), ("run",)),
    "export, onnx": Verb("export run --to onnx --out model", files("model"), ("run",)),
    "export, hub": Verb("export run --to hub --out model", files("model"), ("run",)),
    "report": Verb(
        "report run --out report.html --figures figures", files("report.html"), ("run evaluated",)
    ),
}


def command(place: str, words: list[str]) -> None:
    """In a process of its own: the command, in that folder, with a cache and temporary files there."""
    os.chdir(place)
    for name, folder in (("PAIRJEPA_CACHE", "cache"), ("TMPDIR", "tmp"), ("HOME", "home")):
        os.makedirs(folder, exist_ok=True)
        os.environ[name] = os.path.abspath(folder)
    tempfile.tempdir = None
    for number, name in ((1, "said"), (2, "log")):
        with open(name, "ab" if number == 2 else "wb") as file:
            os.dup2(file.fileno(), number)
    from pairjepa.cli import main as pairjepa

    sys.exit(pairjepa(words))


class Place:
    """A folder in which a verb runs, is killed and runs again."""

    def __init__(self, verb: Verb, folder: Path, shared: Path) -> None:
        """Make it, with copies of what the verb needs."""
        self.verb, self.folder = verb, folder
        folder.mkdir()
        for name in verb.needs:
            shutil.copytree(shared / name, folder / name.partition(" ")[0])
        words = verb.words.replace("DATA", str(shared / "data")).replace("PHOTOS", str(shared / "photos"))
        self._words = words.split()

    def start(self) -> Any:
        """The command, begun."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        process = context.Process(target=command, args=(str(self.folder), self._words))
        process.start()
        return process

    def finish(self) -> float:
        """Run the command to its end; seconds.

        Raises:
            RuntimeError: it fails.
        """
        begun, process = time.monotonic(), self.start()
        process.join()
        if process.exitcode:
            said = (self.folder / "log").read_text("utf-8").splitlines()
            raise RuntimeError(
                f"{' '.join(self._words)}: exit status {process.exitcode}: {' / '.join(said[-3:])}"
            )
        return time.monotonic() - begun

    def kill(self, seconds: float) -> bool:
        """Run the command and kill it then; False if it was done before."""
        process = self.start()
        process.join(seconds)
        process.kill()
        process.join()
        return process.exitcode == -signal.SIGKILL

    def names(self) -> set[str]:
        """What is there; the files of an index's tables, which have random names, if no commit has brought them in."""
        paths = [path for path in self.folder.rglob("*") if not set(LANCE).intersection(path.parts[:-1])]
        return {str(path.relative_to(self.folder)) for path in paths} | set(
            _unfinished(self.folder / "index")
        )


def _unfinished(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    import lance

    found = [str(file) for name in LANCE for kind in (".tmp*", "*#*") for file in (folder / name).rglob(kind)]
    for name in LANCE:
        table = lance.dataset(str(folder / name))
        removed = table.cleanup_old_versions(timedelta(days=1), delete_unverified=True)
        if removed.bytes_removed:
            found.append(f"{name}: {removed}")
    return found


def prepared(shared: Path, needs: set[str]) -> None:
    """Images with captions; where it is needed, a run, one that is evaluated, an index whose photographs change."""
    from pairjepa.pairs import Pairs

    pairs = Pairs.open(f"shapes:{IMAGES}")
    for name in ("data", "photos"):
        (shared / name).mkdir(parents=True)
    lines = ["image,caption,split"]
    columns = (pairs.table[name].to_pylist() for name in ("captions", "split"))
    for row, (captions, split) in enumerate(zip(*columns, strict=True)):
        (shared / "data" / f"{row}.bmp").write_bytes(pairs.read_bytes(row))
        lines += [f"{row}.bmp,{caption},{split}" for caption in captions]
        if row < IMAGES // 2:
            (shared / "photos" / f"{row}.bmp").write_bytes(pairs.read_bytes(row))
    (shared / "data" / "captions.csv").write_text("\n".join(lines) + "\n")
    for made, words in (
        ("run", "train tiny --data DATA --run run --training.epochs 3"),
        ("run evaluated", "evaluate run"),
        ("index", "index run PHOTOS --out index"),
    ):
        if made in needs or (made == "run" and needs):
            verb = Verb(words, files("run"), () if made == "run" else ("run",))
            place = Place(verb, shared / f"for {made}", shared)
            place.finish()
            shutil.copytree(place.folder / made.partition(" ")[0], shared / made)
    for row in range(0, IMAGES // 2, 5):  # gone, changed and new ones
        (shared / "photos" / f"{row}.bmp").unlink()
        (shared / "photos" / f"{row + 1}.bmp").write_bytes(pairs.read_bytes(IMAGES - 1 - row))
        (shared / "photos" / f"new-{row}.bmp").write_bytes(pairs.read_bytes(IMAGES // 2 + row))


def tried(verb: Verb, times: int, moments: random.Random, shared: Path, work: Path) -> dict[str, Any]:
    """A row of the table: how often it was killed, and what was not as it should be."""
    alone = Place(verb, work / "alone", shared)
    seconds = alone.finish()
    names, result = alone.names(), verb.result(alone.folder)
    found: dict[str, Any] = {"seconds": round(seconds, 1), "moments": times, "killed": 0}
    failed, different, left = [], [], []
    for number in range(times):
        place = Place(verb, work / str(number), shared)
        found["killed"] += place.kill(moment := moments.uniform(0, seconds))
        try:
            place.finish()
        except RuntimeError as error:
            failed.append(f"killed after {moment:.2f} s: {error}")
            continue
        other = verb.result(place.folder)
        names_of = [name for name in result | other if result.get(name) != other.get(name)]
        different += [f"killed after {moment:.2f} s: {name}" for name in names_of]
        left += [f"killed after {moment:.2f} s: {name}" for name in sorted(place.names() ^ names)]
        shutil.rmtree(place.folder)
    return found | {"failed": failed, "different": different, "left": left}


def table(rows: dict[str, dict[str, Any]]) -> str:
    """For people."""
    lines = [["verb", "seconds", "moments", "killed", "failed", "other result", "files left"]]
    for verb, row in rows.items():
        counts = (len(row[key]) for key in ("failed", "different", "left"))
        lines.append([verb, *(str(row[key]) for key in ("seconds", "moments", "killed")), *map(str, counts)])
    return "\n".join(aligned(lines))


def main(arguments: list[str] | None = None) -> int:
    """Do it."""
    parser = parser_of(__doc__)
    parser.add_argument("--times", type=int, default=20, help="moments a verb")
    parser.add_argument("--verbs", nargs="+", choices=VERBS, default=list(VERBS), metavar="VERB")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args(arguments)
    moments, rows = random.Random(given.seed), {}
    with tempfile.TemporaryDirectory() as folder:
        shared = Path(folder, "shared")
        prepared(shared, {name for verb in given.verbs for name in VERBS[verb].needs})
        for verb in given.verbs:
            work = Path(folder, verb)
            work.mkdir()
            rows[verb] = tried(VERBS[verb], given.times, moments, shared, work)
            print(table({verb: rows[verb]}), file=sys.stderr, flush=True)
            for kind in ("failed", "different", "left"):
                for found in rows[verb][kind]:
                    print(f"  {kind}: {found}", file=sys.stderr, flush=True)
    print(table(rows))
    if given.out is not None:
        write_json(given.out, rows)
    return int(any(row[kind] for row in rows.values() for kind in ("failed", "different", "left")))


if __name__ == "__main__":
    sys.exit(main())
