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
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float32

from pairjepa.backbones.encoders import load_image_backbone, load_text_backbone
from pairjepa.config.settings import ModelConfig
from pairjepa.features import engines
from pairjepa.features.engines import Engine
from pairjepa.features.ray_cluster import cluster, reason
from pairjepa.features.work import Work, compute_shard
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.memory import keep_freed_memory

RETRIES = 3
"""How often a shard is tried again whose worker died."""

T = TypeVar("T")


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
        from ray import cloudpickle

        resources = ray.cluster_resources()
        compute = functools.partial(_compute, ray.put(_packed(work.backbone)))
        packed = ((items, cloudpickle.dumps(work.part(items))) for items in shards)  # type: ignore[no-untyped-call]
        for some in rounds(packed, resources["object_store_memory"] / 4):
            with closing(results(ray, compute, [data for _, data in some])) as done:
                for number, features, error in done:
                    if error and elsewhere and work.side == "image":
                        error += (
                            " All machines of the Ray cluster must see the photographs where this one does."
                        )
                    if error:
                        raise PairJEPAError(error)
                    items = some[number][0]
                    yield items, np.frombuffer(features, np.float32).reshape(len(items), *work.item_shape)


def rounds(packed: Iterable[tuple[T, bytes]], room: float) -> Iterator[list[tuple[T, bytes]]]:
    """So many at a time as `room` bytes hold: Ray keeps what goes out in memory."""
    some: list[tuple[T, bytes]] = []
    size = 0
    for item, data in packed:
        some.append((item, data))
        size += len(data)
        if size >= room:
            yield some
            some, size = [], 0
    if some:
        yield some


def results(
    ray: Any, compute: Callable[[bytes], bytes], packed: Sequence[bytes]
) -> Generator[tuple[int, bytes, str]]:
    """Number, result and error of each, in the order in which they are done.

    Args:
        ray: connected.
        compute: what is done in a worker; an error that people can mend is a `PairJEPAError`.
        packed: what goes out.
    """
    data = ray.data.from_items(
        [{"number": number, "work": each} for number, each in enumerate(packed)],
        override_num_blocks=len(packed),
    )
    data.context.enable_progress_bars = False
    data.context.print_on_execution_start = False
    gpus = 1 if ray.cluster_resources().get("GPU") else 0
    with warnings.catch_warnings():
        # Without a limit, Ray Data tries a shard that kills its worker for ever.
        warnings.filterwarnings("ignore", message=".*ray_remote_args")
        done = data.map(
            lambda row: _caught(compute, row), num_cpus=1, num_gpus=gpus, max_calls=0, max_retries=RETRIES
        )
    try:
        # Whatever is fetched ahead would be lost with this process.
        for table in done.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for row in table.to_pylist():
                yield row["number"], row["result"], row["error"]
    except ray.exceptions.RayError as error:
        raise PairJEPAError(
            f"Ray could not compute all of it: {reason(error)}. "
            "What has come back is kept: run the same command again to go on."
        ) from None


def _caught(compute: Callable[[bytes], bytes], row: dict[str, Any]) -> dict[str, Any]:
    """In a worker: an error that people can mend comes back in words, without a trace-back."""
    try:
        result, error = compute(row["work"]), ""
    except PairJEPAError as failed:
        result, error = b"", str(failed)
    return {"number": row["number"], "result": result, "error": error}


def one_core() -> None:
    """In a worker, which has one."""
    torch.set_num_threads(1)
    keep_freed_memory()


def _compute(backbone: Any, data: bytes) -> bytes:
    """In a worker: one shard."""
    work = pickle.loads(data)  # from the driver, whose code Ray runs here in any case
    network, engine = _ready(backbone, work.side)
    work = replace(work, backbone=network)
    return compute_shard(work, engine, work.keys).tobytes()


@functools.lru_cache(maxsize=1)
def _ready(backbone: Any, side: str) -> tuple[Any, Engine]:
    """In a worker: the backbone behind a reference, and its engine."""
    import ray

    one_core()
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
