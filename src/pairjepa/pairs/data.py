"""The readable pairs of the splits that a run uses."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from pairjepa.pairs.leaks import leaks
from pairjepa.pairs.scan import ImageFacts, pairs_digest, pairs_parts, readable, scan
from pairjepa.pairs.table import Pairs
from pairjepa.pairs.twins import arranged
from pairjepa.run.folder import RunFolder
from pairjepa.util.errors import unreadable
from pairjepa.util.files import cache_folder, digest
from pairjepa.util.memory import give_back_freed_memory
from pairjepa.util.progress import say
from pairjepa.util.tables import read_table
from pairjepa.util.words import counted

USED = ("train", "dev", "test")


@dataclass(frozen=True)
class Data:
    """Readable pairs of the used splits."""

    pairs: Pairs
    facts: ImageFacts
    record: dict[str, Any]
    """What the run folder keeps of them, JSON-ready."""


def read_data(pairs: Pairs, max_bad: float) -> Data:
    """Look at every image once, leave the unreadable ones out and find images that stand in two splits.

    Raises:
        PairJEPAError: more than the share `max_bad` of the images cannot be read.
    """
    used = pairs.take(np.flatnonzero(np.isin(pairs.table["split"].to_numpy(zero_copy_only=False), USED)))
    facts = scan(used, cache_folder())
    kept, facts = readable(used, facts, max_bad)
    give_back_freed_memory()  # copies on the way: of five million captions more than a gigabyte
    lost = used.n_images - kept.n_images
    return _data(*arranged(kept, facts, cache_folder()), lost)


def known_table(data: Data) -> pa.Table:
    """What a run keeps of its pairs, to know them again among others: of each image the digests and the split."""
    captions = [digest(own) for own in data.pairs.table["captions"].to_pylist()]
    columns = {"image": data.facts.digest, "captions": captions, "split": data.pairs.table["split"]}
    return pa.table(columns)


def read_known(pairs: Pairs, max_bad: float, run: RunFolder) -> Data:
    """Of data that have grown, the pairs that a run knows, in its order and its splits; else the data as they are.

    A run of 0.1 keeps none: its splits were drawn without a look at near copies.

    Raises:
        PairJEPAError: more than the share `max_bad` of the images cannot be read.
    """
    data = read_data(pairs, max_bad)
    if data.record["digest"] == run.record["data"]["digest"]:
        return data
    if not run.pairs_file.is_file():
        plain = read_data(replace(pairs, drawn=(), drop_leaks=False), max_bad) if pairs.drawn else data
        return plain if plain.record["digest"] == run.record["data"]["digest"] else data
    try:
        table = read_table(run.pairs_file)
    except (OSError, pa.ArrowException) as error:
        raise unreadable(run.pairs_file, error, "Put it back, or train the run again.") from None
    rows_of: dict[tuple[str, str], list[int]] = {}
    now = known_table(data)
    for row, key in enumerate(zip(now["image"].to_pylist(), now["captions"].to_pylist(), strict=True)):
        rows_of.setdefault(key, []).append(row)
    wanted = zip(table["image"].to_pylist(), table["captions"].to_pylist(), strict=True)
    try:
        rows = np.array([rows_of[key].pop(0) for key in wanted], np.int64)
    except (KeyError, IndexError):
        return data
    say(f"{counted(len(now) - len(rows), 'image')} left out: new since {run.path} was trained.")
    pairs = data.pairs.take(rows)
    return _data(
        pairs.with_splits(table["split"].to_pylist()), data.facts.take(rows), data.record["unreadable"]
    )


def _data(kept: Pairs, facts: ImageFacts, lost: int) -> Data:
    return Data(
        kept.scanned(facts.digest) if "digest" not in kept.table.column_names else kept,
        facts,
        {
            "digest": pairs_digest(kept, facts),
            "parts": {name: digest(*part) for name, part in pairs_parts(kept, facts).items()},
            "description": kept.description,
            "generated": kept.generated,
            "images": kept.n_images,
            "captions": len(kept),
            "splits": {name: {"images": i, "captions": c} for name, (i, c) in kept.splits.items()},
            "unreadable": lost,
            "leaks": leaks(kept, facts, cache_folder()),
        },
    )
