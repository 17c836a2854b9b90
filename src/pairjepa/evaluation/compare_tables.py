"""A comparison for a terminal, and for a paper: Markdown, LaTeX."""

from typing import Any, Literal

from pairjepa.evaluation.tables import (
    COLUMNS,
    TITLES,
    aligned,
    cells,
    footer,
    formatted,
    markdown,
    plain,
)

PAIRED = "A difference and its interval are paired: both runs on the same images of each draw."
SPREAD = "±: standard deviation over seeds."


def compare_table(result: dict[str, Any]) -> str:
    """Chance, CCA and each run, differences from the first run, cost and verdict, in plain text."""
    rows = formatted([*result["baselines"].items()])
    for name, run in _with_corrected(result, "runs"):
        rows += formatted([(name, run)])
        if run["seed_sd"] is not None:
            rows.append([f"  sd of {run['seeds']} seeds", *(f"{sd:.1f}" for sd, _ in cells(run["seed_sd"]))])
    for name, found in _with_corrected(result, "differences"):
        leaves = _leaves(found)
        rows.append([name, *(_signed(leaf["difference"]) for leaf in leaves)])
        rows.append(["  95 % interval", *("…".join(map(_signed, leaf["ci"])) for leaf in leaves)])
    return "\n".join(
        [
            *plain(rows),
            "",
            *aligned(_costs(result)),
            "",
            *[line for t in (*_gains(result), *_hard_negatives(result)) for line in (*aligned(t), "")],
            *footer({"": result}),
            PAIRED,
            "",
            *_verdicts(result),
        ]
    )


def compare_markdown(result: dict[str, Any]) -> str:
    """The same in Markdown, with intervals and the spread over seeds in the cells."""
    rows = []
    for name, run in [*result["baselines"].items(), *_with_corrected(result, "runs")]:
        intervals = [f" [{ci[0]:.1f}, {ci[1]:.1f}]" if ci else "" for _, ci in cells(run)]
        rows.append([name, *map("".join, zip(_values(run), intervals, strict=True))])
    for name, found in _with_corrected(result, "differences"):
        gaps = (
            f"{_signed(leaf['difference'])} [{', '.join(map(_signed, leaf['ci']))}]"
            for leaf in _leaves(found)
        )
        rows.append([name, *gaps])
    below = " ".join([*footer({"": result}), PAIRED, *([SPREAD] if _several(result) else [])])
    tables = [[TITLES, *rows], _costs(result), *_gains(result), *_hard_negatives(result)]
    return "\n\n".join([*map(markdown, tables), below, *_verdicts(result)])


def _gains(result: dict[str, Any]) -> list[list[list[str]]]:
    """Rows of what was gained on the own pairs and on others, in rsum; no table where there is neither."""
    gains = result.get("gains", {})
    kinds = list(dict.fromkeys(kind for row in gains.values() for kind in row))
    rows = [["rsum gained", *("own pairs" if kind == "own" else kind for kind in kinds)]]
    for name, row in gains.items():
        shown = {
            k: f"{_signed(g['difference'])} ({' to '.join(map(_signed, g['ci']))})" for k, g in row.items()
        }
        rows.append([name, *(shown.get(kind, "–") for kind in kinds)])
    return [rows] if gains else []


def compare_latex(result: dict[str, Any]) -> str:
    """The numbers as a LaTeX table (booktabs) with the interval of rsum, and as comments what they are."""
    rows = []
    for name, run in [*result["baselines"].items(), *_with_corrected(result, "runs")]:
        low, high = run.get("rsum_ci") or (None, None)
        rows.append([name, *_values(run), "" if low is None else f"[{low:.1f}, {high:.1f}]"])
    lines = [" & ".join(_latex(cell) for cell in row) + r" \\" for row in rows]
    below = [*footer({"": result}), *([SPREAD] if _several(result) else []), *_verdicts(result)]
    return "\n".join(
        [
            r"% \usepackage{booktabs}",
            r"\begin{tabular}{l" + "r" * (len(COLUMNS) + 2) + "}",
            r"\toprule",
            r"& \multicolumn{3}{c}{image $\rightarrow$ text} & \multicolumn{3}{c}{text $\rightarrow$ image} & & \\",
            " & ".join(["", *(name for _, name in COLUMNS), "rsum", _latex("95 % interval")]) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            *(f"% {line}" for line in below),
        ]
    )


def _values(run: dict[str, Any]) -> list[str]:
    """The six recalls and rsum, with the spread over seeds if there are several."""
    values = [f"{value:.1f}" for value, _ in cells(run)]
    if run.get("seed_sd") is None:
        return values
    return [f"{value} ± {sd:.1f}" for value, (sd, _) in zip(values, cells(run["seed_sd"]), strict=True)]


def _latex(cell: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in cell)


_LATEX = {letter: f"\\{letter}" for letter in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": "$-$",
    "→": r"$\rightarrow$",
}


def _several(result: dict[str, Any]) -> bool:
    return any(run["seeds"] > 1 for run in result["runs"].values())


def _costs(result: dict[str, Any]) -> list[list[str]]:
    """Rows of what each run has cost; the first is their titles."""
    rows = [["", "seeds", "training", "trained parameters", "peak memory"]]
    for name, run in result["runs"].items():
        seconds, parameters, memory = (
            run["cost"][key] for key in ("training_seconds", "trained_parameters", "peak_rss_bytes")
        )
        rows.append(
            [
                name,
                str(run["seeds"] or "–"),
                "–" if seconds is None else f"{seconds:,.1f} s",
                "–" if parameters is None else f"{parameters:,}",
                "–" if memory is None else f"{memory / 2**30:.2f} GiB",
            ]
        )
    return rows


def _with_corrected(
    result: dict[str, Any], key: Literal["runs", "differences"]
) -> list[tuple[str, dict[str, Any]]]:
    """Label and numbers of each run or difference, and the same by corrected scores where there are any."""
    less = f" − {result['baseline']}" if key == "differences" else ""
    rows = []
    for name, plain_numbers in result[key].items():
        rows.append((f"{name}{less}", plain_numbers))
        if result["corrected"] is not None:
            rows.append((f"{name}{less}, corrected", result["corrected"][key][name]))
    return rows


def _hard_negatives(result: dict[str, Any]) -> list[list[list[str]]]:
    """The table of hard negatives by kind, if there is one."""
    if (found := result["hard_negatives"]) is None:
        return []
    minus = [f"{name} − {result['baseline']}" for name in found["differences"]]
    rows = [["hard negatives, own above twin (%)", *found["runs"], *minus]]
    for kind in next(iter(found["runs"].values())):
        gaps = [of[kind] for of in found["differences"].values()]
        spans = [", ".join(map(_signed, gap["ci"])) if gap["ci"] else "too few" for gap in gaps]
        shown = [f"{_signed(gap['difference'])} [{span}]" for gap, span in zip(gaps, spans, strict=True)]
        rows.append([kind, *(f"{of[kind]:.1f}" for of in found["runs"].values()), *shown])
    return [rows]


def _verdicts(result: dict[str, Any]) -> list[str]:
    corrected = [] if result["corrected"] is None else result["corrected"]["verdict"].values()
    return [*result["verdict"].values(), *(f"Corrected: {verdict}" for verdict in corrected)]


def _leaves(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [*(found[way][name] for way, name in COLUMNS), found["rsum"]]


def _signed(value: float) -> str:
    return f"{round(value, 1) + 0.0:+.1f}"  # + 0.0: no -0.0
