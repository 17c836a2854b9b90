"""The whole job on pairs that the program draws: both approaches from nothing, and a pretrained pair adapted."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pairjepa.apps import demo_pair
from pairjepa.config.recipes import recipe
from pairjepa.config.settings import RunConfig
from pairjepa.evaluation import compare as comparison
from pairjepa.evaluation.compare_tables import compare_table
from pairjepa.evaluation.stored import read_evaluation
from pairjepa.evaluation.tables import aligned
from pairjepa.run.folder import RunFolder
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.progress import say

RECIPES = {"contrastive": "tiny", "masked": "tiny-masked"}
SETTINGS = {"data.source": "shapes:4000"}
SHOWN = "0.6"  # of a caption hidden, in the sentence on partial queries


def demo(run: Path) -> tuple[list[Path], str]:
    """Train and evaluate what is not there yet.

    Args:
        run: folder of the runs.

    Returns:
        The run folders, and what they show.
    """
    runs = {name: run / name for name in RECIPES}
    adapted = run / "adapt"
    with _one_thread():
        results = {name: _evaluated(recipe(RECIPES[name], SETTINGS), path) for name, path in runs.items()}
        compared = comparison.compare(list(runs.values()), "test")
        text = (
            "Generated pairs: shapes that this program drew, in words that it chose.\n"
            "The numbers show that everything works, and nothing about photos.\n\n"
            f"{compare_table(compared)}\n\n{_meaning(results)}\n\n{_adapted(adapted)}"
        )
    return [*runs.values(), adapted / "run"], text


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """One thread of PyTorch: models this small lose more by sharing their work out than they gain."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _adapted(folder: Path) -> str:
    """What a pretrained pair is worth in another world before and after it was adapted, and at home."""
    pair = demo_pair.small_clip(folder)
    world = demo_pair.shifted(folder / "shifted.parquet")
    config = recipe("adapt", {"data.source": str(world), "model.pair": str(pair)})
    there = _evaluated(config, folder / "run")
    home = _evaluated(config, folder / "run", str(demo_pair.CLIP["data.source"]))
    rows = [["rsum, test", "pretrained", "adapted", "difference"]]
    for where, result in (("shifted world", there), ("where it learned", home)):
        gain, before = result["beats_pretrained"], result["baselines"]["pretrained"]["rsum"]
        low, high = gain["ci"]
        difference = f"{gain['rsum_difference']:+.1f} ({low:+.1f} to {high:+.1f})"
        rows.append([where, f"{before:.1f}", f"{result['rsum']:.1f}", difference])
    return (
        "A pretrained pair: a small CLIP that learned from such shapes, adapted by pairs of a world with other\n"
        f"colours, sizes and words ({demo_pair.SPLITS['train']} images):\n\n{chr(10).join(aligned(rows))}\n\n"
        "The first row is what was gained, the second what was forgotten."
    )


def _evaluated(config: RunConfig, run: Path, other: str | None = None) -> dict[str, Any]:
    """The evaluation of a run on test: what it left if it is complete, else it is trained and evaluated.

    Args:
        config: of the run.
        run: its folder.
        other: pairs to measure it on, in the place of its own.
    """
    RunFolder.fits(run, config)
    with contextlib.suppress(PairJEPAError):  # it is not there, damaged, or of weights of an earlier epoch
        folder = RunFolder(run)
        if folder.summary is not None:
            kinds = [file.stem for file in run.glob("evaluation/test-on-*.json")] if other else ["test"]
            found = read_evaluation(folder, next(iter(kinds), "test-on"), folder.weights, "")
            say(f"{run} is trained and evaluated. Nothing to do.")
            return found
    from pairjepa.evaluation.evaluate import evaluate
    from pairjepa.training.train import train

    say(f"{run}:")
    train(config, None, run)
    return evaluate(run, "test", data=other)


def _meaning(results: dict[str, Any]) -> str:
    """What the numbers say."""
    gains = {name: result["beats_cca"] for name, result in results.items()}
    above = " and ".join(
        f"{name} {gain['rsum_difference']:+.0f} ({gain['ci'][0]:+.0f} to {gain['ci'][1]:+.0f})"
        for name, gain in gains.items()
    )
    found = results["masked"]["partial"][SHOWN]
    return (
        "CCA is a closed formula on the same backbones before training. What is above it was learned, in rsum:\n"
        f"{above}.\n"
        "Only the masked approach can be given words beside the image. With "
        f"{100 * float(SHOWN):.0f} % of a caption's words hidden it\n"
        f"finds the whole caption first for {found['R@1']:.0f} %; with another image for "
        f"{found['shuffled']['R@1']:.0f} %, and trained on the words alone for {found['text_only']['R@1']:.0f} %."
    )
