"""Evaluations side by side, for a terminal and for Markdown."""

from collections.abc import Sequence
from statistics import stdev
from typing import Any

from pairjepa.util.words import counted

LEGEND = "Recall@K in percent: at least one relevant item in the top K. rsum: the sum of the six."
CORRECTED = "Corrected: by scores with hubness correction, whose α and k were chosen on dev."
COLUMNS = [(way, f"R@{k}") for way in ("image_to_text", "text_to_image") for k in (1, 5, 10)]
BASELINES = {
    "chance": "chance",
    "cca": "CCA",
    "ridge_to_text": "ridge image→caption",
    "ridge_to_image": "ridge caption→image",
    "pretrained": "pretrained",
}
"""Key in an evaluation → label of its row."""
TITLES = ["", *(f"{way.replace('_to_', '→')} {name}" for way, name in COLUMNS), "rsum"]


def table(results: dict[str, dict[str, Any]]) -> str:
    """Chance, CCA and each named result of `evaluate`, in plain text with the intervals below the numbers."""
    return "\n".join([*plain(formatted(_rows(results))), "", *footer(results)])


def seeds_table(group: dict[str, Any]) -> str:
    """`table` of what `over_seeds` gives: each seed's result, and their mean ± standard deviation."""
    results = {f"seed {result['seed']}": result for result in group["seeds"]}
    means = [f"{mean:.1f}" for mean, _ in cells(group["mean"])]
    if group["sd"] is not None:
        means = [f"{mean} ± {sd:.1f}" for mean, (sd, _) in zip(means, cells(group["sd"]), strict=True)]
    return "\n".join([*plain([*formatted(_rows(results)), ["mean ± sd", *means]]), "", *footer(results)])


def markdown_table(results: dict[str, dict[str, Any]]) -> str:
    """The same as a Markdown table with the intervals in the cells."""
    rows = [
        [
            name,
            *(f"{value:.1f}" + (f" [{ci[0]:.1f}, {ci[1]:.1f}]" if ci else "") for value, ci in cells(result)),
        ]
        for name, result in _rows(results)
    ]
    return "\n\n".join([markdown([TITLES, *rows]), *footer(results)])


