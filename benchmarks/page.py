"""Make docs/performance.md and its figures from what the benchmarks have written into docs/performance/.

    python benchmarks/page.py

A benchmark that has not been run leaves its part of the page as it is.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from pairjepa.evaluation.tables import markdown
from pairjepa.util.files import atomic_path, read_json

ROOT = Path(__file__).parent.parent
DATA = ROOT / "docs" / "performance"
PAGE = ROOT / "docs" / "performance.md"

Record = dict[str, Any]
ENGINES = ("torch", "onnx")
OURS, THEIRS = "#0072b2", "#767676"


def main() -> None:
    """Fill the page, draw the figures."""
    text = PAGE.read_text("utf-8")
    records = {path.stem: read_json(path, "The benchmark") for path in sorted(DATA.glob("*.json"))}
    for block, (needed, make) in BLOCKS.items():
        if all(name in records for name in needed):
            text = filled(text, block, make(*(records[name] for name in needed)))
        else:
            print(
                f"{block}: {', '.join(n for n in needed if n not in records)} is not there", file=sys.stderr
            )
    with atomic_path(PAGE) as temporary:
        temporary.write_text(text, encoding="utf-8")
    draw_ratios(bars(records), DATA / "ratios.png")
    if "growth" in records:
        draw_growth(records["growth"], DATA / "growth.png")


def filled(text: str, block: str, content: str) -> str:
    """The page with `content` between the markers of that name."""
    start, end = f"<!-- {block} -->", f"<!-- /{block} -->"
    head, found, rest = text.partition(start)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        sys.exit(f"{PAGE.name} has no markers {start} … {end}")
    return f"{head}{start}\n\n{content}\n\n{end}{tail}"


def features(record: Record) -> str:
    """Each engine against the naive loop, and the share of its own raw rate that the whole way reaches."""
    head = ["features", "rate, the naive loop is 1", "share of the engine's own rate", "peak RSS"]
    rows = [head]
    sides, ratios = record["sides"], record["ratios"]
    for prefix, kind in (("", "images"), ("text-", "captions")):
        model = record["text_model" if prefix else "image_model"]
        rows.append([f"{kind}, {model}: naive", "1", "", rss(sides[f"{prefix}naive"])])
        if (peer := f"{prefix}sentence-transformers") in sides:
            faster = sides[f"{prefix}naive"]["seconds"] / sides[peer]["seconds"]
            rows.append(["sentence-transformers", f"{faster:.1f}", "", rss(sides[peer])])
        for engine in ENGINES:
            if (side := prefix + engine) in sides:
                share = ratios[f"{side}_share_of_raw"]
                faster = ratios[f"{prefix}naive_to_{engine}"]
                rows.append([f"`{engine}`", f"{faster:.1f}", f"{share:.2f}", rss(sides[side])])
    count = f"{record['images']:,} images of one view and {record['captions']:,} captions"
    return f"{markdown(rows)}\n\n{count} from files; the share is that of the default two views."


def large(record: Record) -> str:
    """Reduced decoding."""
    found, whole = record["sides"]["reduced"], record["ratios"]["whole_to_reduced"]
    rows = [
        ["large JPEGs, decoded and resized", "time", "lowest cosine of the features"],
        ["whole", "1", ""],
        ["reduced", f"{1 / whole:.2f}", f"{found['lowest_cosine']:.4f}"],
    ]
    return markdown(rows)


def whole_job(record: Record) -> str:
    """Each peer's whole time over ours."""
    ours = record["sides"]["pairjepa"]
    rows = [["from raw images to test recalls", "time, ours is 1", "dev rsum", "", "peak RSS"]]
    rows.append(["PairJEPA, `train` and `evaluate`", "1", f"{ours['dev_rsum']:.1f}", "", rss(ours)])
    for name, one in record["whole"].items():
        if "ratio" not in one:
            continue
        least = "" if one.get("reached", True) else "more than "
        best = f"{one['best_dev_rsum']:.1f}" if "best_dev_rsum" in one else "–"
        said = f"extrapolated: {one['steps']:,} steps"
        if "reached" in one:
            said = f"{one['said']} (learning rate {one['lr']:g})"
        rows.append([name, f"{least}{one['ratio']:.1f}", best, said, rss(record["sides"][name])])
    return markdown(rows)


def head_training(record: Record) -> str:
    """Ours over the bare loops."""
    sides = record["sides"]
    bare = sides["bare"]["seconds"]
    names = {
        "pairjepa": "PairJEPA",
        "bare": "bare loop, PyTorch's own dropout",
        "bare-our-dropout": "bare loop, PairJEPA's dropout",
        "bare-our-dropout-dev": "the same, with dev recalls each epoch",
    }
    rows = [["", "time", "peak RSS"]]
    rows += [[names[n], f"{side['seconds'] / bare:.2f}", rss(side)] for n, side in sides.items()]
    return f"{markdown(rows)}\n\nRecipe `{record['recipe']}`, {record['epochs']} epochs on Flickr8k."


