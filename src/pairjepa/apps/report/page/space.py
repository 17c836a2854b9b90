"""Figures of the space: cosines, spectrum, hubs."""

import itertools
from collections.abc import Sequence

from pairjepa.apps.report.page.charts import Line, line_chart, scatter_chart
from pairjepa.apps.report.page.figure import (
    SIDES,
    Figure,
    Report,
    Table,
    cell,
    ci_text,
    described,
    kind_of,
    of,
    significant,
)
from pairjepa.apps.report.page.svg import series

BINS = 30
"""Of a histogram of hubs, at most."""


def cosines(report: Report) -> Figure | None:
    """How far matched pairs lie from random ones, and each prediction's own target from the best other."""
    charts, rows, tables = [], [], []
    for index, run in enumerate(report["runs"]):
        style, found = series(index), run["cosine"]
        if found:
            edges = found["edges"]
            middle = [(low + high) / 2 for low, high in itertools.pairwise(edges)]
            random = found["random"] or [None] * len(middle)  # there is none where all pairs are matched
            lines = [
                Line("random pairs", middle, random, "quiet", "dash", filled=True),
                Line("matched pairs", middle, found["matched"], style, filled=True),
            ]
            title = f"Cosine similarity: {run['name']}"
            charts.append(line_chart(title, lines, "cosine of prediction and target", "density", zero=True))
            bins = zip(edges, edges[1:], found["matched"], random, strict=False)
            tables.append(
                Table(
                    f"{run['name']}: density of the cosines in each bin.",
                    ["from", "to", "matched", "random"],
                    [[*map(significant, each)] for each in bins],
                )
            )
        if run["margin"]:
            charts.append(
                scatter_chart(
                    f"Own target against the best other: {run['name']}",
                    run["margin"]["other"],
                    run["margin"]["own"],
                    style,
                    ("cosine with the best other target", "cosine with its own"),
                )
            )
        if summary := run["evaluation"].get("cosine"):
            parts = [
                f"{part['mean']:.3f} ± {part['sd']:.3f} {ci_text(part.get('ci'), 3)}" if part else "–"
                for part in (summary["matched"], summary["random"])
            ]
            separation = [significant(summary[key]) for key in ("auc", "overlap")]
            rows.append([run["name"], *parts, *separation])
    if not charts:
        return None
    head = ["", "matched: mean ± sd [interval]", "random: mean ± sd [interval]", "AUC", "overlap"]
    said = "AUC: how often a matched pair is closer than a random one. Overlap: the area the two densities share."
    shows = described(report, "cosine_distribution", "prediction_margin")
    return Figure(charts, shows, [Table(said, head, rows), *tables])


def geometry(report: Report) -> Figure | None:
    """The spectrum of both sides, and how often each item is among the answers."""
    charts, tables = [], []
    runs = [(index, run) for index, run in enumerate(report["runs"]) if run["geometry"]]
    spectra = [
        (index, run, run["geometry"]["spectrum"]) for index, run in runs if run["geometry"].get("spectrum")
    ]
    if spectra:
        lines = [
            Line(of(f"{side}s", run, runs), range(1, len(values) + 1), values, series(index), kind)
            for index, run, spectrum in spectra
            for side, kind in SIDES.items()
            if (values := spectrum[side])
        ]
        charts.append(
            line_chart("Spectrum of the embeddings", lines, "direction", "spread along it", zero=True)
        )
        head = ["direction", *(line.name for line in lines)]
        longest = max((len(line.x) for line in lines), default=0)
        cells = [[cell(line.y, place) for line in lines] for place in range(longest)]
        tables.append(
            Table(
                "Singular values of the centred embeddings over the root of the number of rows.",
                head,
                [[str(place + 1), *row] for place, row in enumerate(cells)],
            )
        )
    for direction, item in (("image_to_text", "captions"), ("text_to_image", "images")):
        lines, columns = [], []
        for index, run in runs:
            if hubs := (run["geometry"].get("hubness") or {}).get(direction):
                lines.append(_histogram(run["name"], hubs["counts"], index))
                columns.append((run["name"], hubs["counts"]))
        if lines:
            title = f"How often {item} are among the first 10 answers"
            charts.append(line_chart(title, lines, "times among the first 10", item, zero=True))
            longest = max(len(counts) for _, counts in columns)
            tables.append(
                Table(
                    title + ".",
                    ["times", *(f"{item}: {name}" for name, _ in columns)],
                    [[str(n), *(cell(counts, n) for _, counts in columns)] for n in range(longest)],
                )
            )
    return Figure(charts, described(report, "spectrum", "hubness"), tables) if charts else None


def _histogram(name: str, counts: Sequence[int], index: int) -> Line:
    """`counts` in at most BINS bins, each drawn at its middle."""
    width = -(-len(counts) // BINS)
    starts = range(0, len(counts), width)
    sums = [sum(counts[start : start + width]) for start in starts]
    return Line(name, [start + (width - 1) / 2 for start in starts], sums, series(index), kind_of(index))
