"""Weights and the point where a training goes on: whole, checked, and the same to the bit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from pairjepa.model.weights import load_weights, save_weights, weights
from pairjepa.training.checkpoint import load_checkpoint, save_checkpoint
from pairjepa.util.errors import PairJEPAError

POSITION = {"epoch": 3, "batch": 2, "sums": {"loss": 0.1 + 0.2}, "best": None, "seconds": 1.5}


def network(width: int = 4, seed: int = 0) -> nn.Module:
    """A convolution that lies channels last, as tuned image backbones do, BatchNorm and a scalar."""
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width)).to(
        memory_format=torch.channels_last
    )  # type: ignore[call-overload]
    module.register_parameter("scale", nn.Parameter(torch.tensor(1.0)))
    return module


def optimizer(module: nn.Module) -> torch.optim.Optimizer:
    matrices = [p for p in module.parameters() if p.ndim > 1]
    vectors = [p for p in module.parameters() if p.ndim <= 1]
    return torch.optim.AdamW(
        [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}], lr=0.1, fused=True
    )


def step(module: nn.Module, adam: torch.optim.Optimizer, number: int) -> None:
    x = torch.randn((2, 3, 8, 8), generator=torch.Generator().manual_seed(number))
    adam.zero_grad()
    (module(x) * module.scale).square().mean().backward()  # type: ignore[operator]
    adam.step()


def test_going_on_is_the_same_as_not_stopping(tmp_path: Path) -> None:
    alone, resumed = network(), network(seed=1)
    adam = optimizer(alone)
    for number in range(3):
        step(alone, adam, number)
    save_checkpoint(tmp_path / "point", alone, adam, POSITION)
    again = optimizer(resumed)
    assert load_checkpoint(tmp_path / "point", resumed, again) == POSITION
    for number in range(3, 6):
        step(alone, adam, number)
        step(resumed, again, number)
    for name, value in alone.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_weights_are_the_module_s_whatever_shares_memory(tmp_path: Path) -> None:
    module = nn.ModuleDict({"one": nn.Linear(3, 3), "other": nn.Linear(3, 3)})
    module["other"].weight = module["one"].weight  # tied, as in language models
    save_weights(weights(module), tmp_path / "weights")
    other = nn.ModuleDict({"one": nn.Linear(3, 3), "other": nn.Linear(3, 3)})
    load_weights(other, tmp_path / "weights")
    assert torch.equal(other["other"].weight, module["one"].weight)
    assert load_file(tmp_path / "weights").keys() == module.state_dict().keys()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def garbled(path: Path) -> None:
    path.write_bytes(b"\x80\x04" + path.read_bytes())  # also how a pickle begins


def pickled(path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, path)


@pytest.mark.parametrize("damage", [cut, garbled, pickled, lambda path: path.write_bytes(b"")])
def test_a_damaged_file_is_refused_by_name(damage: Any, tmp_path: Path) -> None:
    module = network()
    save_weights(weights(module), tmp_path / "model.safetensors")
    damage(tmp_path / "model.safetensors")
    with pytest.raises(
        PairJEPAError, match=r"model\.safetensors is damaged \(.*\)\. Remove it and train again"
    ):
        load_weights(module, tmp_path / "model.safetensors")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PairJEPAError, match="has not finished its first epoch"):
        load_weights(network(), tmp_path / "model.safetensors")


@pytest.mark.parametrize("change", ["width", "more", "less"])
def test_another_model_s_weights_are_refused(change: str, tmp_path: Path) -> None:
    weights = {name: value.clone().contiguous() for name, value in network().state_dict().items()}
    if change == "width":
        weights = {n: v.clone().contiguous() for n, v in network(5).state_dict().items()}
    elif change == "more":
        weights["stranger"] = torch.zeros(1)
    else:
        del weights["0.bias"]
    save_file(weights, tmp_path / "weights")
    with pytest.raises(PairJEPAError, match="must hold the weights of this run's model"):
        load_weights(network(), tmp_path / "weights")
