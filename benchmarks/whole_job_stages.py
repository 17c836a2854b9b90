"""Where the time of the whole job goes: the stages of `train` and `evaluate`, in one process, nothing cached before.

    python benchmarks/whole_job_stages.py DATA --image IMG --text TXT [--pairs 320 --repeats 1]

The default engine and PyTorch alone, in alternation.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sides import Measured, main, ratio

from pairjepa.backbones.encoders import load_backbones
from pairjepa.config.recipes import recipe
from pairjepa.config.settings import EngineName
from pairjepa.evaluation.evaluate import measure
from pairjepa.pairs.data import read_data
from pairjepa.pairs.table import open_pairs
from pairjepa.training.material import Material
from pairjepa.training.train import fit_material


def arguments(parser: argparse.ArgumentParser) -> None:
    """What is trained on."""
    parser.add_argument("data")
    parser.add_argument("--image", required=True, help="image backbone, a local folder")
    parser.add_argument("--text", required=True, help="text backbone, a local folder")
    parser.add_argument("--pairs", type=int, help="keep about this many pairs")
    parser.add_argument("--recipe", default="contrastive")


def default(given: argparse.Namespace) -> Measured:
    """The fastest engine that is installed and agrees."""
    return _stages(given, "auto")


def torch(given: argparse.Namespace) -> Measured:
    """PyTorch."""
    return _stages(given, "torch")


def _stages(given: argparse.Namespace, engine: EngineName) -> Measured:
    settings = {"model.image": given.image, "model.text": given.text, "model.engine": engine}
    config = recipe(given.recipe, {"data.source": given.data, "data.pairs": given.pairs, **settings})
    seconds: dict[str, float] = {}
    start = time.perf_counter()

    def ended(stage: str) -> None:
        seconds[f"{stage}_seconds"] = time.perf_counter() - start - sum(seconds.values())

    with tempfile.TemporaryDirectory() as folder:
        os.environ["PAIRJEPA_CACHE"] = str(Path(folder) / "cache")
        pairs = open_pairs(config.data)
        data = read_data(pairs, config.data.max_bad)
        ended("scan")
        material = Material(config, data, *load_backbones(config, pairs.captions_of("train").to_pylist()))
        ended("load")
        shown = material.image_features.gather([0]).shape
        ended("image_features")
        material.text_features  # noqa: B018
        ended("text_features")
        run = fit_material(material, Path(folder) / "run")
        ended("training")
        measure(run, pairs, "test", None, "owner")
        ended("evaluation")
        summary: Any = run.summary
    return {
        "seconds": sum(seconds.values()),
        **seconds,
        "images": data.pairs.n_images,
        "captions": len(data.pairs),
        "views": shown[1],
        "dev_rsum": summary["dev_rsum"],
    }


def summary(sides: dict[str, Measured], given: argparse.Namespace) -> dict[str, Any]:
    """Shares of the stages, and PyTorch over the default."""
    shares = {
        side: {
            stage.removesuffix("_seconds"): round(value / measured["seconds"], 3)
            for stage, value in measured.items()
            if stage.endswith("_seconds") and stage != "all_seconds"
        }
        for side, measured in sides.items()
    }
    return {
        "recipe": given.recipe,
        "shares": shares,
        "ratios": {
            f"torch / default, {stage.removesuffix('_seconds').replace('_', ' ')}": ratio(
                sides["torch"], sides["default"], stage
            )
            for stage in ("seconds", "image_features_seconds", "text_features_seconds")
        },
    }


SIDES = {"default": default, "torch": torch}

if __name__ == "__main__":
    sys.exit(main(__doc__, SIDES, arguments, summary))
