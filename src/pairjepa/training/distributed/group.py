"""The processes of one training: who is there, what they tell each other, and what is said when one is gone."""

import contextlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib import metadata
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from pairjepa.model.sharded import in_pieces
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.progress import say

COMING = timedelta(minutes=5)
"""Until all processes have come."""
ANSWER = timedelta(minutes=10)
"""Until a process answers within a step; one that has ended is seen at once."""
WORK = timedelta(days=7)
"""Until the others have done what one of them does for all, such as the features."""
BUCKET = 1 << 24
"""Numbers that are summed over the processes at once."""
ALIKE = ("pairjepa", "torch", "transformers", "numpy")
_FAILED = "pairjepa/failed"


@dataclass(frozen=True)
class Group:
    """This process and those that train with it. Alone, nothing here does or costs anything."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    store: Any = None
    """Where processes leave word for each other, even as they fail."""
    patient: Any = None
    """The process group of what may take long."""

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    @contextlib.contextmanager
    def turns(self) -> Iterator[None]:
        """A block that the first process goes through alone, then one of each machine, then the others.

        What one leaves in the cache or in the run folder, the next ones find.
        """
        turn = 0 if self.first else 1 if self.local_rank == 0 else 2
        for _ in range(turn):
            self.meet()
        yield
        for _ in range(3 - turn):
            self.meet()

    def meet(self) -> None:
        """Wait for all, however long they work."""
        self.add([0.0])

    def add(self, numbers: list[float]) -> list[float]:
        """Sums over the processes, however long they work."""
        if self.size == 1:
            return numbers
        total = torch.tensor(numbers, dtype=torch.float64)
        with self._partners():
            dist.all_reduce(total, group=self.patient)
        return total.tolist()

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag whether it is up in any process."""
        return tuple(count > 0 for count in self.add([float(flag) for flag in flags]))

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of the processes' tensors, with gradient."""
        if self.size == 1:
            return tensor
        return _Sum.apply(tensor, self)  # type: ignore[no-untyped-call]

    def gather(self, tensor: Tensor, counts: Sequence[int]) -> Tensor:
        """The rows of all processes, one process after the other, with gradient.

        Args:
            tensor: this process's rows.
            counts: rows of each process.
        """
        if self.size == 1:
            return tensor
        return _Gather.apply(tensor, counts, self)  # type: ignore[no-untyped-call]

    def most(self, number: int) -> int:
        """The largest of the processes' numbers."""
        if self.size == 1:
            return number
        largest = torch.tensor(number)
        with self._partners():
            dist.all_reduce(largest, dist.ReduceOp.MAX)
        return int(largest)

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum every gradient over the processes, in place; FSDP has brought those of its parameters together."""
        if self.size == 1:
            return
        waiting: list[Tensor] = []
        for parameter in parameters:
            if parameter.grad is None:
                continue  # in all processes: they go through the same graph
            if in_pieces(parameter):
                parameter.grad.mul_(self.size)  # FSDP has made the mean
                continue
            fits = not waiting or (
                waiting[0].dtype == parameter.grad.dtype
                and sum(map(torch.numel, waiting)) + parameter.grad.numel() <= BUCKET
            )
            if not fits:
                self._add_in_place(waiting)
                waiting = []
            waiting.append(parameter.grad)
        if waiting:
            self._add_in_place(waiting)

    def _add_in_place(self, tensors: list[Tensor]) -> None:
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with self._partners():
            dist.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.view(tensor.shape))

    @torch.no_grad()
    def share_weights(self, module: nn.Module) -> None:
        """Give all processes the weights and statistics of the first."""
        if self.size == 1:
            return
        for tensor in module.state_dict().values():
            copy = tensor.contiguous()
            with self._partners():
                dist.broadcast(copy, 0)
            tensor.copy_(copy)

    @contextlib.contextmanager
    def _partners(self) -> Iterator[None]:
        """Around what needs the others.

        Raises:
            PairJEPAError: one of them has ended or does not answer.
        """
        try:
            yield
        except RuntimeError as error:  # whatever gloo or NCCL raises
            raise PartnerError(self._why(error)) from None

    def _why(self, error: RuntimeError) -> str:
        again = "Run the same command again to go on from the last checkpoint."
        with contextlib.suppress(Exception):  # the store may be gone with the process that held it
            for _ in range(10):  # one that fails leaves word, but it may be about to
                if self.store.check([_FAILED]):
                    return f"{self.store.get(_FAILED).decode()} {again}"
                time.sleep(0.1)
        return (
            f"Another process of this training has ended or does not answer ({_first_line(error)}). {again}"
        )


class PartnerError(PairJEPAError):
    """Another process has failed, which says why itself."""


ALONE = Group()
_current = ALONE


def current() -> Group:
    """The group that this process trains in."""
    return _current


@contextlib.contextmanager
def joined() -> Iterator[Group]:
    """Meet the processes that were started with this one, and part from them at the end.

    `torchrun` and `accelerate launch` say who they are by `RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `MASTER_ADDR` and
    `MASTER_PORT`. A group that stands already is used. Only the first process speaks, but any may fail aloud.

    Raises:
        PairJEPAError: processes do not come, or have other versions of what computes.
    """
    global _current
    if _current.size > 1:
        yield _current
        return
    group, ours = _meet()
    _current = group
    try:
        with contextlib.nullcontext() if group.first else _silent():
            yield group
            group.meet()
    except BaseException as error:
        if not isinstance(error, PartnerError):
            with contextlib.suppress(Exception):
                words = "was interrupted" if isinstance(error, KeyboardInterrupt) else f"has failed: {error}"
                group.store.set(_FAILED, f"Process {group.rank} {words}{'' if words.endswith('.') else '.'}")
        raise
    finally:
        _current = ALONE
    if ours:
        dist.destroy_process_group()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Nothing to stderr: the first process says it."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        yield


def _meet() -> tuple[Group, bool]:
    """The group, and whether it was made here."""
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    ours = not dist.is_initialized()
    if torch.cuda.is_available():
        if local_rank >= torch.cuda.device_count():
            raise PairJEPAError(
                f"A machine must have a GPU for each of its processes, got {torch.cuda.device_count()} for process "
                f"{local_rank + 1}. Start fewer, or hide the GPUs from all of them (CUDA_VISIBLE_DEVICES=)."
            )
        torch.cuda.set_device(local_rank)
    if ours:
        try:
            store, rank, size = next(rendezvous("env://", timeout=COMING))
            store = PrefixStore("pairjepa", store)
            _check_alike(store, rank, size)
            # gloo for numbers on the CPU, also where weights are on GPUs
            backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
            dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=ANSWER)
        except (RuntimeError, ValueError) as error:
            raise PairJEPAError(
                f"All processes of a training must meet within {COMING.seconds // 60} minutes, "
                f"got: {_first_line(error)}. "
                "Start them by torchrun or accelerate launch, with the same number of processes and the same address "
                "on every machine."
            ) from None
    else:
        store = dist.distributed_c10d._get_default_store()
    rank, size = dist.get_rank(), dist.get_world_size()
    if rank == 0:
        say(f"{size} processes train together.")
    return Group(rank, size, local_rank, store, dist.new_group(backend="gloo", timeout=WORK)), ours


def _check_alike(store: Any, rank: int, size: int) -> None:
    """Raise `PairJEPAError` if the processes run other versions of what computes."""
    store.set(f"versions/{rank}", json.dumps(versions()))
    found = [json.loads(store.get(f"versions/{other}")) for other in range(size)]
    for other, theirs in enumerate(found):
        for name, version in theirs.items():
            if version != found[0].get(name):
                raise PairJEPAError(
                    f"All processes of a training must have the same version of {name}, got {found[0].get(name)} in "
                    f"process 0 and {version} in process {other}. Install the same versions on every machine."
                )


def versions() -> dict[str, str]:
    """Of what computes; a build for GPUs and one for CPUs are the same version."""
    return {name: metadata.version(name).partition("+")[0] for name in ALIKE}


def _first_line(error: Exception) -> str:
    """What went wrong, without where in the library's source and what it may come from."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return re.sub(r"^\[[^\]]*\.\w+:\d+\]\s*", "", line).split(". ")[0].rstrip(".")[:160]


class _Sum(torch.autograd.Function):
    """Sum over the processes; its gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, group: Group) -> Tensor:
        ctx.group = group
        total = tensor.clone(memory_format=torch.contiguous_format)
        with group._partners():
            dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        with ctx.group._partners():
            dist.all_reduce(total)
        return total, None


class _Gather(torch.autograd.Function):
    """All processes' rows; the gradient of this process's is the sum of what all give for them."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, counts: Sequence[int], group: Group) -> Tensor:
        ctx.counts, ctx.group = counts, group
        same = tensor.new_zeros(max(counts), *tensor.shape[1:])  # processes may have one row more or less
        same[: len(tensor)] = tensor
        every = [torch.empty_like(same) for _ in counts]
        with group._partners():
            dist.all_gather(every, same)
        return torch.cat([rows[:count] for rows, count in zip(every, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        with ctx.group._partners():
            dist.all_reduce(total)
        start = sum(ctx.counts[: ctx.group.rank])
        return total[start : start + ctx.counts[ctx.group.rank]], None, None
