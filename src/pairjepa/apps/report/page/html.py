"""From the report to its page: what the template and the page's script are given."""

import base64
from pathlib import Path
from typing import Any

from pairjepa.apps.pages import offline_page
from pairjepa.apps.report.alt import describe
from pairjepa.apps.report.page import course, recalls, space
from pairjepa.apps.report.page.figure import Table
from pairjepa.apps.report.page.svg import series
from pairjepa.util.files import atomic_path, writing

THUMBNAIL_BYTES = 9_000_000
"""Of JPEGs that the page takes; as base64 they are a third more, and the page is to stay below 15 MB."""
PLACES = 4  # digits of a point on the map


def write_page(report: dict[str, Any], path: Path) -> None:
    """Write the page, whole or not at all.

    Args:
        report: of `pairjepa.apps.report.collect`.
        path: the HTML file.

    Raises:
        PairJEPAError: it cannot be written there.
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
    return offline_page(
        "pairjepa.apps.report.page",
        report=report,
        runs=[_run(report, run, index) for index, run in enumerate(report["runs"])],
        sections=SECTIONS,
        headline=recalls.headline(report),
        curves=recalls.recall_curves(report),
        cosines=space.cosines(report),
        training=course.training(report),
        geometry=space.geometry(report),
        measured=_measured(report),
        notes=notes,
        pictured=set(thumbnails),
        data={
            "thumbnails": thumbnails,
            "names": report["names"],
            "texts": report["texts"],
            "owner": report["owner"],
            "runs": [_run_data(run) for run in report["runs"]],
        },
    )


SECTIONS = {
    "headline": "In short",
    "curves": "Recall@K",
    "cosines": "Cosines",
    "map": "Map of the space",
    "training": "Training",
    "geometry": "Geometry in words",
    "examples": "Examples",
    "partial": "Half a caption",
    "looks": "Where did it look?",
    "measured": "What was measured",
    "notes": "Notes",
}
"""Id → title, in the order of the page."""


def _run(report: dict[str, Any], run: dict[str, Any], index: int) -> dict[str, Any]:
    """What the template shows of a run."""
    return run | {
        "style": series(index),
        "partial_figure": recalls.partial_recall(report, run, index),
        "map_shows": describe("projection", report, run),
    }


def _run_data(run: dict[str, Any]) -> dict[str, Any]:
    """What the script draws of a run."""
    projection = run["projection"]
    if projection is not None:
        kept = {key: projection[key] for key in ("kind", "row", "link", "cluster", "clusters")}
        places = {axis: [float(f"{value:.{PLACES}g}") for value in projection[axis]] for axis in "xy"}
        projection = kept | places
    looks = [
        look
        | {
            "picture": _base64(look["picture"]),
            "maps": [m | {"values": [round(v, 4) for v in m["values"]]} for m in look["maps"]],
        }
        for look in run["looks"]
    ]
    return {"projection": projection, "looks": looks}


def _thumbnails(report: dict[str, Any]) -> dict[int, str]:
    """Row → base64 of its JPEG: those that the examples show first, then the others, while there is room."""
    kept: dict[int, str] = {}
    room = THUMBNAIL_BYTES
    for row in dict.fromkeys([*_shown(report), *range(report["images"])]):
        picture = report["thumbnails"][row]
        if picture is not None and len(picture) <= room:
            kept[row] = _base64(picture)
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
        for partial in run["partial"]:
            rows += [row for row in (partial["image"], partial["shuffled_image"]) if row is not None]
    return rows


def _base64(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def _measured(report: dict[str, Any]) -> Table:
    """What was measured on what, a column a run."""
    runs = report["runs"]
    rows = {
        "split": [report["split"]] * len(runs),
        "images": [f"{report['images']:,}"] * len(runs),
        "captions": [f"{report['captions']:,}"] * len(runs),
        "right answers": [_RELEVANCE.get(report["relevance"], report["relevance"])] * len(runs),
        "data": [report["description"]] * len(runs),
        "run": [run["path"] for run in runs],
        "recipe": [run["recipe"] for run in runs],
        "seed": [str(run["seed"]) for run in runs],
        "training": ["complete" if run["complete"] else "not complete: best epoch so far" for run in runs],
        "kept epoch": [_kept(run["training"]) for run in runs],
        "image backbone": [_backbone(run, "image") for run in runs],
        "text backbone": [_backbone(run, "text") for run in runs],
        "dimensions": [str(run["evaluation"]["geometry"]["dim"]) for run in runs],
        "seconds of training": [_cost(run, "training_seconds", "{:,.1f}") for run in runs],
        "trained parameters": [_cost(run, "trained_parameters", "{:,}") for run in runs],
        "peak memory (bytes)": [_cost(run, "peak_rss_bytes", "{:,}") for run in runs],
        "intervals": [_bootstrap(run["evaluation"].get("bootstrap")) for run in runs],
        "versions": [_versions(run["versions"]) for run in runs],
    }
    head = ["", *(run["name"] for run in runs)]
    return Table(
        "What was measured on what.", head, [[name, *cells] for name, cells in rows.items() if any(cells)]
    )


_RELEVANCE = {"owner": "an image's own captions", "text": "every caption with the same words"}


def _kept(training: dict[str, Any] | None) -> str:
    if not training or training.get("best_epoch") is None:
        return "–"
    return f"{training['best_epoch']} of {training['epoch'][-1]}"


def _backbone(run: dict[str, Any], side: str) -> str:
    found = (run["backbones"] or {}).get(side)
    if not found:
        return "–"
    name = Path(found["source"]).name if Path(found["source"]).is_absolute() else found["source"]
    return f"{name}, {found['parameters']:,} parameters, digest {found['digest'][:8]}"


def _cost(run: dict[str, Any], key: str, form: str) -> str:
    value = (run["evaluation"].get("cost") or {}).get(key)
    return "–" if value is None else form.format(value)


def _bootstrap(used: dict[str, Any] | None) -> str:
    if not used:
        return "–"
    return f"{used['confidence']:.0%}, {used['draws']:,} resamples by {used['unit']}, seed {used['seed']}"


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
