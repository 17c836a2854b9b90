"""What a figure of the page is, and the words that all of them use."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from pairjepa.apps.report.alt import describe
from pairjepa.apps.report.page.svg import Kind

DIRECTIONS = {"image_to_text": "Image → text", "text_to_image": "Text → image"}
SIDES: dict[str, Kind] = {"prediction": "solid", "target": "dash"}

Report = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """What can be copied: a caption, the head, and rows of text."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Figure:
    """Charts with one text and their numbers."""

    charts: Sequence[Markup]
    shows: Sequence[str]
    """What there is to see, in words, with numbers."""
    tables: Sequence[Table]


def described(report: Report, *figures: str) -> list[str]:
    """The texts of each run's figures; a run says its name where there are several."""
    runs = report["runs"]
    return [of(describe(figure, report, run), run, runs) for run in runs for figure in figures]


def of(what: str, run: dict[str, Any], runs: Sequence[Any]) -> str:
    """`what`, with the run's name where there are several."""
    return f"{run['name']}: {what}" if len(runs) > 1 else what


def kind_of(index: int) -> Kind:
    """Lines of runs differ by more than colour."""
    return "dash" if index % 2 else "solid"


def ci_text(ci: Sequence[float] | None, digits: int = 1) -> str:
    """`[low, high]`, or nothing where there is no interval."""
    return f"[{ci[0]:.{digits}f}, {ci[1]:.{digits}f}]" if ci else ""


def cell(values: Sequence[float | None], place: int) -> str:
    """The value at a place of a column; a dash beyond its end."""
    return significant(values[place] if place < len(values) else None)


def significant(value: float | None) -> str:
    """Four significant digits; a dash where nothing was measured."""
    return "–" if value is None else f"{value:.4g}"
