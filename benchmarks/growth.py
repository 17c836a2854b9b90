"""Time and memory of every verb as the pairs grow, on generated features.

    python benchmarks/growth.py --scratch FOLDER [--largest 64] [--verbs train evaluate] [--epochs 2]

Each image is a PNG of 8 x 8 random pixels in a Parquet table, with five captions of its own; its features are random
numbers, as wide as those of EfficientNet-Lite2 and MiniLM (1,960 in two views, 768), put into the feature cache before.
So `train` does all that it does after features: it opens the table, looks at each image, finds images that stand
in two splits, trains, and measures dev after each epoch. `evaluate`, `index`, `search` and `audit` take the run that
it wrote. A tenth of the images each is dev and test, at most 5,000. SCRATCH keeps what was generated (about 32 GB a
million images) for the next time.
"""

import argparse
import io
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from pyarrow import parquet
from sides import Measured, command, exponent, main

from pairjepa.backbones.encoders import load_backbones
from pairjepa.backbones.image import ImageBackbone
from pairjepa.backbones.text import TextBackbone
from pairjepa.backbones.tiny import train_tokenizer
from pairjepa.config.recipes import recipe
from pairjepa.config.settings import ModelConfig
from pairjepa.features.extract import fill
from pairjepa.features.work import ImageWork, TextWork
from pairjepa.pairs import Pairs
from pairjepa.pairs.scan import scan
from pairjepa.run.folder import RunFolder
from pairjepa.util.files import atomic_folder, cache_folder, write_json

THOUSANDS = (1, 4, 16, 64, 256, 1000)
VERBS = ("inspect", "train", "evaluate", "index", "search", "audit")
CAPTIONS = 5


def arguments(parser: argparse.ArgumentParser) -> None:
    """Sizes."""
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--largest", type=int, default=64, help="thousands of images")
    parser.add_argument("--verbs", nargs="+", choices=VERBS, default=VERBS, help="train is always run")


def side(thousand: int) -> Any:
    """The verbs on that many thousand images; `seconds` and `peak_rss_mb` are those of `train`."""

    def measured(given: argparse.Namespace) -> Measured:
        scratch = given.scratch.absolute()
        generate(scratch, thousand)
        data = scratch / f"{thousand}.parquet"
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            run, index = f"{folder}/run", f"{folder}/index"
            epochs, engine = ["--training.epochs", str(given.epochs)], ["--engine", "torch"]
            words = {
                "inspect": ["inspect", str(data)],
                "train": ["train", "contrastive", "--data", str(data), "--run", run, *epochs, *engine],
                "evaluate": ["evaluate", run],
                "index": ["index", run, str(data), "--out", index, *engine],
                "search": ["search", index, "picture 5 caption 1"],
                "audit": ["audit", run, str(data), "--out", f"{folder}/audit"],
            }
            words["train"] += [f"--model.{side}={scratch / 'models' / side}" for side in ("image", "text")]
            environment = {"PAIRJEPA_CACHE": str(scratch / "cache")}
            found = {
                verb: command(*arguments, environment=environment)
                for verb, arguments in words.items()
                if verb in given.verbs or verb == "train"
            }
            summary: Any = RunFolder(Path(run)).summary
            versions = {
                table.name: len(list(table.glob("_versions/*.manifest")))
                for table in Path(index).glob("*.lance")
            }
        every = {f"{verb}_{name}": value for verb, one in found.items() for name, value in one.items()}
        return (
            every
            | found["train"]
            | {"index_versions": max(versions.values(), default=0)}
            | {
                "items": thousand * 1000,
                "training_seconds": summary["cost"]["training_seconds"],
                "training_milliseconds_an_image_and_epoch": summary["cost"]["training_seconds"]
                / (thousand - 0.002 * held_out(thousand))
                / given.epochs,
            }
        )

    return measured


