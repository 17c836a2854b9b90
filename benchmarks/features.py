"""Features from JPEG files and captions, engine by engine, beside a naive loop.

    python benchmarks/features.py DATA --image IMAGE_MODEL --text TEXT_MODEL [--images 512] [--captions 4096]

- naive: the Transformers model as it comes and its own image processor with PIL, 64 pictures at a time, one view;
  captions in their order, 64 at a time, padded to 32 tokens.
- torch, onnx: `image_features` with one engine, from files to the cache: `seconds` with the same one view,
  `pipeline_seconds` with the default views; `raw_seconds` is the engine alone on pictures that lie ready in memory.
  A conversion is not counted; it stands in `conversion_seconds`. The same for captions, `text-…`.
"""

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sides import Measured, main, needs, ratio

from pairjepa.backbones.encoders import load_image_backbone, load_text_backbone
from pairjepa.backbones.loading import quiet
from pairjepa.config.settings import ModelConfig
from pairjepa.features import engines
from pairjepa.features.engines import choice
from pairjepa.features.extract import image_features, text_features
from pairjepa.features.work import ImageWork, TextWork, Work
from pairjepa.pairs import Pairs
from pairjepa.pairs.scan import scan
from pairjepa.util.memory import keep_freed_memory

NAIVE_BATCH = 64
PADDED = 32
ONE_VIEW = ("centre",)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Data, models, and how much of it."""
    parser.add_argument("data", help="pairs with JPEG files")
    parser.add_argument("--image", required=True, help="folder of the image model")
    parser.add_argument("--text", required=True, help="folder of the text model")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--captions", type=int, default=4096)


def naive_images(given: argparse.Namespace) -> Measured:
    """One picture after the other, 64 forwarded together, all in the layout that PyTorch gives them."""
    from transformers import AutoImageProcessor, AutoModel

    pairs = _pairs(given)
    stages = load_image_backbone(ModelConfig(image=given.image), 0).stages
    with quiet():
        processor: Any = AutoImageProcessor.from_pretrained(given.image, backend="pil")
        model = AutoModel.from_pretrained(given.image, dtype=torch.float32).eval()

    def forward(rows: range) -> Any:
        pictures = [Image.open(io.BytesIO(pairs.read_bytes(row))).convert("RGB") for row in rows]
        output = model(**processor(pictures, return_tensors="pt"), output_hidden_states=True)
        states = [output.hidden_states[stage].mean((2, 3)) for stage in stages]
        return torch.cat([output.pooler_output.flatten(1), *states], 1).numpy()

    with torch.inference_mode():
        forward(range(2))
        start = time.perf_counter()
        for first in range(0, pairs.n_images, NAIVE_BATCH):
            forward(range(first, min(first + NAIVE_BATCH, pairs.n_images)))
        return _timed(time.perf_counter() - start, pairs.n_images)


def images(engine: str) -> Callable[[argparse.Namespace], Measured]:
    """`image_features` with one engine."""

    def measured(given: argparse.Namespace) -> Measured:
        needs(*engines.ENGINES[engine])
        pairs = _pairs(given)
        backbone = load_image_backbone(ModelConfig(image=given.image), 0)
        with tempfile.TemporaryDirectory() as folder:
            facts = scan(pairs, Path(folder))
            views = ModelConfig().image_views
            work = ImageWork.of(backbone, pairs, facts, views)
            found = _engine(engine, work)
            one = _seconds(
                lambda: image_features(backbone, pairs, facts, ONE_VIEW, Path(folder) / "one", engine)
            )
            pipeline = _seconds(
                lambda: image_features(backbone, pairs, facts, views, Path(folder) / "all", engine)
            )
        return _timed(one, pairs.n_images) | {"pipeline_seconds": pipeline} | found(work)

    return measured


def naive_captions(given: argparse.Namespace) -> Measured:
    """In their order, all padded to 32 tokens."""
    from transformers import AutoModel, AutoTokenizer

    captions = _captions(given)
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(given.text)
        model = AutoModel.from_pretrained(given.text, dtype=torch.float32).eval()

    def forward(some: list[str]) -> Any:
        tokens = tokenizer(
            some, padding="max_length", truncation=True, max_length=PADDED, return_tensors="pt"
        )
        weight = tokens["attention_mask"][..., None]
        output = model(**tokens, output_hidden_states=True)
        middle = output.hidden_states[(len(output.hidden_states) - 1) // 2]
        pooled = [(state * weight).sum(1) / weight.sum(1) for state in (output.last_hidden_state, middle)]
        return torch.cat(pooled, 1).numpy()

    with torch.inference_mode():
        forward(captions[:2])
        start = time.perf_counter()
        for first in range(0, len(captions), NAIVE_BATCH):
            forward(captions[first : first + NAIVE_BATCH])
        return _timed(time.perf_counter() - start, len(captions))


def captions(engine: str) -> Callable[[argparse.Namespace], Measured]:
    """`text_features` with one engine."""

    def measured(given: argparse.Namespace) -> Measured:
        needs(*engines.ENGINES[engine])
        texts = _captions(given)
        backbone = load_text_backbone(ModelConfig(text=given.text), 0)
        work = TextWork.of(backbone, texts)
        found = _engine(engine, work)
        with tempfile.TemporaryDirectory() as folder:
            seconds = _seconds(lambda: text_features(backbone, texts, Path(folder), engine))
        return _timed(seconds, len(texts)) | {"pipeline_seconds": seconds} | found(work)

    return measured


SIDES: dict[str, Callable[[argparse.Namespace], Measured]] = {
    "naive": naive_images,
    **{engine: images(engine) for engine in engines.ENGINES},
    "text-naive": naive_captions,
    **{f"text-{engine}": captions(engine) for engine in engines.ENGINES},
}


def summary(sides: dict[str, Measured], given: argparse.Namespace) -> dict[str, Any]:
    """How many times as fast, and which share of the engine's raw rate a whole pipeline reaches."""
    ratios: dict[str, float] = {}
    for prefix in ("", "text-"):
        for engine in engines.ENGINES:
            if (name := prefix + engine) in sides:
                ratios[f"{prefix}naive_to_{engine}"] = ratio(sides[f"{prefix}naive"], sides[name])
                share = sides[name]["raw_seconds"] / sides[name]["pipeline_seconds"]
                ratios[f"{name}_share_of_raw"] = round(share, 3)
    return {
        "ratios": ratios,
        "image_model": Path(given.image).name,
        "text_model": Path(given.text).name,
        "images": given.images,
        "captions": given.captions,
    }


