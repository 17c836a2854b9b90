"""What was wrong with the data and could be skipped: counted by kind, with a few names of each."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

EXAMPLES = 10
"""Named examples that are kept of each kind."""


@dataclass
class Problems:
    """Kinds of problems in the order in which they were met; a kind is said in the plural."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """Sentences on how the data were read, where that could be another way."""

    def add(self, kind: str, names: Iterable[str], count: int | None = None) -> None:
        """Count `names` (or `count`, where only some can be named) under `kind`; none at all adds nothing."""
        names = list(names) if count is None else list(islice(names, EXAMPLES))
        count = len(names) if count is None else count
        if not count:
            return
        self.counts[kind] = self.counts.get(kind, 0) + count
        kept = self.examples.setdefault(kind, [])
        kept.extend(names[: EXAMPLES - len(kept)])

    def note(self, sentence: str) -> None:
        """Keep a sentence for people."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def summary(self) -> str:
        """What there is so far, for the end of an error."""
        return f" There are {'; '.join(self.lines())}." if self.counts else ""

    def lines(self) -> list[str]:
        """Each kind, how many there are, and one of them."""
        return [f"{kind}: {count:,}, such as {self.examples[kind][0]}" for kind, count in self.counts.items()]

    def to_dict(self) -> dict[str, Any]:
        """`{kind: {"count": n, "examples": [...]}}`, ready for JSON."""
        return {
            kind: {"count": count, "examples": list(self.examples[kind])}
            for kind, count in self.counts.items()
        }
