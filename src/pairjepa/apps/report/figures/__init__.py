"""The figures of a report with Matplotlib: each on an `Axes` for a notebook, all as files for a paper.

    report = pairjepa.apps.report.collect(["runs/contrastive", "runs/masked"])
    plots.recall_bars(report).figure
    plots.cosine_distribution(report["runs"][0], ax=my_axes)
    plots.write_figures(report, Path("figures"))

A function draws on the `Axes` that it is given and returns it; without one it makes a figure of its own, which is
`axes.figure`. Matplotlib's settings stay as they are, and pyplot is not used. `pairjepa.apps.report.alt.describe` says
in words what each figure shows.
"""

from pairjepa.util.errors import needs

with needs("matplotlib", "report"):
    import matplotlib  # noqa: F401

from pairjepa.apps.report.figures.looks import look
from pairjepa.apps.report.figures.retrieval import partial_recall, recall_bars, recall_curves
from pairjepa.apps.report.figures.space import (
    cosine_distribution,
    hubness,
    prediction_margin,
    projection,
    spectrum,
)
from pairjepa.apps.report.figures.training import training
from pairjepa.apps.report.figures.write import write_figures

__all__ = [
    "cosine_distribution",
    "hubness",
    "look",
    "partial_recall",
    "prediction_margin",
    "projection",
    "recall_bars",
    "recall_curves",
    "spectrum",
    "training",
    "write_figures",
]
