"""The register of figures: what is drawn, where on the page it stands, what it shows in words; and all as files."""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pairjepa.apps.report.figures.style import STYLE, missing_letters
from pairjepa.util.files import atomic_path, writing
from pairjepa.util.progress import progress, say

SECTIONS = {
    "headline": "In short",
    "examples": "Examples",
    "mistakes": "What kind of mistake",
    "partial": "Half a caption",
    "saliency": "Saliency maps",
    "curves": "Recall@K",
    "cosines": "Cosines",
    "map": "Map of the space",
    "training": "Training",
    "geometry": "Verdicts and geometry",
    "measured": "What was measured",
    "notes": "Notes",
}
"""Id → title, in the order of the page."""

Subject = dict[str, Any]
"""What a figure is of: the report, one of its runs, or one of a run's saliency maps."""


@dataclass(frozen=True)
class Kind:
    """A registered figure."""

    name: str
    title: str
    """The first line of the function's docstring."""
    reading: str
    """How to read it: the rest of the docstring, without its arguments."""
    section: str | None
    draw: Callable[[Subject], Axes | list[Axes]]
    alt: Callable[[Subject], str]
    of: Literal["report", "run", "saliency"]
    needs: Callable[[Subject], Any]


@dataclass(frozen=True)
class Drawing:
    """A figure of this report."""

    kind: Kind
    subject: Subject
    run: Subject | None
    """The run that it is of; None: of all of them."""
    number: int | None
    """Of saliency maps, which one."""

    @property
    def alt(self) -> str:
        """What it shows, in one or two sentences with its numbers."""
        return self.kind.alt(self.subject)

    def draw(self) -> Figure:
        """Draw it."""
        drawn = self.kind.draw(self.subject)
        figure = (drawn[0] if isinstance(drawn, list) else drawn).get_figure(root=True)
        assert figure is not None
        return figure


FIGURES: dict[str, Kind] = {}


def figure(
    name: str,
    *,
    section: str | None,
    alt: Callable[[Subject], str],
    of: Literal["report", "run", "saliency"] = "run",
    needs: Callable[[Subject], Any] = bool,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function that draws: it is shown on the page and written for a paper.

    Its docstring is on the page: the first line as the title, what follows as how to read it.

    Args:
        name: of the files, before the run's name.
        section: where on the page, one of `SECTIONS`; None where the page has something of its own instead.
        alt: what it shows, in one or two sentences with its numbers.
        of: what it is given: the whole report, one run of it, or one of a run's saliency maps.
        needs: whether there is anything to show; else it is left out.
    """
    assert section is None or section in SECTIONS, section

    def register(draw: Callable[..., Any]) -> Callable[..., Any]:
        said = re.split(r"\n\n(?:Args|Raises|Returns):", inspect.getdoc(draw) or "")[0]
        title, _, reading = said.partition("\n")
        FIGURES[name] = Kind(name, title.rstrip("."), reading.strip(), section, draw, alt, of, needs)
        return draw

    return register


def drawings(report: Subject) -> Iterator[Drawing]:
    """Every figure that the report has something for, those of all runs first."""
    for run in (None, *report["runs"]):
        for kind in FIGURES.values():
            if kind.of == "saliency":
                shown = [one for one in run["saliency"] if kind.needs(one)] if run else []
                yield from (Drawing(kind, one, run, number) for number, one in enumerate(shown, start=1))
            elif (kind.of == "report") is (run is None) and kind.needs(run or report):
                yield Drawing(kind, run or report, run, None)


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
        # there are file systems to which A is a
        while tried.lower() in {name.lower() for name in names.values()}:
            tried, number = f"{plain}-{number}", number + 1
        names[run] = tried
    return names
