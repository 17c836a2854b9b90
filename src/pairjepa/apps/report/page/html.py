"""From the report to its page: what the template and the page's script are given."""

import base64
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pairjepa.apps.pages import offline_page
from pairjepa.apps.report.figures.map import map_alt
from pairjepa.apps.report.figures.registry import SECTIONS, Drawing, Kind, drawings
from pairjepa.apps.report.page import tables
from pairjepa.apps.report.page.svg import inline
from pairjepa.pairs.leaks import leak_warning
from pairjepa.util.files import atomic_path, writing
from pairjepa.util.progress import progress

THUMBNAIL_BYTES = 9_000_000
"""Of JPEGs that the page takes; as base64 they are a third more, and the page is to stay below 15 MB."""
PLACES = 4  # digits of a point on the map
MAPS = 4  # pictures of a run whose saliency maps are on the page; all are among the files
SERIES = 6  # colours of runs; then they begin again

Figures = dict[str, dict[Kind, list[tuple[Drawing, Markup]]]]
"""Section → each kind of figure → its drawings and their SVG."""


def write_page(report: dict[str, Any], path: Path) -> None:
    """Write the page, whole or not at all.

    Args:
        report: of `pairjepa.apps.report.collect`.
        path: the HTML file.

    Raises:
        PairJEPAError: it cannot be written there, or Matplotlib is not installed.
    """
    text = render(report)
    with writing(path), atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def render(report: dict[str, Any]) -> str:
    """The page as one HTML text that loads nothing.

    Args:
        report: of `pairjepa.apps.report.collect`.
    """
    thumbnails = _thumbnails(report)
    notes = list(report["notes"])
    left_out = sum(bytes_ is not None for bytes_ in report["thumbnails"]) - len(thumbnails)
    if left_out:
        notes.append(f"{left_out:,} thumbnails were left out, so that the page stays small.")
    runs = [run | {"style": f"s{number % SERIES}"} for number, run in enumerate(report["runs"])]
    figures = _figures(report)
    leaks = (leak_warning(run["evaluation"].get("data", {})) for run in runs)
    own_warnings = (
        f"{run['name']}: {one}" if len(runs) > 1 else one for run in runs for one in run["warnings"]
    )
    warnings = [*filter(None, leaks), *own_warnings]
    own = {
        "headline": True,
        "map": any(run["projection"] for run in runs),
        "geometry": True,
        "examples": True,
        "mistakes": any(run["evaluation"].get("hard_negatives") for run in runs),
        "partial": any(run["partial"] for run in runs),
        "measured": True,
        "notes": bool(notes),
    }
    return offline_page(
        "pairjepa.apps.report.page",
        report=report,
        runs=runs,
        sections={id: title for id, title in SECTIONS.items() if id in figures or own.get(id)},
        figures=figures,
        map_alt=map_alt,
        recalls=tables.recalls(report),
        mistakes=tables.mistakes(report),
        measured=tables.measured(report),
        warnings=list(dict.fromkeys(warnings)),
        notes=notes,
        pictured=set(thumbnails),
        data={
            "thumbnails": thumbnails,
            "names": report["names"],
            "texts": report["texts"],
            "owner": report["owner"],
            "maps": [_map(run["projection"]) for run in runs],
        },
    )


def _figures(report: dict[str, Any]) -> Figures:
    found: Figures = {}
    every = [
        one
        for one in drawings(report)
        if one.kind.section is not None and (one.number is None or one.number <= MAPS)
    ]
    with progress("page", len(every), "figures") as bar:
        for number, one in enumerate(every):
            kinds = found.setdefault(str(one.kind.section), {})
            kinds.setdefault(one.kind, []).append((one, inline(one.draw(), one.alt, f"f{number}")))
            bar.advance()
    return found


def _map(projection: dict[str, Any] | None) -> dict[str, Any] | None:
    """What the script draws."""
    if projection is None:
        return None
    kept = {key: projection[key] for key in ("kind", "row", "link", "cluster")}
    return kept | {axis: [float(f"{value:.{PLACES}g}") for value in projection[axis]] for axis in "xy"}


def _thumbnails(report: dict[str, Any]) -> dict[int, str]:
    """Row → base64 of its JPEG: those that the examples show first, then the others, while there is room."""
    kept: dict[int, str] = {}
    room = THUMBNAIL_BYTES
    for row in dict.fromkeys([*_shown(report), *range(report["images"])]):
        picture = report["thumbnails"][row]
        if picture is not None and len(picture) <= room:
            kept[row] = base64.b64encode(picture).decode()
            room -= len(picture)
    return kept


def _shown(report: dict[str, Any]) -> list[int]:
    """Rows of the images that stand in examples."""
    rows: list[int] = []
    owner = report["owner"]
    for run in report["runs"]:
        for direction, kinds in (run["examples"] or {}).items():
            for example in (one for kind in kinds.values() for one in kind):
                if direction == "image_to_text":
                    rows.append(example["query"])
                else:
                    rows += [owner[example["query"]], *(result["row"] for result in example["results"])]
        rows += [twin["image"] for twins in (run["twins"] or {}).values() for twin in twins]
        for partial in run["partial"]:
            rows += [row for row in (partial["image"], partial["shuffled_image"]) if row is not None]
    return rows
