"""How every figure looks, without a change to Matplotlib's own settings.

Colours are those of Okabe and Ito (Color Universal Design, 2008), which colour-blind readers tell apart; line styles,
markers and hatches carry the same difference, so that a grey print keeps it.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from matplotlib import font_manager, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, VERMILION, GREEN, PURPLE, SKY, ORANGE = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00",
)  # fmt: skip
YELLOW, GREY, INK = "#F0E442", "#7F7F7F", "#222222"
PREDICTION, TARGET = BLUE, ORANGE

COLUMN = 3.4
"""Width of every figure in inches: one column of a paper, and a phone."""
LONGEST_NAME = 40  # characters in a legend

SCRIPTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Source Han Sans SC", "WenQuanYi Zen Hei",
    "PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic",
    "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "Noto Sans Bengali", "Noto Sans Tamil",
    "Noto Sans Thai", "Nirmala UI", "Leelawadee UI", "Arial Unicode MS", "Unifont",
)  # fmt: skip
"""Fonts for what DejaVu Sans lacks, as far as they are installed; `docs/report.md` says where to get them."""

STYLE: Any = {
    "font.family": ["DejaVu Sans", *(name for name in SCRIPTS if name in font_manager.get_font_names())],
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "image.composite_image": False,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.5,
    "hatch.linewidth": 0.5,
    "text.parse_math": False,  # a run may be called "$a"
    "pdf.fonttype": 42,  # TrueType, which printers and editors take
    "savefig.facecolor": "white",
    "figure.facecolor": "white",
}


@dataclass(frozen=True)
class Series:
    """What tells one run, or one kind, from the others."""

    color: str
    line: Any
    marker: str
    hatch: str


SERIES = [
    Series(BLUE, "-", "o", ""),
    Series(VERMILION, "--", "s", "////"),
    Series(GREEN, "-.", "^", "...."),
    Series(PURPLE, ":", "D", "\\\\\\\\"),
    Series(SKY, (0, (5, 1, 1, 1, 1, 1)), "v", "xxxx"),
    Series(ORANGE, (0, (8, 2)), "P", "||||"),
]


def series(number: int) -> Series:
    """The look of the run at this place; after six they begin again."""
    return SERIES[number % len(SERIES)]


@contextmanager
def drawing(ax: Axes | None, height: float = 2.4) -> Iterator[Axes]:
    """The axes to draw on, in our style: those given, or those of a new figure of this height in inches."""
    with rc_context(STYLE):
        yield ax if ax is not None else new_figure(COLUMN, height).add_subplot()


@contextmanager
def missing_letters() -> Iterator[set[str]]:
    """Matplotlib's warnings of letters that no installed font has, kept to oneself."""
    found: set[str] = set()
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", "Glyph .* missing")
        yield found
    found |= {str(one.message) for one in caught if "missing" in str(one.message)}


def new_figure(width: float, height: float) -> Figure:
    """A figure that pyplot does not know; to be made in `drawing` or `rc_context(STYLE)`."""
    return Figure(figsize=(width, height), layout="constrained")


def legend_name(name: str) -> str:
    """A name as a legend shows it: of a long one, which is a path, the end."""
    if len(name) > LONGEST_NAME:
        name = "…" + name[1 - LONGEST_NAME :]
    # Matplotlib leaves out what begins with an underscore
    return f" {name}" if name.startswith("_") else name


def legend_above(ax: Axes, handles: list[Any], names: list[str]) -> None:
    """A legend over the axes, where it hides nothing, however many runs there are."""
    columns = 2 if max(map(len, names)) < 20 else 1
    ax.legend(handles, names, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, handlelength=1.8)


def say_on(ax: Axes, sentence: str) -> None:
    """Say on empty axes why nothing is drawn."""
    ax.set_axis_off()
    ax.text(
        0.5, 0.5, sentence, transform=ax.transAxes, ha="center", va="center", wrap=True, color=INK
    )  # fmt: skip


def point_size(points: int) -> float:
    """Area of a marker where there are so many, in square points."""
    return 4.0 if points > 1_000 else 14.0
