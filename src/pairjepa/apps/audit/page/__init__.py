"""The page of an audit: the most suspicious captions, each with its own image and the one that it fits better."""

import base64
from pathlib import Path
from typing import Any

import numpy as np

from pairjepa.apps.audit.findings import Findings
from pairjepa.apps.pages import offline_page
from pairjepa.pairs.images import thumbnail
from pairjepa.util.files import atomic_path, writing

WORST = 100
TWINS = 24
SHARED = 50
SIDE, QUALITY = 320, 80
"""Of a thumbnail: pixels of the longer side, JPEG's quality."""


def write_page(found: Findings, record: dict[str, Any], path: Path) -> None:
    """Write `audit.html`, one file that loads nothing.

    Args:
        found: the scores.
        record: what stands in `audit.json`.
        path: the page.

    Raises:
        PairJEPAError: Jinja is not installed, an image has gone, or the page cannot be written.
    """
    thumbnails: dict[int, str] = {}

    def picture(row: int) -> dict[str, str]:
        if row not in thumbnails:
            thumbnails[row] = _thumbnail(found, row)
        return {"name": found.pairs.names[row], "src": thumbnails[row]}

    worst = [int(row) for row in found.order[:WORST] if np.isfinite(found.scores.suspicion[row])]
    page = offline_page(
        "pairjepa.apps.audit.page",
        record=record,
        worst=[_card(found, row, picture) for row in worst],
        twins=[[picture(row) for row in rows] for rows in found.twins[:TWINS].tolist()],
        shared=record["shared_captions"]["examples"][:SHARED],
    )
    with writing(path), atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")


def _card(found: Findings, caption: int, picture: Any) -> dict[str, Any]:
    scores, pairs = found.scores, found.pairs
    image, best = int(pairs.owner[caption]), int(scores.best[caption])
    siblings = np.flatnonzero(pairs.owner == image)
    return {
        "caption": pairs.captions[caption].as_py(),
        "own": picture(image),
        "best": picture(best),
        "rank": int(scores.rank[caption]),
        "gallery": int(found.gallery[caption]),
        "cosine": float(scores.cosine[caption]),
        "best_cosine": float(scores.cosine[caption] - scores.margin[caption]),
        "like_mismatched": float(found.like_mismatched[caption]),
        "siblings": [pairs.captions[int(row)].as_py() for row in siblings if row != caption],
    }


def _thumbnail(found: Findings, row: int) -> str:
    """A JPEG as a data address."""
    jpeg = thumbnail(found.pairs.image(row), SIDE, QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
