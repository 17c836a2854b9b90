"""Forward a frozen backbone over all images or captions, once, into the cache."""

from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from pairjepa.backbones.device import best_device
from pairjepa.features.cache import FeatureStore, FeatureTable
from pairjepa.features.engines import ENGINES, Engine, check_engine, choice
from pairjepa.features.work import Interrupted, Work, compute_shard, strings
from pairjepa.util.lock import claimed
from pairjepa.util.memory import keep_freed_memory
from pairjepa.util.progress import Progress, progress, say


def fill(work: Work, cache: Path, engine: str) -> FeatureTable:
    """Compute what is missing, and give the rows of all `work.keys`: (images, views, width) or (captions, width).

    Items of the same bytes are forwarded once. Stopped at any moment and called again, it goes on, and ends with the
    same bits: what is missing is computed in the same shards and batches, by the same engine.

    Args:
        work: which features.
        cache: root of the cache.
        engine: one of `engines.ENGINES`, `ray`, or `auto`: see `choice.choose`.

    Raises:
        UsageError: there is no such engine.
        PairJEPAError: an image cannot be read any more, features are not finite, the cache cannot be written, or a
            named engine is not installed or does not compute what PyTorch does.
    """
    return compute(work, cache, engine).table(work.keys)


def compute(work: Work, cache: Path, engine: str, part: tuple[int, int] = (0, 1)) -> FeatureStore:
    """Compute what is missing, shard by shard in the order of `work.keys`.

    Args:
        work: which features.
        cache: root of the cache.
        engine: as of `fill`.
        part: (1, 4) computes every fourth shard from the second on: three other processes compute the others.

    Raises:
        UsageError: there is no such engine.
        PairJEPAError: as `fill`.
    """
    label, unit = f"{work.kind} features", "images" if work.side == "image" else "captions"
    named = engine not in ("auto", *choice.OF_0_1)
    found = None if named else choice.begun(work, cache)
    if found is None:
        name = engine if named else choice.choose(work, len(np.unique(work.keys)))
        if name not in ENGINES:
            check_engine(name)
        found = name, FeatureStore(cache, choice.made_of(work, name), work.item_shape)
    name, store = found
    held = store.holds(work.keys)
    if held.all():
        return store
    distinct = list(dict.fromkeys(strings(work.keys)))
    missing = list(dict.fromkeys(strings(work.keys[~held])))
    if len(missing) < len(distinct):
        copies = len(work.keys) - len(distinct)
        why = f"; {copies:,} of {len(work.keys):,} {unit} are copies" if copies else ""
        say(f"{label}: {len(distinct) - len(missing):,} of {len(distinct):,} cached{why}")
    check_engine(name)
    with _still(work.backbone, name):
        computer = None
        if name != "ray":
            used, computer = choice.ready(name, work, missing, named)
            if used != name:
                return compute(work, cache, used, part)
        size = work.shard
        left = [
            distinct[start : start + size] for start in range(part[0] * size, len(distinct), part[1] * size)
        ]
        with (
            progress(label, len(missing) // part[1], unit) as bar,
            closing(_computed(work, computer, left, set(missing), store, bar)) as shards,
        ):
            for items, features in shards:
                store.write(items, features)
    return store


def _computed(
    work: Work,
    engine: Engine | None,
    left: list[list[str]],
    missing: set[str],
    store: FeatureStore,
    bar: Progress,
) -> Generator[tuple[list[str], Float[np.ndarray, "item ..."]]]:
    """Shard after shard with its features, by this engine or by Ray, each shard locked until it is written.

    What another process computes is left for the end, and waited for: it may be killed.
    """
    while left:
        shards, left = left, []
        with ExitStack() as locks:
            yield from _forwarded(work, engine, _free(shards, left, missing, store, bar, locks), bar)
        if left:
            with claimed(store.lock_file(left[0]), wait=bar.label):
                pass


def _free(
    shards: list[list[str]],
    busy: list[list[str]],
    missing: set[str],
    store: FeatureStore,
    bar: Progress,
    locks: ExitStack,
) -> Iterator[tuple[ExitStack, list[str]]]:
    """What is missing of each shard, and its lock, to be closed; `busy` gets the shards that others compute."""
    for shard in shards:
        before = [item for item in shard if item in missing]
        if not before:
            continue
        lock = locks.enter_context(ExitStack())
        free = lock.enter_context(claimed(store.lock_file(shard)))
        missing -= store.refresh()
        items = [item for item in before if item in missing]
        bar.advance(len(before) - len(items))
        if items and free:
            yield lock, items
            continue
        lock.close()
        if items:
            busy.append(shard)


def _forwarded(
    work: Work, engine: Engine | None, free: Iterator[tuple[ExitStack, list[str]]], bar: Progress
) -> Generator[tuple[list[str], Float[np.ndarray, "item ..."]]]:
    if engine is not None:
        for lock, items in free:
            with lock:
                try:
                    features = compute_shard(work, engine, items, bar.advance)
                except Interrupted as stopped:
                    yield stopped.items, stopped.features.reshape(-1, *work.item_shape)
                    raise
                yield items, features
        return
    from pairjepa.features import on_ray

    parts = (((lock, items), work.part(items)) for lock, items in free)
    with closing(on_ray.computed(work.backbone, parts)) as done:
        for (lock, items), features in done:
            with lock:
                bar.advance(len(items))
                yield items, features


@contextmanager
def _still(backbone: nn.Module, engine: str) -> Iterator[None]:
    """The backbone in evaluation mode, where the engine takes it; afterwards as it was."""
    keep_freed_memory()
    training, home = backbone.training, next(backbone.parameters()).device
    elsewhere = {"onnx": home, "ray": torch.device("cpu")}
    backbone.eval().to(elsewhere.get(engine) or best_device())
    try:
        yield
    finally:
        backbone.train(training).to(home)