def evaluation(record: Record) -> str:
    """Ours and the peers'."""
    sides, what = record["sides"], record["what"]
    base = sides["pairjepa-all"]["seconds"]
    rows = [["1,000 images, 5,000 captions", "what is computed", "time", "peak RSS"]]
    for name in (n for n in what if n in sides and n != "growth"):
        rows.append([name, what[name], f"{sides[name]['seconds'] / base:.2f}", rss(sides[name])])
    least = f"The whole evaluation took {base:.2f} s there."
    return f"{markdown(rows)}\n\n{least}"


def evaluation_growth(record: Record) -> str:
    """Time and memory, 25 times as many and more."""
    points = record["growth"]["points"]
    first = points[0]
    rows = [["images × captions", "score matrix", "time", "peak RSS"]]
    for one in points:
        size = one["images"] * one["captions"] / (first["images"] * first["captions"])
        name = f"{one['images']:,} × {one['captions']:,}"
        rows.append([name, f"{size:.1f}", f"{one['seconds'] / first['seconds']:.1f}", rss(one)])
    return f"{markdown(rows)}\n\nExponent of time over images × captions: {record['growth']['exponent']:.2f}."


def queries(record: Record) -> str:
    """A query over the encoder's own forward."""
    rows = [
        [
            "images",
            "search",
            "query / encoding its words",
            "the same in PyTorch",
            "recall@10",
            "index",
            "peak RSS",
        ]
    ]
    for side, times in record["ratios"].items():
        one, (count, way) = record["sides"][side], side.split()
        recall = f"{one['recall_at_10']:.1%}" if "recall_at_10" in one else "exact"
        torch = f"{record['of_torch'][side]:.2f}"
        rows.append(
            [f"{int(count):,}", way, f"{times:.2f}", torch, recall, f"{one['disk_mb']:,} MB", rss(one)]
        )
    return markdown(rows)


def search_peers(record: Record) -> str:
    """Other libraries over the same vectors: one query after another, and many clients of a server."""
    sides, many = record["sides"], record["clients"]
    ours = sides["pairjepa"]["seconds"]
    rows = [[f"in a process, {record['rows']:,} vectors", "words to hits", "peak RSS"]]
    for name in ("pairjepa", "clip-retrieval", "sentence-transformers"):
        if name in sides:
            rows.append([name, f"{sides[name]['seconds'] / ours:.2f}", rss(sides[name])])
    head = [
        "over HTTP",
        f"answers a second, {many} clients",
        f"{many} clients / 1",
        f"p95, {many} clients / 1",
    ]
    servers = [head]
    for name in ("pairjepa serve", "clip-retrieval's server"):
        if name in sides:
            one, base = sides[name], sides["pairjepa serve"]
            servers.append(
                [
                    name,
                    f"{one[f'per_second_{many}'] / base[f'per_second_{many}']:.2f}",
                    f"{one[f'per_second_{many}'] / one['per_second_1']:.2f}",
                    f"{one[f'p95_seconds_{many}'] / one['p95_seconds_1']:.1f}",
                ]
            )
    return f"{markdown(rows)}\n\n{markdown(servers)}"


def start(record: Record) -> str:
    """Programs from the shell."""
    names = {
        "python": "a Python program that does nothing",
        "help": "`pairjepa --help`",
        "search": "`pairjepa search`, words, {images:,} images",
        "search-generated": "the same, {images:,} made-up images",
    }
    rows = [["from the shell to the end", "time", "peak RSS"]]
    for name, one in record["sides"].items():
        times = record["ratios"].get(name, 1)
        memory = rss(one) if name != "python" else ""
        rows.append([names[name].format(**one), f"{times:.1f}", memory])
    seconds = [f"{record['sides'][name]['seconds']:.2f}" for name in ("help", "search", "search-generated")]
    return f"{markdown(rows)}\n\nIn seconds there: {', '.join(seconds)}."


def growth(record: Record) -> str:
    """Time and memory of `train`."""
    sides = list(record["sides"].values())
    first = sides[0]
    rows = [["images", "training", "whole command", "peak RSS", "of it anonymous"]]
    for one in sides:
        times = (f"{one[n] / first[n]:.1f}" for n in ("training_seconds", "seconds"))
        rows.append([f"{one['items']:,}", *times, rss(one), f"{one['peak_anonymous_mb']:,} MB"])
    words = f"Times over those of the first row; {record['epochs']} epochs."
    last, pairs = sides[-1], (sides[-1]["items"] - first["items"]) * record["captions_per_image"]
    a_pair = 1e3 * (last["peak_anonymous_mb"] - first["peak_anonymous_mb"]) / pairs
    return (
        f"{markdown(rows)}\n\n{words} Exponent of training time over images: {record['exponent']:.2f}. "
        f"Anonymous memory grows by {a_pair:.1f} kB a pair: dev, which ends at 5,000 images, and words and keys; "
        "not features."
    )


