"""The whole job on pairs that the program draws: both approaches trained from nothing, evaluated and compared."""

import contextlib
from pathlib import Path
from typing import Any

from pairjepa.config.recipes import recipe
from pairjepa.config.settings import RunConfig
from pairjepa.evaluation import compare as comparison
from pairjepa.evaluation.compare_tables import compare_table
from pairjepa.evaluation.stored import read_evaluation
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
    results = {name: _evaluated(recipe(RECIPES[name], SETTINGS), path) for name, path in runs.items()}
    compared = comparison.compare(list(runs.values()), "test")
    text = (
        "Generated pairs: shapes that this program drew, in words that it chose.\n"
        "The numbers show that everything works, and nothing about photos.\n\n"
        f"{compare_table(compared)}\n\n{_meaning(results)}"
    )
    return list(runs.values()), text


def _evaluated(config: RunConfig, run: Path) -> dict[str, Any]:
    """The evaluation of a run on test: what it left if it is complete, else it is trained and evaluated."""
    RunFolder.fits(run, config)
    with contextlib.suppress(PairJEPAError):  # it is not there, damaged, or of weights of an earlier epoch
        folder = RunFolder(run)
        if folder.summary is not None:
            found = read_evaluation(folder, "test", folder.weights, "")
            say(f"{run} is trained and evaluated. Nothing to do.")
            return found
    from pairjepa.evaluation.evaluate import evaluate
    from pairjepa.training.train import train

    say(f"{run}:")
    train(config, None, run)
    return evaluate(run, "test")


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
