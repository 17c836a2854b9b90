"""The figures of a report with Matplotlib: on the page, as files for a paper, and on an `Axes` for a notebook.

    report = pairjepa.apps.report.collect(["runs/contrastive", "runs/masked"])
    figures.recall_bars(report).figure
    figures.cosine_distribution(report["runs"][0], ax=my_axes)
    figures.write_figures(report, Path("figures"))

A new figure is one function here with the decorator `figure`. It draws on the `Axes` that it is given and returns it;
without one it makes a figure of its own, which is `axes.figure`. Matplotlib's settings stay as they are, and pyplot is
not used.
"""

from pairjepa.util.errors import needs

with needs("matplotlib", "report"):
    import matplotlib  # noqa: F401

from pairjepa.apps.report.figures.map import map_by_cluster, map_by_modality
from pairjepa.apps.report.figures.registry import FIGURES, drawings, figure, write_figures
from pairjepa.apps.report.figures.retrieval import partial_recall, recall_bars, recall_curves
from pairjepa.apps.report.figures.saliency import saliency_map
from pairjepa.apps.report.figures.space import (
    cosine_distribution,
    hubness,
    prediction_margin,
    spectrum,
)
from pairjepa.apps.report.figures.training import training

__all__ = [
    "FIGURES",
    "cosine_distribution",
    "drawings",
    "figure",
    "hubness",
    "map_by_cluster",
    "map_by_modality",
    "partial_recall",
    "prediction_margin",
    "recall_bars",
    "recall_curves",
    "saliency_map",
    "spectrum",
    "training",
    "write_figures",
]