def machine(*records: Record) -> str:
    """What they were measured on."""
    cpus, loads = {one["cpus"] for one in records}, [one["load_before"] for one in records]
    repeats = sorted({one["repeats"] for one in records})
    times = " or ".join(map(str, repeats))
    return (
        f"Measured on {' and '.join(map(str, sorted(cpus)))} CPU cores, medians of {times} rounds, "
        f"load average before each benchmark {min(loads):.1f} to {max(loads):.1f}."
    )


def rss(side: Record) -> str:
    """Peak resident set size."""
    return f"{side['peak_rss_mb']:,} MB"


MEASURED = (
    "features",
    "whole-job",
    "head-training",
    "evaluation",
    "queries",
    "search-peers",
    "search-start",
    "growth",
)
BLOCKS: dict[str, tuple[tuple[str, ...], Callable[..., str]]] = {
    "machine": (MEASURED, machine),
    "features": (("features",), features),
    "large": (("features",), large),
    "whole-job": (("whole-job",), whole_job),
    "head-training": (("head-training",), head_training),
    "evaluation": (("evaluation",), evaluation),
    "evaluation-growth": (("evaluation",), evaluation_growth),
    "queries": (("queries",), queries),
    "search-peers": (("search-peers",), search_peers),
    "start": (("search-start",), start),
    "growth": (("growth",), growth),
}


def bars(records: Record) -> list[tuple[str, float]]:
    """What takes others longer: label and ratio to ours, for the figure."""
    found = []
    if record := records.get("features"):
        best = min((e for e in ENGINES if e in record["sides"]), key=lambda e: record["sides"][e]["seconds"])
        found.append(("image features: naive PyTorch loop", record["ratios"][f"naive_to_{best}"]))
        if (name := f"text-sentence-transformers_to_{best}") in record["ratios"]:
            found.append(("caption features: sentence-transformers", record["ratios"][name]))
    if record := records.get("whole-job"):
        for name, one in record["whole"].items():
            if "ratio" in one:
                more = "" if one.get("reached", True) else " (not reached)"
                found.append((f"whole job: {name}{more}", one["ratio"]))
    if record := records.get("evaluation"):
        for peer in ("clip_benchmark", "open_clip"):
            if (name := f"{peer} / pairjepa-all") in record["ratios"]:
                found.append((f"evaluation: {peer}", record["ratios"][name]))
    if record := records.get("search-peers"):
        for peer in ("clip-retrieval", "sentence-transformers"):
            if (name := f"{peer} / pairjepa") in record["ratios"]:
                found.append((f"a query, {record['rows']:,} images: {peer}", record["ratios"][name]))
    if record := records.get("head-training"):
        found.append(("heads: bare PyTorch loop", 1 / record["ratios"]["pairjepa / bare"]))
    return found


def draw_ratios(found: list[tuple[str, float]], path: Path) -> None:
    """Bars to the right of 1 take longer than PairJEPA."""
    figure = Figure(figsize=(7.5, 0.42 * len(found) + 1.1), layout="constrained")
    axes = figure.subplots()
    names, ratios = [name for name, _ in found][::-1], [ratio for _, ratio in found][::-1]
    # A logarithmic axis has no zero to begin at: bars go from 1, to the side of whoever is slower.
    colours = [THEIRS if ratio >= 1 else OURS for ratio in ratios]
    axes.barh(names, [ratio - 1 for ratio in ratios], left=1, color=colours, height=0.6)
    for place, ratio in enumerate(ratios):
        axes.annotate(f" {ratio:.3g} ×", (max(ratio, 1), place), va="center", fontsize=9)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(min(0.5, *ratios), max(ratios) * 2.5)
    axes.set_xlabel("time over PairJEPA's (left of 1: less)")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150, metadata={"Software": None})


def draw_growth(record: Record, path: Path) -> None:
    """Time and memory over images."""
    figure = Figure(figsize=(7.5, 3.2), layout="constrained")
    time, memory = figure.subplots(1, 2)
    sides = list(record["sides"].values())
    images = np.array([one["items"] for one in sides])
    seconds = np.array([one["training_seconds"] for one in sides]) / record["epochs"]
    time.plot(images, seconds, "o-", color=OURS, label="measured")
    time.plot(images, seconds[-1] * images / images[-1], ":", color=THEIRS, label="linear")
    time.set_ylabel("seconds an epoch, dev included")
    time.set_yscale("log")
    time.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    time.yaxis.set_major_formatter("{x:g}")
    time.legend(frameon=False)
    for name, label, mark in (
        ("peak_rss_mb", "resident", "o-"),
        ("peak_anonymous_mb", "without mapped files", "s--"),
    ):
        memory.plot(images, [one[name] / 1000 for one in sides], mark, color=OURS, label=label)
    memory.set_ylabel("peak memory, GB")
    memory.set_ylim(0)
    memory.legend(frameon=False, loc="lower right")
    for axes in (time, memory):
        axes.set_xscale("log")
        axes.set_xticks(images, [f"{count // 1000},000" for count in images])
        axes.minorticks_off()
        axes.set_xlabel("images, five captions each")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150, metadata={"Software": None})


if __name__ == "__main__":
    main()
