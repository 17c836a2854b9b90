"""Each figure shows the report's numbers, on the axes that it was given, and says so where there are none."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from tests.plots.reports import collapsed, partial, report, run, saliency
from tests.report.made import make_report

from pairjepa.apps.report import figures as plots
from pairjepa.apps.report.figures.style import SERIES, drawing
from pairjepa.apps.report.page import render


def masked() -> dict[str, Any]:
    one = run("masked", 35.0)
    one["evaluation"]["partial"] = partial()
    return one


ON_AXES: dict[str, Callable[[Axes | None], Axes]] = {
    "recall_bars": lambda ax: plots.recall_bars(report(run(), masked()), ax),
    "cosine_distribution": lambda ax: plots.cosine_distribution(run(), ax),
    "prediction_margin": lambda ax: plots.prediction_margin(run(), ax),
    "map by modality": lambda ax: plots.map_by_modality(run(), ax),
    "map by cluster": lambda ax: plots.map_by_cluster(run(), ax),
    "spectrum": lambda ax: plots.spectrum(run(), ax),
    "hubness": lambda ax: plots.hubness(run(), ax),
    "partial_recall": lambda ax: plots.partial_recall(masked(), ax),
}


def drawn(figure: Any) -> None:
    """Lay out and draw, which is when Matplotlib finds what it cannot show."""
    figure.canvas.draw()


def texts(ax: Axes) -> str:
    return "\n".join(text.get_text() for text in ax.findobj(matplotlib.text.Text))  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ON_AXES)
def test_a_figure_is_drawn_on_the_axes_given_or_on_its_own(name: str) -> None:
    before = dict(matplotlib.rcParams)
    given = Figure().subplots(1, 2)[1]
    assert ON_AXES[name](given) is given
    assert given.has_data()
    drawn(given.figure)
    alone = ON_AXES[name](None)
    drawn(alone.figure)
    assert alone.figure is not given.figure
    assert not pyplot.get_fignums()
    assert dict(matplotlib.rcParams) == before


def test_recall_bars_are_the_recalls_beside_cca_and_chance() -> None:
    ax = plots.recall_bars(report(run(), masked()))
    first, second = ax.containers
    assert [bar.get_height() for bar in first] == [30, 50, 60, 20, 40, 50]
    assert [bar.get_height() for bar in second] == [35, 55, 65, 25, 45, 55]
    assert first[0].get_hatch() != second[0].get_hatch(), "to be told apart without colour"
    lines = [c.get_segments() for c in ax.collections if isinstance(c, LineCollection)]
    upright = [line for lot in lines for line in lot if line[0][0] == line[1][0]]
    assert [27, 34] in [[start[1], end[1]] for start, end in upright], "R@1 of the first run, 27 to 34"
    level = {float(line[0][1]) for lot in lines for line in lot if line[0][1] == line[1][1]}
    assert {15.0, 20.0} <= level, "CCA of either run"
    assert {1.0, 5.0, 10.0} <= level, "chance"
    # each interval stands in the middle of its bar
    middles = sorted(bar.get_x() + bar.get_width() / 2 for bars in ax.containers for bar in bars)
    np.testing.assert_allclose(sorted(line[0][0] for line in upright), middles)


def test_recall_bars_have_the_pretrained_pair_where_a_run_began_as_one() -> None:
    one = run()
    one["evaluation"]["baselines"]["pretrained"] = {
        way: {"R@1": 61.5, "R@5": 71.5, "R@10": 81.5} for way in ("image_to_text", "text_to_image")
    }
    for shown in (report(one), report(one, masked())):
        ax = plots.recall_bars(shown)
        level = {float(y) for lines in ax.collections for (_, y), *_ in lines.get_segments()}  # type: ignore[attr-defined]
        assert {61.5, 71.5, 81.5} <= level
        assert "the pretrained pair" in [text.get_text() for text in ax.get_legend().get_texts()]
    assert "the pretrained pair" not in [
        text.get_text() for text in plots.recall_bars(report(run())).get_legend().get_texts()
    ]


def test_recall_bars_of_many_runs_do_not_overlap() -> None:
    ax = plots.recall_bars(report(*(run(f"run {n}") for n in range(8))))
    edges = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bars in ax.containers for bar in bars)
    assert all(one[1] <= other[0] + 1e-9 for one, other in pairwise(edges))


def test_recall_curves() -> None:
    to_text, to_image = plots.recall_curves(report(run(), masked()))
    first, second, chance = to_image.lines
    assert list(first.get_ydata()) == run()["recall_curve"]["text_to_image"]["recall"]
    assert list(chance.get_ydata()) == [0.2 * k for k in range(1, 101)]
    assert first.get_linestyle() != second.get_linestyle()
    assert list(to_text.lines[0].get_ydata()) == run()["recall_curve"]["image_to_text"]["recall"]
    legend = to_text.get_legend().get_texts()
    assert [text.get_text() for text in legend] == ["contrastive", "masked", "chance"]
    drawn(to_text.figure)
    assert [label.get_text() for label in to_image.get_xticklabels()] == [
        "1",
        "2",
        "5",
        "10",
        "20",
        "50",
        "100",
    ]


def test_partial_recall_in_order_of_what_is_hidden() -> None:
    ax = plots.partial_recall(masked())
    lines = {container.get_label(): container.lines[0] for container in ax.containers}
    assert list(lines) == ["with the image", "trained without images", "with another image"]
    assert list(lines["with the image"].get_xdata()) == [0, 60, 90]
    assert list(lines["with the image"].get_ydata()) == [90, 60, 20]
    assert list(lines["trained without images"].get_ydata()) == [80, 50, 10]
    assert len({line.get_marker() for line in lines.values()}) == 3
    one_image = masked()
    for found in one_image["evaluation"]["partial"].values():
        found["shuffled"] = None
    assert len(plots.partial_recall(one_image).containers) == 2
    assert "sees no part of a caption" in texts(plots.partial_recall(run()))


def test_cosine_distribution() -> None:
    ax = plots.cosine_distribution(run())
    assert [list(patch.get_data().values) for patch in ax.patches] == 2 * [[0, 0.5, 1.5]] + 2 * [
        [1.25, 0.75, 0]
    ]  # type: ignore[attr-defined]
    shown = texts(ax)
    for words in ("matched: 0.60 ± 0.10", "random: 0.00 ± 0.20", "AUC 0.975\noverlap 12 %"):
        assert words in shown


def test_prediction_margin_counts_ties_against_the_model() -> None:
    ax = plots.prediction_margin(run())
    right, wrong = (scatter.get_offsets() for scatter in ax.collections)
    np.testing.assert_array_equal(right, [[0.5, 0.75], [0.25, 0.5]])
    np.testing.assert_array_equal(wrong, [[0.5, 0.5], [0.5, 0.25]])
    assert "own caption first: 50 %" in texts(ax)


def test_map_joins_each_prediction_to_its_targets() -> None:
    shown = run()["projection"]
    ax = plots.map_by_modality(run())
    (links,) = (c for c in ax.collections if isinstance(c, LineCollection))
    points = np.column_stack([shown["x"], shown["y"]])
    expected = [
        [points[target], points[prediction]]
        for target, prediction in enumerate(shown["link"])
        if prediction >= 0
    ]
    np.testing.assert_array_equal(links.get_segments(), expected)
    targets, predictions = (c for c in ax.collections if isinstance(c, PathCollection))
    np.testing.assert_array_equal(predictions.get_offsets(), points[:4])
    np.testing.assert_array_equal(targets.get_offsets(), points[4:])
    assert "t-SNE (openTSNE 1.0); perplexity 3; seed 7; trustworthiness 0.88" in ax.get_xlabel()
    assert "Distances between groups mean nothing." in ax.get_xlabel()


def test_map_by_cluster() -> None:
    ax = plots.map_by_cluster(run())
    targets, predictions = (c for c in ax.collections if isinstance(c, PathCollection))
    first, second = SERIES[0].color.lower(), SERIES[1].color.lower()
    assert [to_hex(color) for color in predictions.get_facecolors()] == [first, first, second, second]  # type: ignore[attr-defined]
    assert [to_hex(color) for color in targets.get_facecolors()] == [first] * 4 + [second] * 4  # type: ignore[attr-defined]
    assert "dog\nsnow\n$x$" in texts(ax)


def test_spectrum_as_shares_of_the_greatest_with_the_effective_ranks() -> None:
    ax = plots.spectrum(run())
    prediction, rank, target, _ = ax.lines
    np.testing.assert_allclose(prediction.get_ydata(), [1, 0.5, 0.25])
    np.testing.assert_allclose(target.get_ydata(), [1, 0.75, 0.5, 0.25])
    np.testing.assert_allclose([rank.get_xdata()[0], rank.get_ydata()[0]], [2.5, 0.375])
    assert "targets: effective rank 3" in texts(ax)


def test_hubness_is_the_share_that_stands_in_so_many_lists_at_least() -> None:
    ax = plots.hubness(run())
    items = [0] * 4 + [1] * 3 + [3]
    naive = [100 * np.mean([times >= n for times in items]) for n in range(4)]
    for line in ax.lines:
        np.testing.assert_allclose(line.get_ydata(), naive)
    assert "captions: 12 % fill half, 50 % never" in texts(ax)


def test_training_shows_what_was_measured_and_the_chosen_epoch() -> None:
    axes = plots.training(run())
    assert [ax.get_title(loc="left") for ax in axes] == [
        "dev recall, %", "rsum", "cosine", "alignment", "uniformity", "effective rank", "modality gap", "loss",
    ]  # fmt: skip
    dev, train, chosen = axes[1].lines
    assert list(dev.get_ydata()) == [100, 200, 150]
    assert (list(train.get_xdata()), list(train.get_ydata())) == ([3], [400])
    assert list(chosen.get_xdata()) == [2, 2]
    assert [list(line.get_ydata()) for line in axes[2].lines[:2]] == [[0.1, 0.6, 0.5], [0, -0.001, 0]]
    assert len(axes[7].lines) == 2, "one term is the loss itself"
    several = run()
    several["training"]["terms"]["sigreg"] = [3.0, 2.0, 1.0]
    assert {line.get_label() for line in plots.training(several)[7].lines} >= {"loss", "info_nce", "sigreg"}

    whole = Figure(layout="constrained")
    half = whole.subfigures(2, 1)[0]
    assert plots.training(run(), half)[0].get_figure(root=False) is half


def test_a_new_figure_is_one_function(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is on the page, with its docstring, and among the files; nothing else is to touch."""
    monkeypatch.setattr("pairjepa.apps.report.figures.registry.FIGURES", {})

    @plots.figure("seven", section="cosines", alt=lambda run: f"Seven dots of {run['name']}.")
    def seven(run: dict[str, Any], ax: Axes | None = None) -> Axes:
        """A line of seven.

        It means nothing.

        Args:
            run: one of the report's.
            ax: where to draw.
        """
        with drawing(ax) as ax:
            ax.plot(range(7))
        return ax

    made = make_report(("plain",))
    page = render(made)
    for words in ("<h3>A line of seven</h3>", "It means nothing.", 'aria-label="Seven dots of plain."'):
        assert words in page
    assert "where to draw" not in page
    assert {"seven-plain.png", "seven-plain.pdf"} <= {
        path.name for path in plots.write_figures(made, tmp_path)
    }