def sides(given: argparse.Namespace) -> dict[str, Any]:
    """By size."""
    return {f"{thousand},000": side(thousand) for thousand in THOUSANDS if thousand <= given.largest}


def held_out(thousand: int) -> int:
    """Images of dev, and of test."""
    return min(thousand * 100, 5000)


def generate(scratch: Path, thousand: int) -> None:
    """The table of so many thousand images, and their features in the cache."""
    data = scratch / f"{thousand}.parquet"
    if data.is_file():
        return
    print(f"generating {thousand},000 images with features", file=sys.stderr)
    scratch.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(thousand)
    images, captions = [], []
    splits = ["dev", "test"] * held_out(thousand)
    splits += ["train"] * (thousand * 1000 - len(splits))
    for number in range(thousand * 1000):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(file, "PNG", compress_level=0)
        images.append({"bytes": file.getvalue(), "path": f"{number}.png"})
        captions.append([f"picture {number} caption {way}" for way in range(CAPTIONS)])
    temporary = data.with_suffix(".part")
    parquet.write_table(pa.table({"image": images, "captions": captions, "split": splits}), temporary)

    os.environ["PAIRJEPA_CACHE"] = str(scratch / "cache")
    pairs = Pairs.open(temporary.rename(data))
    image, text = _backbones(scratch)
    facts = scan(pairs, cache_folder())
    random = torch.Generator().manual_seed(thousand)
    side = image.preprocessing.size
    blank = np.zeros((side, side, 3), np.uint8)
    image.prepare = lambda picture, view: blank  # type: ignore[method-assign]
    image.forward = lambda pixels: torch.randn((len(pixels), image.width), generator=random)  # type: ignore[method-assign]
    text.forward = lambda ids, mask: torch.randn((len(ids), text.width), generator=random)  # type: ignore[method-assign]
    fill(ImageWork.of(image, pairs, facts, ModelConfig().image_views), cache_folder(), "torch")
    fill(TextWork.of(text, pairs.captions), cache_folder(), "torch")


def _backbones(scratch: Path) -> tuple[ImageBackbone, TextBackbone]:
    """As wide as EfficientNet-Lite2 with its lower stages and as MiniLM; saved where `train` finds them."""
    from transformers import BertConfig, BertModel, ResNetConfig, ResNetModel

    folder = scratch / "models"
    if not folder.is_dir():
        with atomic_folder(folder) as made:
            resnet = ResNetConfig(hidden_sizes=[120, 208, 352, 1280], depths=[1] * 4, layer_type="basic")
            ResNetModel(resnet).save_pretrained(made / "image")
            tokenizer = train_tokenizer([f"picture {n} caption" for n in range(1000)])
            bert = BertConfig(vocab_size=len(tokenizer), hidden_size=384, num_hidden_layers=6)
            BertModel(bert).save_pretrained(made / "text")
            tokenizer.save_pretrained(made / "text")
            write_json(
                made / "image" / "preprocessor_config.json",
                {"size": 32, "do_center_crop": False, "image_mean": [0.5] * 3, "image_std": [0.5] * 3},
            )
    config = recipe("contrastive", {"model.image": str(folder / "image"), "model.text": str(folder / "text")})
    return load_backbones(config, ())


def summary(sides: dict[str, Measured], given: argparse.Namespace) -> dict[str, Any]:
    """How time grows: the slope of log seconds over log images, of the training and per step up in size."""
    largest = list(sides.values())[-3:]
    return {
        "exponents": {verb: exponent(largest, f"{verb}_seconds") for verb in given.verbs},
        "epochs": given.epochs,
        "captions_per_image": CAPTIONS,
        "exponent": exponent(largest, "training_seconds"),
        "what": "pairjepa on generated features, everything but the features themselves; the exponents are those "
        "of time over images, fitted to the three largest; `exponent` is that of the training alone",
    }


if __name__ == "__main__":
    sys.exit(main(__doc__, sides, arguments, summary))
