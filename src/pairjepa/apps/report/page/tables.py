"""The tables of the page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pairjepa.evaluation.notes import REGRESSIONS
from pairjepa.evaluation.tables import BASELINES

DIRECTIONS = {"image_to_text": "Image → text", "text_to_image": "Text → image"}
RECALLS = ("R@1", "R@5", "R@10")
RELEVANCE = {"owner": "an image's own captions", "text": "every caption with the same words"}


class Table(NamedTuple):
    """What can be copied: a caption, the head, and rows of text."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def recalls(report: dict[str, Any]) -> list[Table]:
    """Recalls of every run, CCA and chance with intervals; and the differences of the runs, where there are several."""
    runs = [(run["name"], run["evaluation"]) for run in report["runs"]]
    baselines = [
        row for key in ("pretrained", "cca", *REGRESSIONS) for row in _baselines(runs, key, BASELINES[key])
    ]
    measured = [*runs, *baselines, ("chance", runs[0][1]["baselines"]["chance"])]
    names = (*RECALLS, "median_rank", "mrr")
    columns = [(way, name) for way in DIRECTIONS for name in names]
    head = ["", *(f"{DIRECTIONS[way]} {name.replace('_', ' ')}" for way, name in columns), "rsum"]
    rows = [
        [
            name,
            *(_cell(found[way], column, 3 if column == "mrr" else 1) for way, column in columns),
            _cell(found, "rsum"),
        ]
        for name, found in measured
    ]
    said = "Recalls in percent with 95 % intervals over images in brackets; rsum is the sum of the six."
    tables = [Table(said, head, rows)]
    if report["compare"]:
        compare, columns = report["compare"], [(way, name) for way in DIRECTIONS for name in RECALLS]
        head = ["", *(f"{DIRECTIONS[way]} {name}" for way, name in columns), "rsum"]
        rows = []
        for name, found in compare["differences"].items():
            leaves = [*(found[way][recall] for way, recall in columns), found["rsum"]]
            gaps = [
                f"{leaf['difference']:+.1f} [{leaf['ci'][0]:.1f}, {leaf['ci'][1]:.1f}]" for leaf in leaves
            ]
            rows.append([f"{name} − {compare['baseline']}", *gaps])
        tables.append(Table("Differences, paired by image, with 95 % intervals.", head, rows))
    return tables


def mistakes(report: dict[str, Any]) -> Table:
    """Hard negatives of every run by kind, beside the controls."""
    head = ["", "own above twin", "another image", "mean image", "CCA", "twins"]
    rows = []
    for run in report["runs"]:
        for kind, found in (run["evaluation"].get("hard_negatives") or {}).items():
            name = f"{run['name']}: {kind}" if len(report["runs"]) > 1 else kind
            controls = (found[key] for key in ("blind", "prior", "cca"))
            shown = ["–" if value is None else f"{value:.1f}" for value in controls]
            rows.append([name, _cell(found, "accuracy"), *shown, f"{found['twins']:,}"])
    return Table("Share of twins that score below the right caption, in percent.", head, rows)


def _baselines(
    runs: list[tuple[str, dict[str, Any]]], key: str, label: str
) -> list[tuple[str, dict[str, Any]]]:
    """Each run's; one for all runs where it is the same for all."""
    found = [
        (f"{label} ({name})", of) for name, evaluation in runs if (of := evaluation["baselines"].get(key))
    ]
    same = len(found) == len(runs) and all(of == found[0][1] for _, of in found)
    return [(label, found[0][1])] if same else found


def _cell(found: dict[str, Any], name: str, digits: int = 1) -> str:
    ci = found.get(f"{name}_ci")
    return f"{found[name]:,.{digits}f}" + (f" [{ci[0]:,.{digits}f}, {ci[1]:,.{digits}f}]" if ci else "")


def measured(report: dict[str, Any]) -> Table:
    """What was measured on what, a column a run."""
    runs = report["runs"]
    shared = {
        "split": report["split"],
        "images": f"{report['images']:,}",
        "captions": f"{report['captions']:,}",
        "right answers": RELEVANCE.get(report["relevance"], report["relevance"]),
        "data": report["description"],
    }
    each = [_of_run(run) for run in runs]
    rows = [[name, *[value] * len(runs)] for name, value in shared.items()]
    rows += [[name, *(of[name] for of in each)] for name in each[0]]
    return Table("What was measured on what.", ["", *(run["name"] for run in runs)], rows)


def _of_run(run: dict[str, Any]) -> dict[str, str]:
    evaluation, training = run["evaluation"], run["training"]
    share = (training or {}).get("closed_form_share")
    cost, drawn = evaluation.get("cost") or {}, evaluation["bootstrap"]
    of_cost = {
        "seconds of training": ("training_seconds", "{:,.1f}"),
        "trained parameters": ("trained_parameters", "{:,}"),
        "peak memory (bytes)": ("peak_rss_bytes", "{:,}"),
    }
    return {
        "run": run["path"],
        "recipe": run["recipe"],
        "seed": str(run["seed"]),
        "training": "complete" if run["complete"] else "not complete: best epoch so far",
        "chosen epoch": f"{training['best_epoch']} of {training['epoch'][-1]}" if training else "–",
        "ridge CCA in the heads": "–" if share is None else f"{share:.0%}",
        **{f"{side} backbone": _backbone(run["backbones"].get(side)) for side in ("image", "text")},
        "weights": f"digest {run['weights']}",
        "dimensions": str(evaluation["geometry"]["dim"]),
        **{
            name: "–" if cost.get(key) is None else form.format(cost[key])
            for name, (key, form) in of_cost.items()
        },
        "intervals": f"{drawn['confidence']:.0%}, {drawn['draws']:,} draws by {drawn['unit']}, seed {drawn['seed']}",
        "versions": ", ".join(f"{name} {version}" for name, version in run["versions"].items()),
    }


def _backbone(found: dict[str, Any] | None) -> str:
    if not found:
        return "–"
    name = Path(found["source"]).name if Path(found["source"]).is_absolute() else found["source"]
    return f"{name}, {found['parameters']:,} parameters, digest {found['digest'][:8]}"
