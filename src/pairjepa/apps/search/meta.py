"""What an index says of itself, in `meta.json`."""

import json
from dataclasses import asdict, dataclass, field
from typing import Literal

from pairjepa.apps.search.place import Place
from pairjepa.util.checksums import checked_record, signed
from pairjepa.util.errors import PairJEPAError, near_path
from pairjepa.util.files import is_digest, parse_json

FORMAT = 2
IMAGES, CAPTIONS, MODEL, META = "images.lance", "captions.lance", "model", "meta.json"


@dataclass(frozen=True)
class Approximation:
    """How vectors are searched without comparing all of them, and what that loses."""

    kind: str
    """Lance's name of the method."""
    recall_at_10: float
    """Share of the ten nearest by exact search that it finds, over sampled queries."""
    rows: int
    """How many vectors there were when that was measured."""
    partitions: int = 0
    """Into which the vectors are divided."""
    probes: int = 32
    """How many of them are looked at."""


@dataclass(frozen=True)
class Meta:
    """What stands in `meta.json`."""

    run: str
    """Where the run was."""
    digest: str
    """Of the run's weights."""
    dim: int
    model: Literal["onnx", "run"]
    """What encodes queries: the ONNX graphs in the index, or the run itself."""
    pairjepa: str
    """The version that made it."""
    complete: bool = False
    """Whether everything that was asked for is in it."""
    sealed: bool = False
    """Whether `checksums.json` lists the files of the tables: on a disk, not on object storage."""
    approximate: dict[str, Approximation] = field(default_factory=dict)
    """By `table` or `table/column`, where it has so many rows that exact search would be slow."""
    caption_weight: float | None = None
    """Share of the captions in a search by both: the run's, chosen on dev."""
    fit: dict[str, list[float]] = field(default_factory=dict)
    """By what is compared, slope and intercept of `Index.search`'s probabilities: the run's, from dev."""
    penalty: list[float] | None = None
    """Mean and deviation of what the hubness correction takes from images of the run's dev split."""

    def ways(self, table: str) -> dict[str, Approximation]:
        """How columns of vectors of a table are searched without comparing all."""
        return {
            key.removeprefix(table).lstrip("/") or "vector": way
            for key, way in self.approximate.items()
            if key.split("/")[0] == table
        }

    @classmethod
    def read(cls, place: Place) -> "Meta":
        """Of the index at a place.

        Raises:
            PairJEPAError: there is no index, or it is another version's; object storage cannot be reached.
        """
        data = place.read(META)
        if data is None:
            there = place.names()
            found = (
                f"it holds {', '.join([name for name in there if name[0] != '.'][:8]) or 'nothing'}"
                if there is not None
                else "it is no folder"
            )
            if there is None and not place.exists():
                found = "it is not there"
            near = "" if place.folder is None else near_path(place.folder)
            raise PairJEPAError(
                f"{place} is no index (no {META}; {found}). "
                f"{near}Make one with: pairjepa index RUN IMAGES --out FOLDER."
            )
        mend = "Put it back, or make the index again in another folder."
        try:
            value = parse_json(data)
        except ValueError as error:
            raise PairJEPAError(f"Index record {place / META} is not valid JSON ({error}). {mend}") from None
        record = checked_record(value, place / META, _SHAPE, mend, FORMAT)
        del record["format"]
        try:
            ways = {name: Approximation(**way) for name, way in record.pop("approximate").items()}
            meta = cls(**record, approximate=ways)
            if not is_digest(meta.digest):  # it becomes a folder's name in the cache
                raise TypeError
            return meta
        except TypeError:
            raise PairJEPAError(f"{place / META} must hold what an index says of itself. {mend}") from None

    def write(self, place: Place) -> None:
        """Into the index at a place."""
        text = json.dumps(signed({"format": FORMAT} | asdict(self)), indent=2, ensure_ascii=False)
        place.write(META, f"{text}\n".encode())


_SHAPE = {
    "run": str,
    "digest": str,
    "dim": int,
    "model": str,
    "pairjepa": str,
    "complete": bool,
    "approximate": {str: {"kind": str, "recall_at_10": float, "rows": int}},
}
