"""The evaluation of generated embeddings, 512 wide, five captions an image: time and memory as the images grow.

    python benchmarks/evaluation.py [--only 1000]

The recalls are like those of a trained model. Each side is run once on 100 images before it is measured, so that its
libraries are loaded. `recalls` has no intervals: what other metric code computes.
"""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from sides import Measured, main

from pairjepa.evaluation.embedding_set import EmbeddingSet
from pairjepa.evaluation.result import evaluate_embeddings
from pairjepa.metrics import metrics, retrieve

WIDTH, CAPTIONS, WARM_UP = 512, 5, 100
NOISE = 9
"""Of a caption, in units of its image's length: rsum is then that of a middling model on 1,000 images."""
IMAGES = (1_000, 2_500, 5_000, 10_000, 25_000)


def generated(images: int) -> EmbeddingSet:
    """Unit-norm embeddings of so many images."""
    random = np.random.default_rng(0)
    image = random.standard_normal((images, WIDTH), np.float32)
    owner = np.repeat(np.arange(images), CAPTIONS)
    text = NOISE * random.standard_normal((len(owner), WIDTH), np.float32)
    for start in range(0, images, 1_000):
        text[CAPTIONS * start : CAPTIONS * (start + 1_000)] += image[start : start + 1_000].repeat(
            CAPTIONS, 0
        )
    for rows in (image, text):
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    names = [f"{row}.jpg" for row in range(images)]
    return EmbeddingSet(
        image, text, owner, names=names, captions=[*map(str, range(len(text)))], split="test", run="made"
    )


def everything(one: EmbeddingSet) -> float:
    """What `pairjepa evaluate` says of a split but for CCA."""
    return float(evaluate_embeddings(one, cca=None)["rsum"])


def recalls(one: EmbeddingSet) -> float:
    """Ranks, and what is read off them."""
    return float(metrics(retrieve(one.image, one.text, one.owner))["rsum"])


def side(measure: Callable[[EmbeddingSet], float], images: int, given: argparse.Namespace) -> Measured:
    """One side."""
    measure(generated(WARM_UP))
    made, start = generated(images), time.perf_counter()
    rsum = measure(made)
    return {"seconds": time.perf_counter() - start, "images": images, "rsum": rsum}


def summary(sides: dict[str, Measured], given: argparse.Namespace) -> dict[str, Any]:
    """The exponent of time over images × captions."""
    size, seconds = zip(*((one["images"], one["seconds"]) for one in list(sides.values())[2:]), strict=True)
    return {"exponent": round(float(np.polyfit(2 * np.log(size), np.log(seconds), 1)[0]), 2)}


SIDES = {"recalls": partial(side, recalls, IMAGES[0])}
SIDES |= {str(images): partial(side, everything, images) for images in IMAGES}

if __name__ == "__main__":
    sys.exit(main(__doc__, SIDES, lambda parser: None, summary))
