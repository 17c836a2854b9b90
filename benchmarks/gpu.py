"""What a GPU makes of it: features, tuned training, memory, and whether an embedder agrees with `evaluate`.

    python benchmarks/gpu.py [--images 4096] [--device cuda] [--out FILE]

images/s from JPEG files to features, float32 in batches of 16 and bfloat16 in batches of 256, and their cosine; of the
model alone and of decoding alone; of a training that tunes the image backbone, with the next batch read ahead and not;
peak memory of the GPU. At most six minutes. Images are generated JPEGs, the model is a CLIP ViT-B/32 of random weights,
so nothing is fetched.
Without a GPU it says what it would measure; `--device cpu` measures that on few images, to see that it runs.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from sides import finish, parser_of

import pairjepa
from pairjepa.backbones.device import best_device
from pairjepa.backbones.encoders import load_image_backbone
from pairjepa.backbones.image import ImageBackbone
from pairjepa.config.recipes import recipe
from pairjepa.config.settings import DEVICE, ModelConfig
from pairjepa.evaluation.embedding_set import EmbeddingSet
from pairjepa.features import engines
from pairjepa.features.engines.choice import lowest_cosine
from pairjepa.features.work import ImageWork, compute_shard, strings
from pairjepa.pairs import Pairs
from pairjepa.pairs.scan import scan
from pairjepa.run.folder import RunFolder
from pairjepa.training import inputs, loop
from pairjepa.util.files import write_json

WAYS = {"torch": 16, "bfloat16": 256}
"""Engine → images in a batch: as on a CPU, and as on a GPU."""


def main() -> int:
    """Measure, print JSON, and write it."""
    parser = parser_of(__doc__)
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        print(f"There is no GPU here. On one, this measures:\n{__doc__}")
        return 0
    os.environ[DEVICE] = given.device
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PAIRJEPA_CACHE"] = f"{folder}/cache"
        result = {
            "device": torch.cuda.get_device_name() if given.device == "cuda" else "CPU",
            "images": given.images,
            **features(Path(folder), given.images),
            **tuned(Path(folder)),
            **agreement(Path(folder)),
        }
    finish(result, given.out)
    return 0


def features(folder: Path, images: int) -> dict[str, Any]:
    """Extraction from files, the model alone and decoding alone."""
    work = ImageWork.of(clip(folder), *photos(folder, images), ("whole",))
    result: dict[str, Any] = {}
    work.backbone.to(best_device())
    decoded = [
        pixels for _, batch in work.batches(strings(work.keys)[: WAYS["bfloat16"]]) for pixels in batch
    ]
    result["decoding_images_per_second"] = rate(lambda: list(work.batches(strings(work.keys))), images)
    ready, rows = np.concatenate(decoded), {}
    for name, size in WAYS.items():
        engine = engines.make(name, work.backbone)
        batches = [(part,) for part in np.array_split(ready, max(1, len(ready) // size))]
        list(engine.results(batches))  # kernels are chosen and memory is taken
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        one = ImageWork(work.backbone, work.pairs, work.views, work.keys, size)
        found: list[np.ndarray] = []

        def extract(one: ImageWork = one, engine: Any = engine, found: list[np.ndarray] = found) -> None:
            found.append(compute_shard(one, engine, strings(one.keys)))

        repeated = batches * max(1, images // len(ready))
        result[name] = {
            "batch": size,
            "files_images_per_second": rate(extract, images),
            "model_images_per_second": rate(
                lambda engine=engine, repeated=repeated: list(engine.results(repeated)),
                sum(len(batch[0]) for batch in repeated),
            ),
            "peak_gpu_mb": torch.cuda.max_memory_allocated() // 2**20 if torch.cuda.is_available() else None,
        }
        rows[name] = found[0].reshape(images, -1)
    slower = min(result["decoding_images_per_second"], result["bfloat16"]["model_images_per_second"])
    before, now = (result[name]["files_images_per_second"] for name in WAYS)
    ratios = {"over_batches_of_16": now / before, "share_of_the_slower": now / slower}
    return result | ratios | {"lowest_cosine": lowest_cosine(*rows.values())}


def tuned(folder: Path) -> dict[str, Any]:
    """A training that tunes both backbones on images drawn in each step: a batch ahead, and in turn."""

    def images_per_second(name: str) -> float:
        config = recipe("tiny", {"data.source": "shapes:600", "training.epochs": 4})
        run: RunFolder = pairjepa.train(config, None, folder / name)
        return float(run.metrics()[-1]["images_per_second"])

    with patch.object(inputs, "PIXEL_BYTES", 0):
        ahead = images_per_second("tuned")
        with patch.object(loop, "ahead", lambda work, items, *_, **__: map(work, items)):
            return {"tuned_ahead": ahead, "tuned_in_turn": images_per_second("tuned in turn")}


def agreement(folder: Path) -> dict[str, Any]:
    """Vectors of the same images from `evaluate` and from `Embedder`."""
    run = folder / "tuned"
    pairjepa.evaluate(run, "test", export=folder / "vectors")
    evaluated = EmbeddingSet.load(folder / "vectors")
    pairs = Pairs.open("shapes:600").split("test")
    pictures = [pairs.image(row) for row in range(pairs.n_images)]
    encoded = pairjepa.Embedder.load(run).encode_image(pictures, batch_size=256)
    return {"largest_difference": float(np.abs(encoded - evaluated.image).max())}


def rate(work: Callable[[], object], items: int) -> float:
    """Items a second; a GPU is done when the results are there."""
    start = time.perf_counter()
    work()
    return round(items / (time.perf_counter() - start), 1)


def clip(folder: Path) -> ImageBackbone:
    """The image tower of a CLIP ViT-B/32 of random weights."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    config = CLIPVisionConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, patch_size=32)
    CLIPVisionModel(config).save_pretrained(folder / "clip")
    means = {"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]}
    write_json(folder / "clip" / "preprocessor_config.json", {"size": 224, "crop_size": 224, **means})
    return load_image_backbone(ModelConfig(image=str(folder / "clip")), 0)


def photos(folder: Path, images: int) -> tuple[Pairs, Any]:
    """JPEGs of 640 x 480 smooth pixels under one name each, and what is known of them."""
    (folder / "photos").mkdir()
    random = np.random.default_rng(0)
    for number in range(images):
        coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8))
        coarse.resize((640, 480), Image.Resampling.BICUBIC).save(folder / "photos" / f"{number:05}.jpg")
    rows = [f"{number:05}.jpg,picture {number}" for number in range(images)]
    (folder / "photos" / "captions.csv").write_text("\n".join(["image,caption", *rows]))
    pairs = Pairs.open(folder / "photos")
    return pairs, scan(pairs, folder / "cache")


if __name__ == "__main__":
    sys.exit(main())
