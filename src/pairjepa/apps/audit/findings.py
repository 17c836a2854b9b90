"""What an audit found, put in order and in words; and its table."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from jaxtyping import Float32, Int64

from pairjepa.apps.audit.scores import Scores
from pairjepa.metrics.verdicts import Verdict, wrong_pairs
from pairjepa.pairs.table import Pairs
from pairjepa.util.files import atomic_path, csv_text, writing

EXAMPLES = 1000
"""Twins, and captions under several images, that are named; all are counted."""


@dataclass(frozen=True, eq=False)
class Findings:
    """The scores of all captions, beside the pairs that they are of."""

    pairs: Pairs
    splits: list[str]
    """As the data have them, image by image."""
    scores: Scores
    gallery: Int64[np.ndarray, " captions"]
    """Images of each caption's fold: what its rank is a rank among."""
    twins: Int64[np.ndarray, "twins 2"]
    words: Int64[np.ndarray, " captions"]
    """A number that captions of the same words share."""
    settings: dict[str, Any]
    """How it was scored."""

    @property
    def order(self) -> Int64[np.ndarray, " captions"]:
        """Rows of the captions, the most suspicious first; those that have no other image to fit are last."""
        order: np.ndarray = np.argsort(-self.scores.suspicion, kind="stable")  # NaN goes last
        return order

    @property
    def like_mismatched(self) -> Float32[np.ndarray, " captions"]:
        """Percent of captions with a wrong image (drawn at random) that are less suspicious than each is now."""
        wrong = np.sort(self.scores.mismatched[np.isfinite(self.scores.mismatched)])
        suspicion = self.scores.suspicion
        share = 100 * np.searchsorted(wrong, suspicion) / max(len(wrong), 1)
        return np.where(np.isfinite(suspicion), share, np.nan).astype(np.float32)

    @property
    def verdict(self) -> Verdict:
        """Whether the models know enough of the pairs to call some of them wrong."""
        fits_better = 1 - (self.scores.rank - 1) / np.maximum(self.gallery - 1, 1)
        return wrong_pairs(float(fits_better.mean()), self.pairs.n_images)

    @property
    def estimated_wrong(self) -> int | None:
        """About how many captions are under a wrong image; None where the models cannot tell.

        Half of them look worse than the median of captions with an image drawn at random, and hardly a right one does:
        twice the number that does. Captions that say nothing of their image look the same and are counted too.
        """
        if self.verdict.level != "good":
            return None
        return min(2 * int((self.like_mismatched >= 50).sum()), len(self.pairs))

    def record(self) -> dict[str, Any]:
        """Counts and what is there twice, JSON-ready."""
        names, rank = self.pairs.names, self.scores.rank
        shared = self._shared_captions()
        return {
            "data": self.pairs.description,
            "settings": self.settings,
            "images": self.pairs.n_images,
            "captions": len(self.pairs),
            "estimated_wrong": self.estimated_wrong,
            "verdict": f"{self.verdict.text}: {self.verdict.value}",
            "own_image_first": round(100 * float((rank == 1).mean()), 2),
            "twin_images": {
                "count": len(self.twins),
                "examples": [[names[left], names[right]] for left, right in self.twins[:EXAMPLES].tolist()],
            },
            "shared_captions": {"count": len(shared), "examples": shared[:EXAMPLES]},
        }

    def _shared_captions(self) -> list[dict[str, Any]]:
        """Captions whose words stand under several images, the commonest first."""
        under = np.unique(np.stack([self.words, self.pairs.owner], axis=1), axis=0)
        group, images = np.unique(under[:, 0], return_counts=True)
        first = np.unique(self.words, return_index=True)[1]
        found: list[dict[str, Any]] = []
        for at in np.argsort(-images, kind="stable"):
            if images[at] < 2:
                break
            rows = under[under[:, 0] == group[at], 1] if len(found) < EXAMPLES else under[:0, 1]
            found.append(
                {
                    "caption": self.pairs.captions[int(first[group[at]])].as_py(),
                    "images": [self.pairs.names[row] for row in rows[:10]],
                    "count": int(images[at]),
                }
            )
        return found

    def table(self) -> pa.Table:
        """All captions, the most suspicious first."""
        names = np.array(self.pairs.names, dtype=object)
        owner, scores = self.pairs.owner, self.scores
        best = np.where(scores.best < 0, None, names[scores.best])
        columns = {
            "image": names[owner],
            "caption": self.pairs.captions,
            "split": np.array(self.splits, dtype=object)[owner],
            "suspicion": scores.suspicion,
            "like_mismatched": self.like_mismatched,
            "rank": scores.rank,
            "gallery": self.gallery,
            "cosine": scores.cosine,
            "margin": scores.margin,
            "captions_margin": scores.captions_margin,
            "best_image": best,
        }
        return pa.table({name: pa.array(column, from_pandas=True) for name, column in columns.items()}).take(
            pa.array(self.order)
        )


def write_table(table: pa.Table, path: Path) -> None:
    """A CSV file, whole or not there; a number that does not exist is empty, and no cell is a formula.

    Raises:
        PairJEPAError: it cannot be written.
    """
    for at, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            cells = [None if cell is None else csv_text(cell) for cell in table[at].to_pylist()]
            table = table.set_column(at, field, pa.array(cells, pa.string()))
    with writing(path), atomic_path(path) as temporary:
        pyarrow.csv.write_csv(table, temporary)
