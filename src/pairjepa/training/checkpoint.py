"""Where an interrupted run goes on: one safetensors file with weights, optimizer moments and the position.

The file is that of one process, whatever the number of those that train: another number can go on with it.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pairjepa.errors import PairJEPAError
from pairjepa.files import atomic_path, writing
from pairjepa.training.distributed.sharding import like, whole


def weights(module: nn.Module, *, keep: bool = True) -> dict[str, Tensor]:
    """A copy of the weights, on the CPU.

    Args:
        module: the module.
        keep: without it, nothing is copied: only other processes are helped to bring sharded weights together.
    """
    found = {}
    for name, tensor in module.state_dict().items():
        there = whole(tensor.detach())
        if keep:  # clone: safetensors refuses tensors that share memory, and tied weights do
            found[name] = there.cpu().contiguous().clone()
    return found


def save_weights(weights: dict[str, Tensor], path: Path) -> None:
    """Weights alone."""
    _write(weights, path)


def load_weights(module: nn.Module, path: Path) -> None:
    """The inverse; every weight must be there and none besides.

    Raises:
        PairJEPAError: the file is missing, damaged or of another model.
    """
    tensors, _ = _read(path)
    _fill(module, tensors, path)


def save_checkpoint(
    path: Path | None, module: nn.Module, optimizer: torch.optim.Optimizer, position: dict[str, Any]
) -> None:
    """Everything that the next step depends on; None in `path` as without `keep` in `weights`."""
    keep = path is not None
    tensors = {f"module/{name}": tensor for name, tensor in weights(module, keep=keep).items()}
    for number, moments in optimizer.state_dict()["state"].items():
        for name, value in moments.items():
            moment = whole(torch.as_tensor(value))
            if keep:
                tensors[f"optimizer/{number}/{name}"] = moment.cpu().contiguous()
    if path is not None:
        _write(tensors, path, {"position": json.dumps(position)})


def load_checkpoint(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Put weights and moments back and return the position."""
    tensors, about = _read(path)
    _fill(module, {n.removeprefix("module/"): t for n, t in tensors.items() if n.startswith("module/")}, path)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer/"):
            _, number, moment = name.split("/")
            parameter = parameters[int(number)]
            if tensor.shape == parameter.shape:
                # Fused AdamW goes through memory: moments must lie in it as their weights do (channels last).
                laid = torch.empty_like(parameter, requires_grad=False)
                tensor = laid.copy_(like(tensor, parameter))
            state.setdefault(int(number), {})[moment] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    position: dict[str, Any] = json.loads(about["position"])
    return position


def _write(tensors: dict[str, Tensor], path: Path, about: dict[str, str] | None = None) -> None:
    with writing(path), atomic_path(path) as temporary:
        try:
            save_file(tensors, temporary, about)
        except SafetensorError as error:  # such as a full disk
            raise OSError(str(error)) from None


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileNotFoundError:
        raise PairJEPAError(
            f"{path} is not there: the run has not finished its first epoch. Start it again to go on."
        ) from None
    except Exception as error:  # safetensors' own error class is private to its extension
        raise PairJEPAError(f"{path} is damaged ({error}). Remove it and train again.") from None


def _fill(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    own = module.state_dict()
    try:
        module.load_state_dict({n: like(t, own[n]) if n in own else t for n, t in tensors.items()})
    except RuntimeError as error:
        raise PairJEPAError(
            f"{path} must hold the weights of this run's model: {error} Train a new run."
        ) from None