def _engine(name: str, work: Work) -> Callable[[Work], Measured]:
    """Convert now; the answer measures the engine alone."""
    keep_freed_memory()
    start = time.perf_counter()
    _, engine = choice.ready(name, work, work.keys, named=True)
    conversion = 0.0 if name == "torch" else time.perf_counter() - start

    def raw(work: Work) -> Measured:
        batches = [batch for _, batch in work.batches(list(dict.fromkeys(work.keys)))]
        list(engine.results(batches[:4]))
        seconds = _seconds(lambda: list(engine.results(batches)))
        return {"raw_seconds": seconds, "conversion_seconds": conversion}

    return raw


def _pairs(given: argparse.Namespace) -> Pairs:
    pairs = Pairs.open(given.data)
    return pairs.take(np.arange(min(given.images, pairs.n_images)))


def _captions(given: argparse.Namespace) -> list[str]:
    """Distinct ones, as they come."""
    texts: list[str] = Pairs.open(given.data).captions.to_pylist()
    return list(dict.fromkeys(texts))[: given.captions]


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _timed(seconds: float, items: int) -> Measured:
    return {"seconds": seconds, "items": items, "a_second": items / seconds}


if __name__ == "__main__":
    sys.exit(main(__doc__, SIDES, arguments, summary))
