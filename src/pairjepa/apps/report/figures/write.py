"""All figures of a report as files for a paper."""

import re
from pathlib import Path
from typing import Any

from matplotlib import rc_context

from pairjepa.apps.report.figures.registry import Drawing, drawings
from pairjepa.apps.report.figures.style import STYLE, missing_letters
from pairjepa.util.files import atomic_path, writing
from pairjepa.util.progress import progress, say

DOTS = 200  # an inch, of PNG and of what is drawn as points in PDF


def write_figures(report: dict[str, Any], folder: Path) -> list[Path]:
    """Write each figure as PNG and PDF, a column wide; what a run has nothing for is left out.

    They are named by what they show and the run: `recall-bars.pdf`, `cosine-distribution-contrastive.png`. Each file
    says in its metadata what it shows (`Description` of a PNG, `Subject` of a PDF) and of which weights (`Comment`,
    `Keywords`). The same report gives the same bytes, with the same Matplotlib. None holds a picture of the data but
    those that are called `saliency-map-…`, which are PNG alone: ask whose photographs they are before you publish them.

    Args:
        report: of `pairjepa.apps.report.collect`.
        folder: made if it is not there; files of the same names are replaced.

    Returns:
        What was written.

    Raises:
        PairJEPAError: the folder cannot be written.
    """
    written, every = [], list(drawings(report))
    names = _file_names([run["name"] for run in report["runs"]])
    with progress("figures", len(every), "figures") as bar, missing_letters() as missing:
        for one in every:
            figure, name = one.draw(), _name(one, names)
            shown = report["runs"] if one.run is None else [one.run]
            weights = "weights of " + ", ".join(f"{run['name']}: {run['weights']}" for run in shown)
            metadata: dict[str, dict[str, Any]] = {
                "png": {"Description": one.alt, "Comment": weights, "Software": None},
                "pdf": {"Title": name, "Subject": one.alt, "Keywords": weights, "CreationDate": None},
            }
            for kind in ("png",) if one.number is not None else ("png", "pdf"):
                path = folder / f"{name}.{kind}"
                with rc_context(STYLE), writing(path), atomic_path(path) as temporary:
                    figure.savefig(temporary, format=kind, dpi=DOTS, metadata=metadata[kind])
                written.append(path)
            bar.advance()
    if missing:
        say(
            f"{len(missing):,} letters are in no installed font, and stand as boxes in the figures. "
            "docs/report.md names fonts for other scripts, such as Noto Sans CJK."
        )
    return written


def _name(one: Drawing, names: dict[str, str]) -> str:
    parts = [one.kind.name, one.number, one.run and names[one.run["name"]]]
    return "-".join(str(part) for part in parts if part is not None)


def _file_names(runs: list[str]) -> dict[str, str]:
    """Each run's name as a part of file names, different for each: `runs/a b` → `runs-a-b`."""
    names: dict[str, str] = {}
    for run in runs:
        plain = re.sub(r"[^\w.-]+", "-", run).strip("-.") or "run"
        tried, number = plain, 2
        while tried.lower() in {
            name.lower() for name in names.values()
        }:  # there are file systems to which A is a
            tried, number = f"{plain}-{number}", number + 1
        names[run] = tried
    return names
