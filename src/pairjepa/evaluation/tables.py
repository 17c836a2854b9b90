"""Evaluations side by side, for a terminal and for Markdown."""

from typing import Any

LEGEND = "Recall@K in percent: at least one relevant item in the top K. rsum: the sum of the six."
_COLUMNS = [(way, f"R@{k}") for way in ("image_to_text", "text_to_image") for k in (1, 5, 10)]


def table(results: dict[str, dict[str, Any]]) -> str:
    """Chance, CCA and each named result of `evaluate`, in plain text with the intervals below the numbers."""
    rows = [["", *(name for _, name in _COLUMNS), "rsum"]]
    for name, result in _rows(results):
        cells = _cells(result)
        rows.append([name, *(f"{value:.1f}" for value, _ in cells)])
        if "rsum_ci" in result:
            rows.append(["  95 % interval", *(f"{ci[0]:.1f}–{ci[1]:.1f}" for _, ci in cells if ci)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)])
        for row in rows
    ]
    half = sum(widths[1:4]) + 4
    header = "  ".join(
        [" " * widths[0], "image → text".center(half), "text → image".center(sum(widths[4:7]) + 4)]
    )
    return "\n".join([header.rstrip(), *(line.rstrip() for line in lines), "", *_footer(results)])


def markdown_table(results: dict[str, dict[str, Any]]) -> str:
    """The same as a Markdown table with the intervals in the cells."""
    titles = ["", *(f"{way.replace('_to_', '→')} {name}" for way, name in _COLUMNS), "rsum"]
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)]]
    for name, result in _rows(results):
        cells = [
            f"{value:.1f}" + (f" [{ci[0]:.1f}, {ci[1]:.1f}]" if ci else "") for value, ci in _cells(result)
        ]
        lines.append([name.replace("|", "\\|"), *cells])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return "\n\n".join([table, *_footer(results)])


def _rows(results: dict[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Baselines first; one that is the same for all results stands once, else by the result that it is of."""
    rows = []
    for key, label in (("chance", "chance"), ("cca", "CCA")):
        every = {name: result["baselines"][key] for name, result in results.items()}
        found = {name: baseline for name, baseline in every.items() if baseline is not None}
        alike = all(baseline == next(iter(found.values())) for baseline in found.values())
        for name, baseline in list(found.items())[: 1 if alike else None]:
            rows.append((label if alike else f"{label} ({name})", baseline))
    return rows + list(results.items())


def _cells(result: dict[str, Any]) -> list[tuple[float, list[float] | None]]:
    cells: list[tuple[float, list[float] | None]] = [
        (result[way][name], result[way].get(f"{name}_ci")) for way, name in _COLUMNS
    ]
    return [*cells, (result["rsum"], result.get("rsum_ci"))]


def _footer(results: dict[str, dict[str, Any]]) -> list[str]:
    """What was measured on what; one line where all results agree."""
    said = {
        name: f"{r['split']} split, {r['images']:,} images, {r['captions']:,} captions, relevance by "
        f"{r['relevance']}; 95 % intervals by {r['bootstrap']['unit']}, {r['bootstrap']['draws']:,} draws."
        for name, r in results.items()
    }
    if len(set(said.values())) <= 1:
        return [LEGEND, *list(said.values())[:1]]
    return [LEGEND, *(f"{name}: {what}" for name, what in said.items())]
