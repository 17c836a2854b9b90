"""What an index says of itself, in `meta.json`."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from pairjepa.errors import PairJEPAError
from pairjepa.files import read_json, write_json, writing

FORMAT = 1
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
    approximate: dict[str, Approximation] = field(default_factory=dict)
    """By table, where it has so many rows that exact search would be slow."""

    @classmethod
    def read(cls, path: Path) -> "Meta":
        """Of the index at `path`.

        Raises:
            PairJEPAError: there is no index, or it is another version's.
        """
        if not (path / META).is_file():
            there = sorted(p.name for p in path.iterdir())[:8] if path.is_dir() else None
            found = f"it holds {', '.join(there) or 'nothing'}" if there is not None else "it is no folder"
            if not path.exists():
                found = "it is not there"
            raise PairJEPAError(
                f"{path} is no index (no {META}; {found}). Make one with: pairjepa index RUN IMAGES --out FOLDER."
            )
        record = read_json(path / META, "Index record")
        if not isinstance(record, dict) or record.pop("format", None) != FORMAT:
            raise PairJEPAError(
                f"{path / META} must have format {FORMAT}, got another. The index was made by another version of "
                "PairJEPA: make it again in another folder, or use that version."
            )
        try:
            ways = {name: Approximation(**way) for name, way in record.pop("approximate").items()}
            return cls(**record, approximate=ways)
        except (TypeError, KeyError, AttributeError):
            raise PairJEPAError(
                f"{path / META} is damaged: it does not hold what an index says of itself. "
                "Make the index again in another folder."
            ) from None

    def write(self, path: Path) -> None:
        """Into the index at `path`."""
        with writing(path):
            write_json(path / META, {"format": FORMAT} | asdict(self))
