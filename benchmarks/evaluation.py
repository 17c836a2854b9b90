"""Evaluate 1,000 images × 5,000 captions, beside the metric code of CLIP_benchmark and open_clip; and 25 times that.

    python benchmarks/evaluation.py [--small]

The embeddings are generated, 512 wide, with recalls like those of a trained model. Every side is run once on few of
them before it is measured, so that its libraries are loaded and their threads started. The peers get models that hand
out the same arrays, so that nothing but their metric code is measured. They give recalls without intervals:

- CLIP_benchmark (`zeroshot_retrieval.evaluate`): Recall@1, 5 and 10 both ways, in batches of 64, its default, and in
  one batch.
- open_clip (`get_clip_metrics`): Recall@1, 5 and 10, median and mean rank, of pairs. An image with five captions stands
  there five times, and its own copies count against it: 5,000 × 5,000. `pairjepa-repeated` measures the same arrays.
"""

import argparse
import ast
import importlib.util
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sides import Measured, main, needs, ratio

from pairjepa.evaluation.embedding_set import EmbeddingSet
from pairjepa.evaluation.result import evaluate_embeddings as evaluate
from pairjepa.metrics import metrics, retrieve

WIDTH = 512
CAPTIONS = 5
RECALLS = (1, 5, 10)
NOISE = 9
"""Of a caption, in units of its image's length: rsum is then that of a middling model on 1,000 images."""
GROWTH = (2_500, 5_000, 10_000, 25_000)
SMALL = 10
WARM_UP = 100

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


def arguments(parser: argparse.ArgumentParser) -> None:
    """How much is evaluated."""
    parser.add_argument("--small", action="store_true", help="a tenth of the images, to see that it runs")


def all_of_it(given: argparse.Namespace) -> Measured:
    """What `pairjepa evaluate` says of a split but for CCA: metrics, 2,000 draws, cosines, geometry, notes."""
    return _everything(_images(1_000, given))


def recalls(given: argparse.Namespace) -> Measured:
    """Ranks, and what is read off them: what the peers compute."""

    def measured(image: np.ndarray, text: np.ndarray, owner: np.ndarray) -> float:
        return float(metrics(retrieve(image, text, owner))["rsum"])

    return _measure(measured, _images(1_000, given))


def recalls_repeated(given: argparse.Namespace) -> Measured:
    """The same with an image for each caption, as open_clip has them."""

    def measured(image: np.ndarray, text: np.ndarray, owner: np.ndarray) -> float:
        return float(metrics(retrieve(image, text, np.arange(len(text))))["rsum"])

    return _measure(measured, _images(1_000, given), repeated)


def clip_benchmark(given: argparse.Namespace) -> Measured:
    """In batches of 64."""
    return _clip_benchmark(given, 64)


def clip_benchmark_whole(given: argparse.Namespace) -> Measured:
    """In one batch."""
    return _clip_benchmark(given, _images(1_000, given))


def _clip_benchmark(given: argparse.Namespace, batch: int) -> Measured:
    needs("clip_benchmark", "torch", "tqdm")
    os.environ["TQDM_DISABLE"] = "1"
    import torch
    from clip_benchmark.metrics import zeroshot_retrieval

    class Ready:
        """A model whose embeddings are there: what it is given are their rows."""

        def __init__(self, image: np.ndarray, text: np.ndarray) -> None:
            self.encode_image = torch.from_numpy(image).__getitem__
            self.encode_text = torch.from_numpy(text).__getitem__

    def batches(owner: np.ndarray) -> Iterator[tuple[Any, list[list[int]]]]:
        own: list[list[int]] = [[] for _ in range(owner.max() + 1)]
        for caption, image in enumerate(owner):
            own[image].append(caption)
        for start in range(0, len(own), batch):
            rows = torch.arange(start, min(start + batch, len(own)))
            yield rows, [own[row] for row in rows]

    def measured(image: np.ndarray, text: np.ndarray, owner: np.ndarray) -> float:
        found = zeroshot_retrieval.evaluate(
            Ready(image, text), batches(owner), torch.tensor, "cpu", amp=False, recall_k_list=list(RECALLS)
        )
        return 100 * sum(found.values())

    return _measure(measured, _images(1_000, given))


def open_clip(given: argparse.Namespace) -> Measured:
    """With an image for each caption."""
    needs("open_clip_train", "torch")
    import torch

    get_clip_metrics = _function(
        "open_clip_train", "train.py", "get_clip_metrics", {"torch": torch, "np": np}
    )

    def measured(image: np.ndarray, text: np.ndarray, owner: np.ndarray) -> float:
        found = get_clip_metrics(torch.from_numpy(image), torch.from_numpy(text), torch.tensor(100.0))
        return 100 * float(
            sum(found[f"{way}_R@{k}"] for way in ("image_to_text", "text_to_image") for k in RECALLS)
        )

    return _measure(measured, _images(1_000, given), repeated)


