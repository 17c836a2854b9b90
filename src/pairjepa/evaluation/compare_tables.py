"""A comparison for a terminal, and for a paper."""

from typing import Any, Literal

from pairjepa.evaluation.tables import (
    COLUMNS,
    TITLES,
    aligned,
    baseline_lines,
    cells,
    footer,
    markdown,
    plain,
)

PAIRED = "A difference and its interval are paired: both runs on the same images of each draw."
SPREAD = "±: standard deviation over seeds."


def compare_table(result: dict[str, Any], evaluations: dict[str, dict[str, Any]] | None = None) -> str:
    """Each run, its difference from the baseline, cost and verdict, in plain text.

    Args:
        result: of `compare`.
        evaluations: results of `evaluate` by run, whose chance and CCA are to stand first.
    """
    rows = baseline_lines(evaluations or {})
    for name, run in _with_corrected(result, "runs"):
        numbers = cells(run)
        rows.append([name, *(f"{value:.1f}" for value, _ in numbers)])
        rows.append(["  95 % interval", *(f"{ci[0]:.1f}–{ci[1]:.1f}" for _, ci in numbers if ci)])
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
    for name, run in _with_corrected(result, "runs"):
        spread = [""] * (len(COLUMNS) + 1)
        if run["seed_sd"] is not None:
            spread = [f" ± {sd:.1f}" for sd, _ in cells(run["seed_sd"])]
        numbers = zip(cells(run), spread, strict=True)
        rows.append(
            [name, *(f"{value:.1f}{sd} [{ci[0]:.1f}, {ci[1]:.1f}]" for (value, ci), sd in numbers if ci)]
        )
    for name, found in _with_corrected(result, "differences"):
        gaps = (
            f"{_signed(leaf['difference'])} [{', '.join(map(_signed, leaf['ci']))}]"
            for leaf in _leaves(found)
        )
        rows.append([name, *gaps])
    several = any(run["seeds"] > 1 for run in result["runs"].values())
    below = " ".join([*footer({"": result}), PAIRED, *([SPREAD] if several else [])])
    tables = [[TITLES, *rows], _costs(result), *_gains(result), *_hard_negatives(result)]
    return "\n\n".join([*map(markdown, tables), below, *_verdicts(result)])


def _gains(result: dict[str, Any]) -> list[list[list[str]]]:
    """Rows of what was gained on the own pairs and on others, in rsum; no table where there is neither."""
    gains = result.get("gains", {})
    kinds = list(dict.fromkeys(kind for row in gains.values() for kind in row))
    rows = [
        [name, *(_with_interval(row[kind]) if kind in row else "–" for kind in kinds)]
        for name, row in gains.items()
    ]
    return (
        [[["rsum gained", *("own pairs" if kind == "own" else kind for kind in kinds)], *rows]]
        if rows
        else []
    )


def _with_interval(gain: dict[str, Any]) -> str:
    return f"{_signed(gain['difference'])} ({' to '.join(map(_signed, gain['ci']))})"


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
                str(run["seeds"]),
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
        shown = [f"{_signed(gap['difference'])} [{', '.join(map(_signed, gap['ci']))}]" for gap in gaps]
        rows.append([kind, *(f"{of[kind]:.1f}" for of in found["runs"].values()), *shown])
    return [rows]


def _verdicts(result: dict[str, Any]) -> list[str]:
    corrected = [] if result["corrected"] is None else result["corrected"]["verdict"].values()
    return [*result["verdict"].values(), *(f"Corrected: {verdict}" for verdict in corrected)]


def _leaves(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [*(found[way][name] for way, name in COLUMNS), found["rsum"]]


def _signed(value: float) -> str:
    return f"{round(value, 1) + 0.0:+.1f}"  # + 0.0: no -0.0
