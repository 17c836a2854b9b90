"""The figure of the training: what was measured after each epoch."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from pairjepa.apps.report.page.charts import Line, line_chart
from pairjepa.apps.report.page.figure import Figure, Report, Table, cell, described, of
from pairjepa.apps.report.page.svg import Kind, series


def training(report: Report) -> Figure | None:
    """What was measured on dev after each epoch, with the chosen epoch."""
    runs = [(index, run) for index, run in enumerate(report["runs"]) if run["training"]]
    if not runs:
        return None
    charts = [
        _history(
            runs, "Recall on dev: rsum", [("dev", "rsum", "dev", "solid"), ("train", "rsum", "train", "dot")]
        ),
        _history(
            runs,
            "Recall@1 on dev (%)",
            [
                ("dev", "image_to_text_R@1", "image → text", "solid"),
                ("dev", "text_to_image_R@1", "text → image", "dash"),
            ],
        ),
        _history(
            runs,
            "Cosine on dev",
            [("dev", "matched", "matched pairs", "solid"), ("dev", "random", "random pairs", "dash")],
        ),
        _history(runs, "Alignment on dev (lower is closer)", [("dev", "alignment", "alignment", "solid")]),
        _history(runs, "Uniformity on dev (lower is more even)", _sides("uniformity")),
        _history(runs, "Effective rank on dev", _sides("effective_rank")),
        _history(runs, "Modality gap on dev", [("dev", "modality_gap", "modality gap", "solid")]),
        _history(runs, "Loss on train", [("", "loss", "loss", "solid")]),
    ]
    if any(len(run["training"]["terms"]) > 1 for _, run in runs):  # a single one is the loss
        for name in dict.fromkeys(name for _, run in runs for name in run["training"]["terms"]):
            charts.append(_history(runs, f"Term of the loss: {name}", [("terms", name, name, "solid")]))
    charts.append(_history(runs, "Temperature τ", [("", "temperature", "τ", "solid")]))
    return Figure(charts, described(report, "training"), [_history_table(run) for _, run in runs])


def _sides(name: str) -> list[tuple[str, str, str, Kind]]:
    return [
        ("dev", f"{name}_prediction", "predictions", "solid"),
        ("dev", f"{name}_target", "targets", "dash"),
    ]


def _history(
    runs: Sequence[tuple[int, dict[str, Any]]], title: str, wanted: Sequence[tuple[str, str, str, Kind]]
) -> Markup:
    """One chart over epochs; `wanted` are (part of the history, key, name, kind of line)."""
    lines, marks = [], []
    for index, run in runs:
        history = run["training"]
        for part, key, name, kind in wanted:
            values = (history.get(part) or {} if part else history).get(key) or []
            points = [(x, y) for x, y in zip(history["epoch"], values, strict=False) if y is not None]
            x, y = [point[0] for point in points], [point[1] for point in points]
            lines.append(Line(of(name, run, runs), x, y, series(index), kind))
        if history.get("best_epoch") is not None:
            marks.append(("kept epoch", history["best_epoch"], series(index)))
    return line_chart(title, lines, "epoch", marks=marks)


def _history_table(run: dict[str, Any]) -> Table:
    history = run["training"]
    columns = {"epoch": history["epoch"], "loss": history["loss"]}
    columns |= {f"term {name}": values for name, values in history["terms"].items()}
    columns |= {name: history[name] for name in ("temperature", "learning_rate") if history.get(name)}
    for part in ("dev", "train"):
        columns |= {f"{part} {name}": values for name, values in (history.get(part) or {}).items()}
    rows = [[cell(values, place) for values in columns.values()] for place in range(len(history["epoch"]))]
    return Table(f"{run['name']}: what was measured after each epoch.", list(columns), rows)
