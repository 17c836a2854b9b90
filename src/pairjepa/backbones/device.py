"""The device that models run on, and how arrays get there."""

import os
from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor

from pairjepa.config.settings import DEVICE, DeviceName
from pairjepa.util.errors import PairJEPAError, unknown


def best_device() -> torch.device:
    """The device that $PAIRJEPA_DEVICE names, which `--device` sets; else a GPU of CUDA's or ROCm's, or the CPU.

    Convolutions of a GPU are computed in full float32 from then on: TF32 would make an embedder's vectors other ones
    than those from cached features.

    Raises:
        UsageError: there is no such device.
        PairJEPAError: PyTorch cannot use it here.
    """
    name = os.environ.get(DEVICE) or "auto"
    if name not in get_args(DeviceName):
        raise unknown("device", name, get_args(DeviceName))
    usable = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        name = "cuda" if usable["cuda"] else "cpu"
    if not usable[name]:
        raise PairJEPAError(
            f"--device must be one that PyTorch {torch.__version__} can use here, got {name}. "
            "Take auto, or install PyTorch for it."
        )
    torch.backends.cudnn.allow_tf32 = False
    return torch.device(name)


def bfloat16_pays(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 are many times as fast there: a GPU of CUDA's, or a CPU with AMX."""
    facts: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # not in PyTorch 2.6
    return device.type == "cuda" or (device.type == "cpu" and bool(facts.get("amx_bf16")))


def to_device(batch: Sequence[Tensor], device: torch.device) -> tuple[Tensor, ...]:
    """Move a batch; to a GPU without waiting, from pinned memory."""
    if device.type != "cuda":
        return tuple(tensor.to(device) for tensor in batch)
    return tuple(
        (tensor if tensor.is_cuda else tensor.pin_memory()).to(device, non_blocking=True) for tensor in batch
    )