def plain(rows: list[list[str]]) -> list[str]:
    """Lines of named rows of the six recalls and rsum, under their titles."""
    rows = [["", *(name for _, name in COLUMNS), "rsum"], *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    half = sum(widths[1:4]) + 4
    header = "  ".join(
        [" " * widths[0], "image → text".center(half), "text → image".center(sum(widths[4:7]) + 4)]
    )
    return [header.rstrip(), *aligned(rows)]


def aligned(rows: list[list[str]]) -> list[str]:
    """Lines of a table whose first column is flush left and the others flush right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)]
        ).rstrip()
        for row in rows
    ]


def markdown(rows: list[list[str]]) -> str:
    """A Markdown table; the first row is its titles."""
    titles, *others = ([row[0].replace("|", "\\|"), *row[1:]] for row in rows)
    head, *body = (f"| {' | '.join(line)} |" for line in (titles, *others))
    return "\n".join([head, f"|---|{'---:|' * (len(titles) - 1)}", *body])


def probe_table(result: dict[str, Any]) -> str:
    """What `probe` says, in plain text."""
    return "\n".join(
        [*plain(formatted(baselines({"": result}))), "", *footer({"": result}), "", result["note"]]
    )


def formatted(named: list[tuple[str, dict[str, Any]]]) -> list[list[str]]:
    """Lines of named results in plain text, with the intervals below."""
    rows = []
    for name, result in named:
        numbers = cells(result)
        rows.append([name, *(f"{value:.1f}" for value, _ in numbers)])
        if "rsum_ci" in result:
            rows.append(["  95 % interval", *(f"{ci[0]:.1f}–{ci[1]:.1f}" for _, ci in numbers if ci)])
    return rows


def _rows(results: dict[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    rows = baselines(results)
    for name, result in results.items():
        rows += _with_corrected(name, result)
    return rows


def _with_corrected(name: str, result: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """A result, and the same by scores with hubness correction where there are any."""
    corrected = result.get("corrected")
    return [(name, result), *([(f"{name}, corrected", corrected)] if corrected else [])]


def baselines(results: dict[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Chance, CCA and pretrained pairs; one that is the same for all results stands once, else by their names."""
    rows = []
    for key, label in BASELINES.items():
        every = {name: result["baselines"].get(key) for name, result in results.items()}
        found = {name: baseline for name, baseline in every.items() if baseline is not None}
        alike = all(baseline == next(iter(found.values())) for baseline in found.values())
        for name, baseline in list(found.items())[: 1 if alike else None]:
            rows += _with_corrected(label if alike else f"{label} ({name})", baseline)
    return rows


def cells(result: dict[str, Any]) -> list[tuple[float, list[float] | None]]:
    """The six recalls and rsum, each with its interval if it has one."""
    found: list[tuple[float, list[float] | None]] = [
        (result[way][name], result[way].get(f"{name}_ci")) for way, name in COLUMNS
    ]
    return [*found, (result["rsum"], result.get("rsum_ci"))]


def footer(results: dict[str, dict[str, Any]]) -> list[str]:
    """What was measured on what; one line where all results agree."""
    said = {
        name: f"{r['split']} split, {counted(r['images'], 'image')}, {counted(r['captions'], 'caption')}, relevance by "
        f"{r['relevance']}; 95 % intervals by {r['bootstrap']['unit']}, {r['bootstrap']['draws']:,} draws."
        for name, r in results.items()
    }
    legend = [LEGEND, *([CORRECTED] if any(r.get("corrected") for r in results.values()) else [])]
    if len(set(said.values())) <= 1:
        return [*legend, *list(said.values())[:1]]
    return [*legend, *(f"{name}: {what}" for name, what in said.items())]


def partial_table(partials: Sequence[dict[str, Any]]) -> str:
    """What `evaluate_partial` says for each ratio, in plain text; of several seeds, the mean.

    Args:
        partials: for each seed `{ratio: result}`.
    """
    rows = [
        ["caption hidden", "image + caption", "shuffled image", "text only", "image adds", "over text only"]
    ]
    for ratio in partials[0]:
        seeds = [partial[ratio] for partial in partials]
        recalls = [_mean([_at_1(seed) for seed in seeds])]
        recalls += [_mean([_at_1(seed[name]) for seed in seeds]) for name in ("shuffled", "text_only")]
        gains = []
        for name in ("over_shuffled", "over_text_only"):
            gain = _mean([seed[name]["R@1"]["difference"] if seed[name] else None for seed in seeds])
            only = seeds[0][name]["R@1"]["ci"] if len(seeds) == 1 and seeds[0][name] else None
            gains.append(
                "-"
                if gain is None
                else f"{gain:+.1f}" + (f" ({only[0]:+.1f} to {only[1]:+.1f})" if only else "")
            )
        rows.append([f"{float(ratio):.0%}", *("-" if r is None else f"{r:.1f}" for r in recalls), *gains])
    legend = (
        "R@1 in percent: image and partly hidden caption → that caption among all of the split; at 0 % it is seen "
        "whole. Image adds: over the same with the images shuffled. Text only: a model trained without images."
    )
    return "\n".join([*aligned(rows), "", legend])


def hard_negatives_table(results: Sequence[dict[str, dict[str, Any]]]) -> str:
    """What `evaluate_hard_negatives` says of each kind, in plain text; of several seeds, mean and standard deviation.

    Args:
        results: for each seed `{kind: result}`.
    """
    how_sure = "95 % interval" if len(results) == 1 else "sd of seeds"
    rows = [["hard negatives", "own above twin", how_sure, "other image", "mean image", "CCA", "twins"]]
    for kind, first in results[0].items():
        means = {
            name: _mean([one[kind][name] for one in results])
            for name in ("accuracy", "blind", "prior", "cca")
        }
        shown = {name: "-" if mean is None else f"{mean:.1f}" for name, mean in means.items()}
        if len(results) > 1:
            spread = f"{stdev(one[kind]['accuracy'] for one in results):.1f}"
        else:
            spread = "{:.1f}–{:.1f}".format(*first["accuracy_ci"]) if first["accuracy_ci"] else "too few"
        rows.append([kind, shown.pop("accuracy"), spread, *shown.values(), f"{first['twins']:,}"])
    legend = (
        "Percent: an image's own caption scores above its twin, which is wrong in one thing. Other image, mean image: "
        "what the words tell without the right image."
    )
    return "\n".join([*aligned(rows), "", legend])


def _at_1(result: dict[str, Any] | None) -> float | None:
    return None if result is None else result["R@1"]


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None
