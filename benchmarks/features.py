"""Images of a CLIP ViT-B/32 from JPEG files to vectors: ours, sentence-transformers' `encode`, and a plain loop.

Ours and sentence-transformers in bfloat16, too.

    python benchmarks/features.py IMAGES [--images 256] [--size 2000 1500] [--repeats 5]

IMAGES is a folder of pictures; with --size they are first saved as JPEG files of that width and height. The weights are
random: time does not depend on them. Each side makes a unit vector of each picture, in batches of 32, once the model is
loaded and has seen one batch.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from sides import Measured, main, ratio
from tokenizers import Tokenizer, models

hf: Any = transformers  # its classes are not typed
BATCH = 32
Encode = Callable[[list[str]], np.ndarray]


def _side(of: Callable[[str], Encode]) -> Callable[[argparse.Namespace], Measured]:
    def measured(given: argparse.Namespace) -> Measured:
        paths = [str(path) for path in sorted(given.folder.iterdir())[: given.images + BATCH]]
        with tempfile.TemporaryDirectory() as folder:
            save_clip(Path(folder))
            if given.size:
                paths = [resized(path, given.size, folder) for path in paths]
            encode = of(folder)
            encode(paths[-BATCH:])
            start = time.perf_counter()
            vectors = encode(paths[:-BATCH])
            seconds = time.perf_counter() - start
        lengths = np.linalg.norm(vectors, axis=1)
        if len(vectors) != len(paths) - BATCH or abs(lengths - 1).max() > 0.01:
            sys.exit("a side did not give a unit vector of each picture")
        return {"seconds": seconds, "images_per_second": round(len(vectors) / seconds, 1)}

    return measured


def resized(path: str, size: tuple[int, int], folder: str) -> str:
    """A copy of the picture as a JPEG file of this width and height."""
    copy = str(Path(folder, Path(path).name).with_suffix(".jpg"))
    Image.open(path).convert("RGB").resize(size, Image.Resampling.BICUBIC).save(copy, quality=90)
    return copy


def save_clip(folder: Path) -> None:
    """A CLIP ViT-B/32 of random weights, always the same, with a tokenizer of one word."""
    torch.manual_seed(0)
    hf.CLIPModel(hf.CLIPConfig()).save_pretrained(folder)
    words = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2}
    tokenizer = hf.CLIPTokenizer(tokenizer_object=Tokenizer(models.BPE(words, [])))
    hf.CLIPProcessor(hf.CLIPImageProcessorPil(), tokenizer).save_pretrained(folder)


def ours(folder: str, dtype: torch.dtype | None = None) -> Encode:
    """`Embedder`."""
    from pairjepa import Embedder

    embedder = Embedder.from_pair(folder)
    embedder.autocast = dtype
    return lambda paths: embedder.encode_image(paths, batch_size=BATCH)


def sentence_transformers(folder: str, dtype: torch.dtype = torch.float32) -> Encode:
    """`encode` of paths."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cpu", model_kwargs={"dtype": dtype})
    return lambda paths: model.encode(paths, batch_size=BATCH, normalize_embeddings=True)


def plain(folder: str) -> Encode:
    """A loop around Transformers' processor and model."""
    model, processor = hf.CLIPModel.from_pretrained(folder).eval(), hf.CLIPProcessor.from_pretrained(folder)

    @torch.inference_mode()
    def encode(paths: list[str]) -> np.ndarray:
        rows = []
        for start in range(0, len(paths), BATCH):
            pictures = [Image.open(path).convert("RGB") for path in paths[start : start + BATCH]]
            found = model.get_image_features(**processor(images=pictures, return_tensors="pt")).pooler_output
            rows.append(torch.nn.functional.normalize(found, dim=1).numpy())
        return np.concatenate(rows)

    return encode


SIDES = {
    "ours": _side(ours),
    "ours bfloat16": _side(partial(ours, dtype=torch.bfloat16)),
    "sentence-transformers": _side(sentence_transformers),
    "sentence-transformers bfloat16": _side(partial(sentence_transformers, dtype=torch.bfloat16)),
    "plain": _side(plain),
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Of this benchmark."""
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--size", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"))


if __name__ == "__main__":
    sys.exit(
        main(
            __doc__,
            lambda given: SIDES,
            arguments,
            lambda of, given: {
                f"{name} over {own}": ratio(of[name], of[own])
                for own in list(of)[:2]
                for name in list(of)[2:]
            },
        )
    )
