"""The register of figures: what is drawn, where on the page it stands, and what it shows in words."""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

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
