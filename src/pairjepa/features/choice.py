"""Which engine computes features: none where they are there, else the fastest that agrees with PyTorch."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Float32

from pairjepa.features import engines
from pairjepa.features.cache import FeatureStore
from pairjepa.features.engines import Engine, Inputs, Unconvertible
from pairjepa.features.work import Work
from pairjepa.util.errors import PairJEPAError, first_line
from pairjepa.util.progress import say

LEAST_COSINE = 0.9999
"""How well the features of an engine agree with PyTorch's in float32, each row of the first batches."""

CONVERSION = {"openvino": 5.0, "onnx": 6.0}
"""Seconds that the conversion of EfficientNet-Lite2 takes on two cores. An engine that is not named is tried last."""

WORTH = 5
"""An engine is tried where what is missing would take this many times its conversion with the fastest so far."""

TRIED_BATCHES = 4


class Trial(NamedTuple):
    """What an engine did with the first batches."""

    engine: Engine
    rows: Float32[np.ndarray, "row width"]
    seconds: float
    cosine: float = 1.0
    """The lowest of its rows with PyTorch's."""


@dataclass
class _Known:
    """What was found out about a backbone in this process."""

    engines: dict[str, Engine]
    chosen: str | None = None


_KNOWN: WeakKeyDictionary[Any, _Known] = WeakKeyDictionary()


def open_store(work: Work, engine: str, cache: Path) -> FeatureStore:
    """The store of one engine's features; those of PyTorch have no engine in their key.

    Raises:
        UsageError: there is no such engine.
        PairJEPAError: it is not installed, or the store cannot be written.
    """
    engines.check_engine(engine)
    return FeatureStore(cache, _made_of(work, engine), work.item_shape)


def begun(work: Work, distinct: Sequence[str], cache: Path) -> tuple[str, FeatureStore] | None:
    """The engine and the store that hold most of the items, if any does."""
    held = [(sum(key in store for key in distinct), name, store) for name, store in stores(work, cache)]
    best = max(held, key=lambda one: one[0], default=None)  # of as many, the first
    return best[1:] if best is not None and best[0] else None


def stores(work: Work, cache: Path) -> list[tuple[str, FeatureStore]]:
    """All stores that hold something, each with its engine; nothing is made."""
    begun = {
        name: FeatureStore.begun(cache, _made_of(work, name), work.item_shape) for name in engines.ENGINES
    }
    return [(name, store) for name, store in begun.items() if store is not None]


def named(name: str, work: Work, items: Sequence[str]) -> Engine:
    """The engine of that name, converted, and found to agree with PyTorch on the first batches of `items`.

    Raises:
        UsageError: there is no such engine.
        PairJEPAError: it is not installed, cannot take the backbone, or does not agree.
    """
    engines.check_engine(name)
    if name == "torch":
        return engines.make(name, work.backbone)
    known = _known(work)
    if name not in known.engines:
        batches = _first_batches(work, items)
        try:
            _proven(name, work, batches, _tried(engines.make("torch", work.backbone), batches))
        except Unconvertible as error:
            raise PairJEPAError(
                f"model.engine must compute the {work.side} backbone as PyTorch does, got {name}: {error}. "
                "Take --engine torch, or auto for the fastest that does."
            ) from None
    return known.engines[name]


def fastest(work: Work, items: Sequence[str], begun: str | None = None, expected: int | None = None) -> str:
    """The name of the engine for these items.

    That of the store that is begun, if it works here; PyTorch where a conversion would not pay; else the fastest that
    is installed and agrees. What was measured is said in a line, and holds for this backbone as long as it lives.

    Args:
        work: which features.
        items: those that are missing.
        begun: the engine of the fullest store.
        expected: how many items there will be, if these are but the first.
    """
    count = len(items) if expected is None else expected
    if begun is not None:
        try:
            named(begun, work, items)
            return begun
        except PairJEPAError as error:
            say(f"{work.kind} features: begun with {begun}, which cannot go on. {error}")
    known = _known(work)
    if known.chosen is None:
        if count <= work.shard or torch.cuda.is_available():
            return "torch"
        known.chosen = _measured(work, items, count)
    return known.chosen


def _measured(work: Work, items: Sequence[str], count: int) -> str:
    batches = _first_batches(work, items)
    base = best = _tried(engines.make("torch", work.backbone), batches)
    name, remarks = "torch", []
    shares = count * work.parts / len(base.rows)  # so many times the first batches is all there is to do
    others = [other for other in engines.ENGINES if other != "torch" and engines.installed(other)]
    for other in sorted(others, key=_conversion):
        if best.seconds * shares < WORTH * _conversion(other):
            break
        try:
            trial = _proven(other, work, batches, base)
        except Unconvertible as error:
            remarks.append(f"{other} is passed over, {error}")
            continue
        shown = np.floor(trial.cosine * 1e6) / 1e6
        remarks.append(f"{other} {base.seconds / trial.seconds:.1f} x as fast as torch, cosine ≥ {shown:.6f}")
        if trial.seconds < best.seconds:
            name, best = other, trial
    if remarks:
        say(f"{work.kind} features: engine {name} ({'; '.join(remarks)})")
    return name


def _proven(name: str, work: Work, batches: Sequence[Inputs], base: Trial) -> Trial:
    """Convert, and compare with what PyTorch gave for the same batches.

    Raises:
        Unconvertible: it cannot be converted, or does not agree.
    """
    engine = engines.make(name, work.backbone)
    try:
        trial = _tried(engine, batches)
    except Exception as error:  # what was converted from one shape can fail at another, in every way there is
        raise Unconvertible(first_line(error)) from None
    cosine = _worst_cosine(trial.rows, base.rows)
    if not cosine >= LEAST_COSINE:
        raise Unconvertible(f"its features agree to a cosine of {cosine:.5f}, less than {LEAST_COSINE}")
    _known(work).engines[name] = engine
    return trial._replace(cosine=cosine)


def _tried(engine: Engine, batches: Sequence[Inputs]) -> Trial:
    list(engine.results(batches))  # the first time, memory is allocated and kernels are chosen
    start = time.perf_counter()
    rows = list(engine.results(batches))
    return Trial(engine, np.concatenate(rows), time.perf_counter() - start)


def _first_batches(work: Work, items: Sequence[str]) -> list[Inputs]:
    """Of captions, short ones and long ones: they are sorted by length."""
    some = items[: work.batch * max(1, TRIED_BATCHES // work.parts)]
    with closing(work.batches(some)) as batches:
        return [batch for _, batch in batches]


def _worst_cosine(one: Float32[np.ndarray, "row width"], other: Float32[np.ndarray, "row width"]) -> float:
    """The lowest cosine of two rows of the same number; nan if a feature is no number."""
    one, other = one.astype(np.float64), other.astype(np.float64)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    equal = (one == other).all(1)  # two rows of zeros have no angle
    return float(np.where(equal, 1.0, (one * other).sum(1) / np.where(norms == 0, np.inf, norms)).min())


def _made_of(work: Work, engine: str) -> dict[str, Any]:
    alike = engine == "torch" or engine in engines.ELSEWHERE
    return work.made_of() if alike else work.made_of() | {"engine": engine}


def _known(work: Work) -> _Known:
    return _KNOWN.setdefault(work.backbone, _Known({}))


def _conversion(engine: str) -> float:
    return CONVERSION.get(engine, 60.0)
