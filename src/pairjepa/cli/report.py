"""The verb report: one page that explains runs, and their figures for a paper."""

from pathlib import Path

from pairjepa.cli.common import Split, next_command, stdout_for_results
from pairjepa.util.errors import UsageError
from pairjepa.util.files import check_file
from pairjepa.util.progress import say


def report(
    *runs: Path,
    out: Path = Path("report.html"),
    split: Split = "test",
    figures: Path | None = None,
    projection: str = "tsne",
    seed: int = 0,
) -> None:
    """Explain one run, or several beside each other, in one offline page: numbers, plots, a map, examples.

    From what `evaluate` left in the run folders; no model is loaded.

    Args:
        runs: Run folders or seed groups, evaluated on the split.
        out: The page: one HTML file that needs no network.
        figures: Folder for each figure as PNG and PDF, for a paper.
        projection: How the map is made: tsne, pca or umap.
        seed: Of the map, its clusters and the samples.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out must end in .html, got {out}. Give it as {out.with_suffix('.html')}.")
    check_file(out)
    with stdout_for_results():
        from pairjepa.apps.report import collect
        from pairjepa.apps.report.page import write_page

        found = collect(runs, split, projection=projection, seed=seed)
        write_page(found, out)
        if figures is not None:
            from pairjepa.apps.report.figures import write_figures

            write_figures(found, figures)
    say(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB): open it in a browser")
    if figures is not None:
        say(f"wrote {figures}")
    else:
        same = [*map(str, runs), *(["--split", split] if split != "test" else [])]
        next_command("report", *same, "--out", str(out), "--figures", then="FOLDER")
