"""Where an interrupted run goes on: one safetensors file with weights, optimizer moments and the position.

Any number of processes can go on with it.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pairjepa.model.weights import fill, read_tensors, weights, write_tensors
from pairjepa.util.errors import PairJEPAError


def save_checkpoint(
    path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, position: dict[str, Any]
) -> None:
    """Everything that the next step depends on."""
    tensors = {f"module/{name}": tensor for name, tensor in weights(module).items()}
    for number, moments in optimizer.state_dict()["state"].items():
        for name, value in moments.items():
            tensors[f"optimizer/{number}/{name}"] = torch.as_tensor(value).cpu().contiguous()
    write_tensors(tensors, path, {"position": json.dumps(position)})


def load_checkpoint(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Put weights and moments back and return the position.

    Raises:
        PairJEPAError: the file is damaged, or no checkpoint of this model.
    """
    tensors, about = read_tensors(path)
    if "position" not in about:
        raise PairJEPAError(
            f"{path} must be a checkpoint, got other tensors. "
            "Remove it, and run the same train command again, which trains anew."
        )
    fill(module, {n.removeprefix("module/"): t for n, t in tensors.items() if n.startswith("module/")}, path)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer/"):
            _, number, moment = name.split("/")
            parameter = parameters[int(number)]
            if tensor.shape == parameter.shape:
                # Fused AdamW goes through memory: moments must lie in it as their weights do (channels last).
                laid = torch.empty_like(parameter, requires_grad=False)
                tensor = laid.copy_(tensor)
            state.setdefault(int(number), {})[moment] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    position: dict[str, Any] = json.loads(about["position"])
    return position