def test_saliency_maps_lie_over_the_picture_or_alone() -> None:
    axes = plots.saliency_map(saliency())
    drawn(axes[0].figure)
    under, over = axes[1].images
    assert under.get_array().shape == (32, 64)  # type: ignore[union-attr]
    np.testing.assert_allclose(over.get_array(), [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])  # type: ignore[arg-type]
    assert over.get_extent() == under.get_extent()
    assert axes[1].get_title(loc="left") == "a $5 $6 sky (0.35)"
    other = saliency()
    other["maps"][0]["values"][0] = 0.9
    assert {ax.images[1].get_clim() for ax in plots.saliency_map(other)} == {(0.1, 0.9)}, (
        "one scale for all texts"
    )
    assert [len(ax.images) for ax in plots.saliency_map(saliency(shown=False))] == [1, 1]


@pytest.mark.parametrize("name", ["$\\frac{$", "_hidden", "<script>alert(1)</script>"])
def test_a_name_is_shown_as_it_is(name: str) -> None:
    for ax in (
        plots.recall_bars(report(run(name))),
        plots.recall_curves(report(run(name)))[0],
    ):
        drawn(ax.figure)
        assert ax.get_legend().get_texts()[0].get_text().strip() == name
    long = plots.recall_bars(report(run("a/" * 40 + "end"))).get_legend().get_texts()[0].get_text()
    assert len(long) == 40
    assert long.endswith("a/end")


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (plots.cosine_distribution, "no random pairs"),
        (plots.prediction_margin, "No margins: the split has no other image."),
        (plots.map_by_cluster, "No map of the space"),
        (plots.spectrum, "The space has collapsed."),
    ],
)
def test_total_collapse_is_said_on_the_axes(draw: Callable[[Any], Axes], said: str) -> None:
    ax = draw(collapsed())
    drawn(ax.figure)
    assert said in texts(ax)


def test_one_epoch_or_none() -> None:
    axes = plots.training(collapsed())
    drawn(axes[0].figure)
    assert axes[1].lines[0].get_marker() == "o", "a line of one point is not seen"
    assert "not measured" in texts(axes[6])
    assert len(axes[2].lines) == 2, "the matched cosine, and the chosen epoch"
    (only,) = plots.training(run() | {"training": None})
    assert "No epoch of the training was measured." in texts(only)
    unmeasured = run()
    unmeasured["geometry"]["hubness"] = None
    assert "Hubness was not measured." in texts(plots.hubness(unmeasured))
