"""Features computed by Ray: on the cores of this machine, or on the cluster that RAY_ADDRESS names.

What a part needs goes out with it (its captions, or where its photographs are), and its features come back. So the
machines share no disk for them. The backbone goes to each machine once, and each worker keeps it.

Tasks and not actors: a task whose machine is gone is tried again on any that is left, while the calls of an actor wait
until there is a place for that actor. Number of threads, worker and order change no bit: batches are those of
`compute_shard`.
"""

import functools
import tempfile
from collections.abc import Generator, Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from pairjepa.backbones.encoders import load_image_backbone, load_text_backbone
from pairjepa.backbones.pair import PairImage, PairText
from pairjepa.config.settings import ModelConfig
from pairjepa.features import engines
from pairjepa.features.engines import Engine
from pairjepa.features.ray_cluster import cluster, reason
from pairjepa.features.work import Work, compute_shard, strings
from pairjepa.util.errors import PairJEPAError, UsageError
from pairjepa.util.memory import keep_freed_memory

RETRIES = 3
"""How often a part is tried again whose worker died."""

AHEAD = 2
"""Parts that are sent out for each core of the cluster: Ray keeps what waits in memory."""


def computed(
    backbone: Any, parts: Iterable[tuple[Any, Work]]
) -> Generator[tuple[Any, Float32[np.ndarray, "item ..."]]]:
    """Features of the keys of each part, in the order in which they are done.

    Args:
        backbone: what is forwarded, in evaluation mode.
        parts: at most a shard each, with a tag to know them by; taken when there is room for them.

    Raises:
        UsageError: the backbone is a tower of a pretrained pair.
        PairJEPAError: the cluster cannot be reached, its machines have other versions than this one, an image cannot
            be read there, features are not finite, or workers died again and again.
    """
    packed = _packed(backbone)
    with cluster() as (ray, elsewhere):
        resources = ray.cluster_resources()
        gpus = 1 if resources.get("GPU") else 0
        task = ray.remote(num_cpus=1, num_gpus=gpus, max_calls=0, max_retries=RETRIES)(_compute)
        network = [ray.put(packed)]  # in a list, it is sent as a reference
        room, waiting, running = AHEAD * int(resources["CPU"]), iter(parts), dict[Any, Any]()
        while True:
            for tag, work in islice(waiting, room - len(running)):
                running[task.remote(network, work)] = tag
            if not running:
                return
            (done, *_), _ = ray.wait(list(running))
            try:
                features = np.array(ray.get(done))  # a copy, for its own memory is of Ray
            except ray.exceptions.RayError as error:
                raise _failed(error, elsewhere) from None
            yield running.pop(done), features


def _failed(error: Any, elsewhere: bool) -> PairJEPAError:
    cause = getattr(error, "cause", None)
    if not isinstance(cause, PairJEPAError):
        return PairJEPAError(
            f"Ray could not compute all of it: {reason(error)}. "
            "What has come back is kept: run the same command again to go on."
        )
    hint = (
        " All machines of the Ray cluster must see the photographs where this one does." if elsewhere else ""
    )
    return PairJEPAError(f"{cause}{hint if str(cause).startswith('Image ') else ''}")


def _compute(network: list[Any], work: Work) -> Float32[np.ndarray, "item ..."]:
    """In a worker: one part."""
    backbone, engine = _ready(network[0], work.side)
    return compute_shard(replace(work, backbone=backbone), engine, strings(work.keys))  # type: ignore[type-var]


@functools.lru_cache(maxsize=1)
def _ready(reference: Any, side: str) -> tuple[Any, Engine]:
    """In a worker, which has one core: the backbone behind a reference, and its engine."""
    import ray

    torch.set_num_threads(1)
    keep_freed_memory()
    backbone = _unpacked(ray.get(reference), side)
    if ray.get_gpu_ids():
        backbone.to("cuda")
    return backbone, engines.make("torch", backbone)


def _packed(backbone: Any) -> dict[str, bytes]:
    """The files of a backbone: models of Transformers cannot be pickled.

    Raises:
        UsageError: it is a tower of a pretrained pair, which has no files of its own.
    """
    if isinstance(backbone, PairImage | PairText):
        raise UsageError("model.engine must not be ray for a pretrained pair, got ray. Take auto.")
    with tempfile.TemporaryDirectory() as name:
        backbone.save(Path(name))
        return {file.name: file.read_bytes() for file in Path(name).iterdir()}


def _unpacked(files: dict[str, bytes], side: str) -> Any:
    with tempfile.TemporaryDirectory() as name:
        for file, data in files.items():
            (Path(name) / file).write_bytes(data)
        load = load_image_backbone if side == "image" else load_text_backbone
        return load(ModelConfig(), 0, folder=Path(name))