def _function(package: str, file: str, name: str, names: dict[str, Any]) -> Callable[..., Any]:
    """One function of a module that cannot be imported: open_clip's imports torchvision, which is not needed here."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    path = Path(next(iter(spec.submodule_search_locations or []))) / file
    found = [
        one
        for one in ast.parse(path.read_text()).body
        if isinstance(one, ast.FunctionDef) and one.name == name
    ]
    exec(compile(ast.Module(found, []), str(path), "exec"), names)
    function: Callable[..., Any] = names[name]
    return function


def _everything(images: int) -> Measured:
    def measured(image: np.ndarray, text: np.ndarray, owner: np.ndarray) -> float:
        embeddings = EmbeddingSet(
            image,
            text,
            owner,
            names=[f"{row}.jpg" for row in range(len(image))],
            captions=[f"caption {row}" for row in range(len(text))],
            split="test",
            run="generated",
        )
        return float(evaluate(embeddings, cca=None)["rsum"])

    return _measure(measured, images)


def _measure(
    measured: Callable[[np.ndarray, np.ndarray, np.ndarray], float],
    images: int,
    make: Callable[[int], Arrays] | None = None,
) -> Measured:
    make = make or generated
    measured(*make(WARM_UP))
    arrays = make(images)
    start = time.perf_counter()
    rsum = measured(*arrays)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "images": len(arrays[0]), "captions": len(arrays[1]), "rsum": rsum}


def generated(images: int) -> Arrays:
    """Unit-norm embeddings, and the owner of each caption; no more memory than they take themselves."""
    random = np.random.default_rng(0)
    image = random.standard_normal((images, WIDTH), np.float32)
    owner = np.repeat(np.arange(images), CAPTIONS)
    text = random.standard_normal((len(owner), WIDTH), np.float32)
    for start in range(0, images, 1_000):
        own = image[start : start + 1_000]
        part = text[CAPTIONS * start : CAPTIONS * (start + len(own))]
        part *= NOISE
        part += np.repeat(own, CAPTIONS, axis=0)
        for rows in (own, part):
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return image, text, owner


def repeated(images: int) -> Arrays:
    """The same with an image for each caption."""
    image, text, owner = generated(images)
    return image[owner], text, owner


def _images(count: int, given: argparse.Namespace) -> int:
    return count // SMALL if given.small else count


def summary(sides: dict[str, Measured], given: argparse.Namespace) -> dict[str, Any]:
    """Ratios to the peers, and the exponent of the growth."""
    ours = {"all": "pairjepa-all", "ranks": "pairjepa-ranks", "repeated": "pairjepa-repeated"}
    peers = [name for name in ("clip_benchmark", "clip_benchmark-one-batch", "open_clip") if name in sides]
    ratios = {
        f"{peer} / {ours[which]}": ratio(sides[peer], sides[ours[which]])
        for peer in peers
        for which in (("all", "ranks", "repeated") if peer == "open_clip" else ("all", "ranks"))
    }
    points = [sides[f"grow-{images}"] for images in GROWTH]
    slope, _ = np.polyfit(
        [math.log(point["images"] * point["captions"]) for point in points],
        [math.log(point["seconds"]) for point in points],
        1,
    )
    return {
        "small": given.small,
        "ratios": ratios,
        "growth": {
            "exponent": round(float(slope), 3),
            "points": [
                {name: point[name] for name in ("images", "captions", "seconds", "peak_rss_mb")}
                for point in points
            ],
        },
        "what": WHAT,
    }


WHAT = {
    "pairjepa-all": "the whole evaluation: recalls, median rank and MRR with intervals, cosines, geometry, notes",
    "pairjepa-ranks": "recalls, median rank and MRR, no intervals",
    "pairjepa-repeated": "the same, an image for each caption (5,000 × 5,000), as open_clip has them",
    "clip_benchmark": "Recall@1, 5 and 10, in batches of 64",
    "clip_benchmark-one-batch": "Recall@1, 5 and 10, in one batch",
    "open_clip": "Recall@1, 5 and 10, median and mean rank, an image for each caption (5,000 × 5,000)",
    "growth": "the whole evaluation; the exponent is that of images × captions; peak memory with the embeddings",
}

SIDES = {
    "pairjepa-all": all_of_it,
    "pairjepa-ranks": recalls,
    "pairjepa-repeated": recalls_repeated,
    "clip_benchmark": clip_benchmark,
    "clip_benchmark-one-batch": clip_benchmark_whole,
    "open_clip": open_clip,
} | {f"grow-{images}": lambda given, images=images: _everything(_images(images, given)) for images in GROWTH}

if __name__ == "__main__":
    sys.exit(main(__doc__, SIDES, arguments, summary))
