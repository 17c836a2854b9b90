"""Figures of recall: the headline, the curves over K, and captions that are partly hidden."""

from typing import Any

from pairjepa.apps.report.alt import describe
from pairjepa.apps.report.page.charts import Interval, Line, interval_chart, line_chart
from pairjepa.apps.report.page.figure import DIRECTIONS, Figure, Report, Table, ci_text, kind_of
from pairjepa.apps.report.page.svg import Kind, series

RECALLS = ("R@1", "R@5", "R@10")


def headline(report: Report) -> Figure:
    """Recalls of every run with intervals, beside CCA and chance."""
    rows = []
    for direction, said in DIRECTIONS.items():
        for recall in RECALLS:
            marks: list[Interval] = []
            for index, run in enumerate(report["runs"]):
                evaluation, style = run["evaluation"], series(index)
                found = evaluation[direction]
                low, high = found.get(f"{recall}_ci") or (None, None)
                marks.append(Interval(run["name"], found[recall], style, low, high))
            marks += [
                Interval(name, cca[direction][recall], style, kind="diamond")
                for name, cca, style in _ccas(report)
            ]
            chance = report["runs"][0]["evaluation"]["baselines"]["chance"][direction][recall]
            marks.append(Interval("chance", chance, "quiet", kind="tick"))
            rows.append((f"{said} {recall}", marks))
    head = [
        "",
        *(f"{said} {name}" for said in DIRECTIONS.values() for name in (*RECALLS, "median rank", "MRR")),
        "rsum",
    ]
    named = [(run["name"], run["evaluation"]) for run in report["runs"]]
    named += [(name, cca) for name, cca, _ in _ccas(report)]
    named.append(("chance", report["runs"][0]["evaluation"]["baselines"]["chance"]))
    table = Table(
        "Recalls in percent with 95 % intervals over images in brackets; rsum is the sum of the six.",
        head,
        [[name, *_metric_cells(measured)] for name, measured in named],
    )
    tables = [table, *([_differences(report)] if report["compare"] else [])]
    return Figure(
        [interval_chart("Recall@K with 95 % intervals", rows, "Recall@K (%)")],
        [describe("recall_bars", report)],
        tables,
    )


def recall_curves(report: Report) -> Figure | None:
    """Recall over K both ways, with bands and chance."""
    runs = [(index, run) for index, run in enumerate(report["runs"]) if run["recall_curve"]]
    if not runs:
        return None
    charts, tables = [], []
    for direction, said in DIRECTIONS.items():
        lines, columns = [], []
        for index, run in runs:
            curve, k = run["recall_curve"][direction], run["recall_curve"]["k"]
            lines.append(
                Line(
                    run["name"],
                    k,
                    curve["recall"],
                    series(index),
                    kind_of(index),
                    curve["low"],
                    curve["high"],
                )
            )
            columns += [curve["recall"], curve["low"], curve["high"]]
        curves = runs[0][1]["recall_curve"]
        lines.append(Line("chance", curves["k"], curves[direction]["chance"], "quiet", "dot"))
        charts.append(line_chart(said, lines, "K", "Recall@K (%)", log=True, zero=True))
        head = ["K", *(f"{run['name']}{part}" for _, run in runs for part in ("", " low", " high")), "chance"]
        columns.append(curves[direction]["chance"])
        rows = [[str(k), *map(_one, row)] for k, *row in zip(curves["k"], *columns, strict=True)]
        tables.append(Table(f"{said}: Recall@K in percent, with the ends of the 95 % interval.", head, rows))
    return Figure(charts, [describe("recall_curves", report)], tables)


def partial_recall(report: Report, run: dict[str, Any], index: int) -> Figure | None:
    """Recall@1 of image and partly hidden caption, with and without the right image."""
    partial = run["evaluation"].get("partial")
    if not partial:
        return None
    hidden = [100 * float(ratio) for ratio in partial]
    kinds: dict[str, tuple[list[dict[str, Any] | None], str, Kind]] = {
        "with its image": (list(partial.values()), series(index), "solid"),
        "with another image": ([row.get("shuffled") for row in partial.values()], "quiet", "dash"),
        "caption alone": ([row.get("text_only") for row in partial.values()], "quiet", "dot"),
    }
    lines = []
    for name, (rows, style, kind) in kinds.items():
        measured = [(share, row) for share, row in zip(hidden, rows, strict=True) if row]
        shares, recalls = [share for share, _ in measured], [row["R@1"] for _, row in measured]
        low, high = ([row["R@1_ci"][end] for _, row in measured] for end in (0, 1))
        lines.append(Line(name, shares, recalls, style, kind, low, high))
    table = Table(
        "Recall@K of a caption among all of the split, in percent, with 95 % intervals.",
        ["hidden", *(f"{name} {recall}" for name in kinds for recall in RECALLS)],
        [
            [
                f"{share:.0f} %",
                *(_with_interval(rows[place], recall) for rows, _, _ in kinds.values() for recall in RECALLS),
            ]
            for place, share in enumerate(hidden)
        ],
    )
    title = "Own caption found first (%)"
    chart = line_chart(title, lines, "hidden part of the caption (%)", "Recall@1 (%)", zero=True)
    return Figure([chart], [describe("partial_recall", report, run)], [table])


def _ccas(report: Report) -> list[tuple[str, dict[str, Any], str]]:
    """Name, result and style of each CCA; one for all runs where they stand on the same features."""
    found = [
        (f"CCA ({run['name']})", cca, series(index))
        for index, run in enumerate(report["runs"])
        if (cca := run["evaluation"]["baselines"].get("cca"))
    ]
    same = len(found) == len(report["runs"]) and all(cca == found[0][1] for _, cca, _ in found)
    return [("CCA on the same features", found[0][1], "quiet")] if found and same else found


def _metric_cells(measured: dict[str, Any]) -> list[str]:
    cells = []
    for direction in DIRECTIONS:
        for name in (*RECALLS, "median_rank", "mrr"):
            found, digits = measured[direction], 3 if name == "mrr" else 1
            cells.append(f"{found[name]:.{digits}f} {ci_text(found.get(f'{name}_ci'), digits)}".rstrip())
    return [*cells, f"{measured['rsum']:.1f} {ci_text(measured.get('rsum_ci'))}".rstrip()]


def _differences(report: Report) -> Table:
    compare = report["compare"]
    head = ["", *(f"{said} {name}" for said in DIRECTIONS.values() for name in RECALLS), "rsum"]
    rows = []
    for name, found in compare["differences"].items():
        leaves = [
            *(found[direction][recall] for direction in DIRECTIONS for recall in RECALLS),
            found["rsum"],
        ]
        cells = [f"{leaf['difference']:+.1f} {ci_text(leaf['ci'])}" for leaf in leaves]
        rows.append([f"{name} − {compare['baseline']}", *cells])
    return Table("Differences, paired by image, with 95 % intervals.", head, rows)


def _with_interval(measured: dict[str, Any] | None, name: str) -> str:
    return f"{measured[name]:.1f} {ci_text(measured.get(f'{name}_ci'))}".rstrip() if measured else "–"


def _one(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
