"""All figures of a report as files for a paper."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pairjepa.apps.report.alt import describe
from pairjepa.apps.report.figures import looks, retrieval, space
from pairjepa.apps.report.figures.style import PAGE, STYLE, new_figure
from pairjepa.apps.report.figures.training import training
from pairjepa.util.files import atomic_path, writing
from pairjepa.util.progress import progress

DOTS = 200  # an inch, of PNG and of what is drawn as points in PDF
LOOKS = 3  # beside each other


def write_figures(report: dict[str, Any], folder: Path) -> list[Path]:
    """Write each figure as PNG and PDF, sized for a paper; what a run has nothing for is left out.

    They are named by what they show and the run: `recall-bars.pdf`, `cosine-distribution-contrastive.png`. Each file
    says in its metadata what it shows (`Description` of a PNG, `Subject` of a PDF). The same report gives the same
    bytes, with the same Matplotlib. None holds a picture of the data but those that are called
    `look-with-picture-…`, which are PNG alone: ask whose photographs they are before you publish those.

    Args:
        report: of `pairjepa.apps.report.collect`.
        folder: made if it is not there; files of the same names are replaced.

    Returns:
        What was written.

    Raises:
        PairJEPAError: the folder cannot be written.
    """
    written = []
    figures = list(_figures(report))
    with progress("figures", len(figures), "figures") as bar:
        for one in figures:
            figure = one.draw()
            metadata = {
                "png": {"Description": one.text, "Software": None},
                "pdf": {"Title": one.name, "Subject": one.text, "CreationDate": None},
            }
            for kind in one.kinds:
                path = folder / f"{one.name}.{kind}"
                with rc_context(STYLE), writing(path), atomic_path(path) as temporary:
                    figure.savefig(temporary, format=kind, dpi=DOTS, metadata=metadata[kind])
                written.append(path)
            bar.advance()
    return written


@dataclass(frozen=True)
class _Drawn:
    """A figure of the report."""

    name: str
    text: str
    draw: Callable[[], Figure]
    kinds: tuple[str, ...] = ("png", "pdf")


def _figures(report: dict[str, Any]) -> Iterator[_Drawn]:
    """Each figure that the report has something for."""
    yield _Drawn("recall-bars", describe("recall_bars", report), lambda: _of(retrieval.recall_bars(report)))
    yield _Drawn("recall-curves", describe("recall_curves", report), lambda: _both_ways(report))
    taken: set[str] = set()
    for run in report["runs"]:
        name = _file_name(run["name"], taken)
        for figure, what, there, draw in _of_run(run):
            if there:
                yield _Drawn(f"{what}-{name}", describe(figure, report, run), draw)
        text = describe("look", report, run)
        for number, look in enumerate((look for look in run["looks"] if look["picture"]), start=1):
            yield _Drawn(f"look-with-picture-{number}-{name}", text, partial(_every_text, look), ("png",))


def _of_run(run: dict[str, Any]) -> list[tuple[str, str, Any, Callable[[], Figure]]]:
    """Figure, what its file is called, whether there is anything to show, how it is drawn."""
    drawn = run["projection"]
    clusters = drawn and drawn["clusters"]
    map_name = f"map-{drawn['method']}" if drawn else ""
    return [
        ("cosine_distribution", "cosine-distribution", True, lambda: _of(space.cosine_distribution(run))),
        ("prediction_margin", "prediction-margin", run["margin"], lambda: _of(space.prediction_margin(run))),
        ("projection", f"{map_name}-by-modality", drawn, lambda: _of(space.projection(run))),
        ("projection", f"{map_name}-by-cluster", clusters, lambda: _of(space.projection(run, "cluster"))),
        ("training", "training", run["training"], lambda: _of(training(run)[0])),
        ("spectrum", "spectrum", True, lambda: _of(space.spectrum(run))),
        ("hubness", "hubness", run["geometry"]["hubness"], lambda: _of(space.hubness(run))),
        (
            "partial_recall",
            "partial-recall",
            run["evaluation"].get("partial"),
            lambda: _of(retrieval.partial_recall(run)),
        ),
    ]


def _both_ways(report: dict[str, Any]) -> Figure:
    """Both directions beside each other, a page wide."""
    with rc_context(STYLE):
        figure = new_figure(PAGE, retrieval.height(report["runs"]))
        left, right = figure.subplots(1, 2)
    retrieval.recall_curves(report, "image_to_text", left)
    retrieval.recall_curves(report, "text_to_image", right)
    return figure


def _every_text(look: dict[str, Any]) -> Figure:
    """A picture with the map of each of its texts, a page wide."""
    rows = -(-len(look["maps"]) // LOOKS)
    with rc_context(STYLE):
        figure = new_figure(PAGE, 2.7 * rows)
        axes = figure.subplots(rows, LOOKS, squeeze=False).ravel()
    for ax in axes[len(look["maps"]) :]:
        ax.set_axis_off()
    for ax, shown in zip(axes, look["maps"], strict=False):
        looks.look(look, shown["text"], ax)
    return figure


def _of(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure


def _file_name(name: str, taken: set[str]) -> str:
    """A run's name as a part of file names, different for each run: `runs/a b` → `runs-a-b`."""
    plain = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run"
    tried, number = plain, 2
    while tried.lower() in taken:  # there are file systems to which A is a
        tried, number = f"{plain}-{number}", number + 1
    taken.add(tried.lower())
    return tried
