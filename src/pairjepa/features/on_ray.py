"""Shards of features, computed by Ray: on the cores of this machine, or on the cluster that RAY_ADDRESS names.

What a shard needs goes out with it (its captions, or where its photographs are), its features come back and are
written here. So the cache needs no disk that the machines share, and has one writer; what comes back is less than the
photographs that were read for it. The backbone goes to each machine once, and each worker keeps it.

Tasks and not actors: a task whose machine is gone is tried again on any that is left, while the calls of an actor wait
until there is a place for that actor. Number of threads, worker and order change no bit: shards and batches are those
of `extract.fill`.
"""

import functools
import pickle
import tempfile
import warnings
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from pairjepa.config import ModelConfig
from pairjepa.errors import PairJEPAError
from pairjepa.features import engines
from pairjepa.features.allocator import keep_freed_memory
from pairjepa.features.encoders import load_image_backbone, load_text_backbone
from pairjepa.features.engines import Engine
from pairjepa.features.ray_cluster import cluster, reason
from pairjepa.features.work import Work, compute_shard

RETRIES = 3
"""How often a shard is tried again whose worker died."""

Shard = tuple[list[str], bytes]
"""Items, and what goes out for them."""


def computed(
    work: Work, shards: Iterable[list[str]]
) -> Generator[tuple[list[str], Float32[np.ndarray, "item ..."]]]:
    """Shards of items and their features, in the order in which they are done.

    Args:
        work: which features; its backbone is on the CPU and in evaluation mode.
        shards: the items of each, taken when there is room for them.

    Raises:
        PairJEPAError: the cluster cannot be reached, its machines have other versions than this one, an image cannot
            be read there, features are not finite, or workers died again and again.
    """
    with cluster() as (ray, elsewhere):
        resources = ray.cluster_resources()
        backbone = ray.put(_packed(work.backbone))
        gpus = 1 if resources.get("GPU") else 0
        for some in _rounds(work, shards, resources["object_store_memory"] / 4):
            with closing(_results(ray, backbone, [data for _, data in some], gpus)) as results:
                for number, features, error in results:
                    if error and elsewhere and work.side == "image":
                        error += (
                            " All machines of the Ray cluster must see the photographs where this one does."
                        )
                    if error:
                        raise PairJEPAError(error)
                    items = some[number][0]
                    yield items, np.frombuffer(features, np.float32).reshape(len(items), *work.item_shape)


def _rounds(work: Work, shards: Iterable[list[str]], room: float) -> Iterator[list[Shard]]:
    """So many shards at a time as `room` bytes hold: Ray keeps what goes out in memory."""
    from ray import cloudpickle

    packed: list[Shard] = []
    size = 0
    for items in shards:
        data = cloudpickle.dumps(work.part(items))  # type: ignore[no-untyped-call]
        packed.append((items, data))
        size += len(data)
        if size >= room:
            yield packed
            packed, size = [], 0
    if packed:
        yield packed


def _results(
    ray: Any, backbone: Any, packed: Sequence[bytes], gpus: int
) -> Generator[tuple[int, bytes, str]]:
    """Number, features and error of each."""
    data = ray.data.from_items(
        [{"number": number, "work": each} for number, each in enumerate(packed)],
        override_num_blocks=len(packed),
    )
    data.context.enable_progress_bars = False
    data.context.print_on_execution_start = False
    with warnings.catch_warnings():
        # Without a limit, Ray Data tries a shard that kills its worker for ever.
        warnings.filterwarnings("ignore", message=".*ray_remote_args")
        done = data.map(
            lambda row: _compute(backbone, row), num_cpus=1, num_gpus=gpus, max_calls=0, max_retries=RETRIES
        )
    try:
        # Whatever is fetched ahead would be lost with this process.
        for table in done.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for row in table.to_pylist():
                yield row["number"], row["features"], row["error"]
    except ray.exceptions.RayError as error:
        raise PairJEPAError(
            f"Ray could not compute all features: {reason(error)}. "
            "What has come back is kept: run the same command again to go on."
        ) from None


def _compute(backbone: Any, row: dict[str, Any]) -> dict[str, Any]:
    """In a worker: one shard. An error that people can mend comes back in words, without a trace-back."""
    try:
        work = pickle.loads(row["work"])  # from the driver, whose code Ray runs here in any case
        network, engine = _ready(backbone, work.side)
        work = replace(work, backbone=network)
        features, error = compute_shard(work, engine, work.keys).tobytes(), ""
    except PairJEPAError as failed:
        features, error = b"", str(failed)
    return {"number": row["number"], "features": features, "error": error}


@functools.lru_cache(maxsize=1)
def _ready(backbone: Any, side: str) -> tuple[Any, Engine]:
    """In a worker: the backbone behind a reference, and its engine."""
    import ray

    torch.set_num_threads(1)  # a worker has one core
    keep_freed_memory()
    network = _unpacked(ray.get(backbone), side)
    if ray.get_gpu_ids():
        network.to("cuda")
    return network, engines.make("torch", network)


def _packed(backbone: Any) -> dict[str, bytes]:
    """The files of a backbone: models of Transformers cannot be pickled."""
    with tempfile.TemporaryDirectory() as name:
        backbone.save(Path(name))
        return {file.name: file.read_bytes() for file in Path(name).iterdir()}


def _unpacked(files: dict[str, bytes], side: str) -> Any:
    with tempfile.TemporaryDirectory() as name:
        for file, data in files.items():
            (Path(name) / file).write_bytes(data)
        load = load_image_backbone if side == "image" else load_text_backbone
        return load(ModelConfig(), 0, folder=Path(name))
