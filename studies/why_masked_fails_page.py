"""The page and the figure of the study, from the content of its JSON file alone."""

import shutil
from pathlib import Path
from typing import Any

from results import ROOT, fill

from pairjepa.evaluation.tables import markdown
from pairjepa.util.files import atomic_path

TEMPLATE = ROOT / "docs" / "why-masked-fails.md"
"""Where the prose is, for a page that is not there yet."""

WAYS = (("image_to_text", "image→text"), ("text_to_image", "text→image"))
RECALLS = ("R@1", "R@5", "R@10")

# Okabe and Ito's colours: told apart by the colour-blind. The background is white in a dark page, too.
BLUE, ORANGE, YELLOW, GREEN, GREY = "#0072B2", "#D55E00", "#E69F00", "#009E73", "#7F7F7F"
LINES = ("#000000", "#E69F00", "#D55E00", "#CC79A7", "#009E73", "#56B4E9", "#0072B2")


def write_page(result: dict[str, Any], path: Path) -> None:
    """Put the tables between the markers of the page; the prose around them stays."""
    if not path.is_file():
        with atomic_path(path) as temporary:
            shutil.copyfile(TEMPLATE, temporary)
    for name, block in blocks(result, path.stem).items():
        fill(path, name, block)


def blocks(result: dict[str, Any], stem: str) -> dict[str, str]:
    """Markdown of each place that the page marks."""
    return {
        "about": _about(result["about"]),
        "figure": f"![Four panels: rsum of each step, the dev curves, one masked model under each protocol, "
        f"and the contrastive model under the reference's protocol]({stem}.png)",
        "protocols": _protocols(
            result["masked_protocols"], ("masked, as reported", result["reported"]["masked"])
        ),
        "ladder": _ladder(result["steps"]),
        "seen": _seen(result["steps"]),
        "contrastive": _protocols(
            result["contrastive"]["protocols"], ("direct, as reported", result["reported"]["contrastive"])
        ),
    }


def _about(about: dict[str, Any]) -> str:
    splits = ", ".join(f"{name} {count['images']:,}" for name, count in about["data"]["splits"].items())
    image, text = (about["backbones"][side]["name"] for side in ("image", "text"))
    return (
        f"{about['data']['description']}; images: {splits}. Backbones: {image} and {text}, frozen. "
        f"Every step: {about['epochs']} epochs, batches of {about['batch_size']:,} images, {about['seeds']} "
        f"seed{'s' if about['seeds'] > 1 else ''}. "
        f"By row: {about['row_pairs']:,} training pairs of {about['row_images']:,} images."
    )


def _protocols(protocols: list[dict[str, Any]], reported: tuple[str, dict[str, float]]) -> str:
    """Recalls both ways, below what the reference reported for one."""
    name, values = reported
    titles = ["measured how", *(f"{title} {recall}" for _, title in WAYS for recall in RECALLS), "rsum"]
    rows = [titles, [f"*the reference, {name}*", *(f"{values[r]:.1f}" for r in RECALLS), "", "", "", ""]]
    for protocol in protocols:
        mean, sd = protocol["mean"], protocol["sd"]
        recalls = [f"{mean[way][recall]:.1f}" for way, _ in WAYS for recall in RECALLS]
        rows.append([protocol["name"], *recalls, _with_sd(mean["rsum"], sd and sd["rsum"])])
    return markdown(rows)


def _ladder(steps: list[dict[str, Any]]) -> str:
    rows = [
        [
            "what changes",
            "test rsum",
            "95 % by image",
            "to the row it follows",
            *(f"{title} R@1" for _, title in WAYS),
            "effective rank: prediction / target",
        ]
    ]
    names = {step["name"]: number for number, step in enumerate(steps)}
    for number, step in enumerate(steps):
        test, gain = step["test"], step["gain"]
        change = "—"
        if gain is not None:
            low, high = gain["rsum"]["ci"]
            change = f"{gain['rsum']['difference']:+.1f} [{low:+.1f}, {high:+.1f}]"
            if (after := names[step["after"]]) != number - 1:
                change += f" to {after}"
        sd = test["sd"]
        rows.append(
            [
                f"{number}: {step['change']}",
                _with_sd(test["mean"]["rsum"], sd and sd["rsum"]),
                _interval(test["ci"]["rsum"]),
                change,
                *(
                    f"{_with_sd(test['mean'][way]['R@1'], sd and sd[way]['R@1'])} "
                    f"[{_interval(test['ci'][way]['R@1'])}]"
                    for way, _ in WAYS
                ),
                " / ".join(f"{step['effective_rank'][side]:.0f}" for side in ("prediction", "target")),
            ]
        )
    return markdown(rows)


