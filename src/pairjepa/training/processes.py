"""Several processes that train one model, as `torchrun` starts them: who is there, who waits for whom, who stops when.

Each process takes its part of every batch (`local_batch`) through the model; the objective sees the embeddings of all
(`global_batch`), and PyTorch's DistributedDataParallel averages the gradients.
"""

import contextlib
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib import metadata
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from pairjepa.backbones.device import best_device
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.progress import say

ANSWER = timedelta(minutes=10)
"""Until all processes have come, and until one answers within a step; one that has ended is noticed at once."""
WORK = timedelta(days=7)
"""Until the others have done what one of them does for all, such as the features."""
SAME_VERSION = ("pairjepa", "torch", "transformers", "numpy")


@dataclass(frozen=True)
class Group:
    """This process and those that train with it. Alone, nothing here does or costs anything."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    patient: Any = None
    """The process group for numbers on the CPU, and for what may take long."""

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    @contextlib.contextmanager
    def turns(self) -> Iterator[None]:
        """A block that the first process goes through alone, then one of each machine, then the others.

        What one leaves in the cache or in the run folder, the next ones find.
        """
        turn = 0 if self.first else 1 if self.local_rank == 0 else 2
        for _ in range(turn):
            self.wait_for_all()
        yield
        for _ in range(3 - turn):
            self.wait_for_all()

    def wait_for_all(self) -> None:
        """Wait until every process is here, however long the others work."""
        self.any(False)

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag whether it is up in any process."""
        if self.size == 1:
            return flags
        raised = torch.tensor(flags, dtype=torch.int32)
        dist.all_reduce(raised, dist.ReduceOp.MAX, group=self.patient)
        return tuple(map(bool, raised.tolist()))

    def local_rows(self, samples: int) -> slice:
        """This process's part of the samples of a global batch, as even as it can be."""
        return slice(samples * self.rank // self.size, samples * (self.rank + 1) // self.size)

    def gather(
        self, local: Float[Tensor, "local_batch dim"], samples: int
    ) -> Float[Tensor, "global_batch dim"]:
        """The rows of all processes in the batch's order; only this process's own rows have a gradient.

        Every process computes the same loss of the same rows, so its own rows get the gradient of the global loss.
        DistributedDataParallel takes the mean over the processes where the sum is wanted: hence the factor.
        """
        rows = self.local_rows(samples)
        gathered = local.new_zeros(samples, local.shape[1])
        gathered[rows] = local.detach()
        dist.all_reduce(gathered)
        if local.requires_grad:
            local.register_hook(lambda gradient: gradient * self.size)
            gathered[rows] = local
        return gathered


ALONE = Group()
_current = ALONE


def current() -> Group:
    """The group that this process trains in."""
    return _current


@contextlib.contextmanager
def joined() -> Iterator[Group]:
    """Meet the processes that a launcher such as `torchrun` has started with this one; part from them at the end.

    A group that stands already is used. Only the first process prints, but any may fail aloud.

    Raises:
        PairJEPAError: processes do not come, have other versions of what computes, or one has ended.
    """
    global _current
    if _current.size > 1 or int(os.environ.get("WORLD_SIZE") or 1) == 1:
        yield _current
        return
    started = not dist.is_initialized()
    try:
        _current = _meet()
        with (
            open(os.devnull, "w") as nowhere,
            contextlib.redirect_stderr(sys.stderr if _current.first else nowhere),
        ):
            yield _current
            _current.wait_for_all()
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        raise PairJEPAError(
            f"Another process of this training has ended or does not answer ({_first_line(error)}). "
            "Run the same command again to go on from the last checkpoint."
        ) from None
    finally:
        _current = ALONE
    if started:
        dist.destroy_process_group()


def _meet() -> Group:
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    gpus = torch.cuda.device_count() if best_device().type == "cuda" else 0
    if gpus:
        if local_rank >= gpus:
            raise PairJEPAError(
                f"A machine must have a GPU for each of its processes, got {gpus} for process {local_rank + 1}. "
                "Start fewer, or hide the GPUs from all of them (CUDA_VISIBLE_DEVICES=)."
            )
        torch.cuda.set_device(local_rank)
    if not dist.is_initialized():
        try:
            dist.init_process_group("nccl" if gpus else "gloo", timeout=ANSWER)
        except (RuntimeError, ValueError) as error:
            raise PairJEPAError(
                f"All processes of a training must meet within {ANSWER.seconds // 60} minutes, "
                f"got: {_first_line(error)}. "
                "Start them by torchrun or accelerate launch, with the same number of processes and the same address "
                "on every machine."
            ) from None
    group = Group(
        dist.get_rank(), dist.get_world_size(), local_rank, dist.new_group(backend="gloo", timeout=WORK)
    )
    found: list[dict[str, str]] = [{}] * group.size
    dist.all_gather_object(found, versions(), group=group.patient)
    check_versions(found)
    if group.first:
        say(f"{group.size} processes train together.")
    return group


def versions() -> dict[str, str]:
    """Of what computes; a build for GPUs and one for CPUs are the same version."""
    return {name: metadata.version(name).partition("+")[0] for name in SAME_VERSION}


def check_versions(found: list[dict[str, str]]) -> None:
    """Raise `PairJEPAError` if processes run other versions of what computes than the first one."""
    for process, theirs in enumerate(found):
        for name, version in theirs.items():
            if version != found[0].get(name):
                raise PairJEPAError(
                    f"All processes of a training must have the same version of {name}, got {found[0].get(name)} in "
                    f"process 0 and {version} in process {process}. Install the same versions on every machine."
                )


def _first_line(error: Exception) -> str:
    """What went wrong, without where in the library's source and what it may come from."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return re.sub(r"^\[[^\]]*\.\w+:\d+\]\s*", "", line).split(". ")[0].rstrip(".")[:160]


@contextmanager
def stop_between_steps(together: bool = False) -> Iterator[threading.Event]:
    """Ctrl-C sets the event, so that a step is never cut in two; a second one stops at once.

    Args:
        together: with other processes, which must all stop after the same step: a launcher passes signals on, so
            that they come twice, and ends its processes by SIGTERM. None of them then stops at once.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(signum: int, frame: Any) -> None:
        if stop.is_set():
            if together:
                return
            raise KeyboardInterrupt
        stop.set()
        say("Stopping after this step …")

    signals = [signal.SIGINT, signal.SIGTERM] if together else [signal.SIGINT]
    before = [signal.signal(number, ask) for number in signals]
    try:
        yield stop
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
