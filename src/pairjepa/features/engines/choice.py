"""Which engine computes some features, and whether it computes what PyTorch does."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from torch import nn

from pairjepa.backbones.device import best_device, bfloat16_pays
from pairjepa.backbones.vectors import VectorImages
from pairjepa.features import engines
from pairjepa.features.cache import FeatureStore
from pairjepa.features.engines import Engine, Unconvertible
from pairjepa.features.work import Work
from pairjepa.util.errors import PairJEPAError, first_line
from pairjepa.util.progress import say

LEAST_COSINE = {"onnx": 0.9999, "bfloat16": 0.999}
"""How well the features of an engine agree with PyTorch's in float32, each row of the first batch."""

FEW = 512
"""Images that PyTorch has forwarded before a graph of them is made."""

OF_0_1 = ("openvino",)
"""Engines whose features may lie in the cache; they are read, and no more are made."""


def choose(work: Work, count: int) -> str:
    """The engine of `auto` for so many items.

    On a CPU, ONNX Runtime is twice as fast as PyTorch with convolutions, whose layers it fuses, and no faster with
    transformers, which bfloat16 suits: two to three times as fast where the CPU computes it by tiles (AMX).
    """
    if isinstance(work.backbone, VectorImages):
        return "torch"
    device = best_device()
    if device.type == "cuda":
        return "bfloat16"
    if count <= FEW or device.type != "cpu":
        return "torch"
    if bfloat16_pays(device) and _is_transformer(work.backbone):
        return "bfloat16"
    return "onnx" if work.side == "image" and engines.installed("onnx") else "torch"


def _is_transformer(backbone: nn.Module) -> bool:
    """Matrix products all through; the one convolution of an image tower cuts the picture into patches."""
    convolutions = sum(isinstance(module, nn.Conv1d | nn.Conv2d) for module in backbone.modules())
    return convolutions <= 1 and any(isinstance(module, nn.Linear) for module in backbone.modules())


def begun(work: Work, cache: Path) -> tuple[str, FeatureStore] | None:
    """The engine that `auto` goes on with, and its store: the fullest, if it is installed or nothing is missing."""
    held = [(store.holds(work.keys).sum(), name, store) for name, store in stores(work, cache).items()]
    if not held:
        return None
    count, name, store = max(held, key=lambda one: one[0])  # of as many, the first
    installed = name in engines.ENGINES and engines.installed(name)
    return (name, store) if count == len(work.keys) or (count and installed) else None


def ready(name: str, work: Work, items: Sequence[str], named: bool) -> tuple[str, Engine]:
    """An engine that agrees with PyTorch on the first batch of `items`, and its name.

    Args:
        name: which.
        work: which features.
        items: those that are missing.
        named: whether someone asked for it; else PyTorch takes its place where it does not agree, which is said.

    Raises:
        PairJEPAError: the named one cannot take the backbone, or does not agree.
    """
    try:
        return name, _agreeing(name, work, items)
    except Unconvertible as error:
        if named:
            raise PairJEPAError(
                f"model.engine must compute the {work.side} backbone as PyTorch does, got {name}: {error}. "
                "Take --engine torch, or auto for one that does."
            ) from None
        say(
            f"{work.kind} features: engine torch, for {name} does not compute this backbone as it does: {error}"
        )
        return "torch", engines.make("torch", work.backbone)


def _agreeing(name: str, work: Work, items: Sequence[str]) -> Engine:
    torch_engine = engines.make("torch", work.backbone)
    if name == "torch":
        return torch_engine
    engine = engines.make(name, work.backbone)
    with closing(work.batches(items[: work.batch])) as batches:
        inputs = [batch for _, batch in batches]
    try:
        found = np.concatenate(list(engine.results(inputs)))
    except Exception as error:  # what was converted from one shape can fail at another, in every way there is
        raise Unconvertible(first_line(error)) from None
    cosine = lowest_cosine(found, np.concatenate(list(torch_engine.results(inputs))))
    if not cosine >= LEAST_COSINE[name]:
        raise Unconvertible(f"its features agree to a cosine of {cosine:.5f}, less than {LEAST_COSINE[name]}")
    return engine


def stores(work: Work, cache: Path) -> dict[str, FeatureStore]:
    """All stores that hold something, by engine; nothing is made."""
    names = (*engines.ENGINES, *OF_0_1)
    begun = {name: FeatureStore.begun(cache, made_of(work, name), work.item_shape) for name in names}
    return {name: store for name, store in begun.items() if store is not None}


def lowest_cosine(one: Float32[np.ndarray, "row width"], other: Float32[np.ndarray, "row width"]) -> float:
    """The lowest cosine of two rows of the same number; nan if a feature is no number."""
    one, other = one.astype(np.float64), other.astype(np.float64)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    equal = (one == other).all(1)  # two rows of zeros have no angle
    return float(np.where(equal, 1.0, (one * other).sum(1) / np.where(norms == 0, np.inf, norms)).min())


def made_of(work: Work, engine: str) -> dict[str, object]:
    """What an engine's features depend on; those of PyTorch have no engine in their key."""
    alike = engine == "torch" or engine in engines.ELSEWHERE
    return work.identity if alike else work.identity | {"engine": engine}