def _seen(steps: list[dict[str, Any]]) -> str:
    """The leak beside the truth, for every step."""
    rows = [["step", "whole caption shown: R@1 (flawed)", "image alone: R@1 (true)"]]
    for number, step in enumerate(steps):
        flawed, true = step["whole_caption"]["image_to_text"], step["test"]["mean"]["image_to_text"]
        rows.append([f"{number}: {step['change']}", f"{flawed['R@1']:.1f}", f"{true['R@1']:.1f}"])
    return markdown(rows)


def _with_sd(value: float, sd: float | None) -> str:
    return f"{value:.1f}" + (f" ± {sd:.1f}" if sd is not None else "")


def _interval(ci: list[float]) -> str:
    return f"{ci[0]:.1f}–{ci[1]:.1f}"


def write_figure(result: dict[str, Any], path: Path) -> None:
    """Four panels as one PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 9.5), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    (ladder, curves), (masked, contrastive) = figure.subplots(2, 2)
    for panel in (ladder, curves, masked, contrastive):
        panel.spines[["top", "right"]].set_visible(False)
    _draw_ladder(ladder, result["steps"])
    _draw_curves(curves, result["steps"])
    _draw_protocols(masked, result["masked_protocols"])
    _draw_contrastive(contrastive, result)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100, metadata={"Software": None})


def _draw_ladder(panel: Any, steps: list[dict[str, Any]]) -> None:
    for place, step in enumerate(steps):
        value, (low, high) = step["test"]["mean"]["rsum"], step["test"]["ci"]["rsum"]
        panel.plot([low, high], [place, place], color=LINES[place], linewidth=3, solid_capstyle="butt")
        panel.plot(value, place, "o", color=LINES[place], markersize=8)
        panel.annotate(f"{value:.0f}", (value, place), (0, 8), textcoords="offset points", ha="center")
    panel.set_yticks(range(len(steps)), [f"{n}: {step['change']}" for n, step in enumerate(steps)])
    panel.set_ylim(len(steps) - 0.5, -0.7)
    panel.set_xlabel("test rsum, image alone (bar: 95 % by image)")
    panel.set_title("One change at a time", loc="left", fontweight="bold")
    panel.grid(axis="x", color="#DDDDDD")


def _draw_curves(panel: Any, steps: list[dict[str, Any]]) -> None:
    for place, step in enumerate(steps):
        curve = step["dev_rsum_by_epoch"]
        panel.plot(range(1, len(curve) + 1), curve, color=LINES[place], label=f"{place}", linewidth=2)
    panel.legend(title="step", frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    panel.set_xlabel("epoch")
    panel.set_ylabel("dev rsum, image alone")
    panel.set_title("Convergence", loc="left", fontweight="bold")
    panel.grid(color="#DDDDDD")


def _draw_protocols(panel: Any, protocols: list[dict[str, Any]]) -> None:
    values = [protocol["mean"]["image_to_text"]["R@1"] for protocol in protocols]
    last = len(protocols) - 1
    bars = panel.barh(
        range(len(protocols)), values, color=[BLUE if n == last else ORANGE for n in range(len(protocols))]
    )
    panel.bar_label(bars, fmt="%.1f", padding=3)
    names = [protocol["name"] for protocol in protocols]
    panel.set_yticks(range(len(names)), [name if n == 0 else f"+ {name}" for n, name in enumerate(names)])
    panel.invert_yaxis()
    panel.set_xlim(0, 100)
    panel.set_xlabel("image→text R@1, %")
    panel.set_title("Step 0, one model, measured in six ways", loc="left", fontweight="bold")


def _draw_contrastive(panel: Any, result: dict[str, Any]) -> None:
    protocols = {protocol["name"]: protocol["mean"] for protocol in result["contrastive"]["protocols"]}
    groups = (
        ("the reference,\nas reported", result["reported"]["contrastive"], GREY),
        *(
            (label, protocols[name]["image_to_text"], colour)
            for label, name, colour in (
                ("by row, training\npairs: ours", "training pairs by row: ours", ORANGE),
                ("by row, test\npairs: ours", "test pairs by row: ours", YELLOW),
                ("by row: a\nperfect model", "training pairs by row: a perfect model", GREEN),
                ("true protocol,\ntest: ours", "true protocol on test: ours", BLUE),
            )
        ),
    )
    width = 0.8 / len(groups)
    for number, (name, values, colour) in enumerate(groups):
        places = [place + (number - (len(groups) - 1) / 2) * width for place in range(len(RECALLS))]
        bars = panel.bar(places, [values[recall] for recall in RECALLS], width, color=colour, label=name)
        panel.bar_label(bars, fmt="%.0f", fontsize=8, padding=1)
    panel.set_xticks(range(len(RECALLS)), RECALLS)
    panel.set_ylim(0, 105)
    panel.set_ylabel("image→text, %")
    panel.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), labelspacing=1)
    panel.set_title("Contrastive, by row and as it should be", loc="left", fontweight="bold")
