"""Weights and the point where a training goes on: whole, checked, and the same to the bit."""

import errno
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from pairjepa.model.weights import load_weights, read_tensors, weights, write_tensors
from pairjepa.training.checkpoint import load_checkpoint, save_checkpoint
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import digest_file

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
    write_tensors(weights(module), tmp_path / "weights")
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
    write_tensors(weights(module), tmp_path / "model.safetensors")
    damage(tmp_path / "model.safetensors")
    with pytest.raises(
        PairJEPAError,
        match=r"model\.safetensors is damaged \(.*\)\. Put it back, or remove it and run the same",
    ):
        load_weights(module, tmp_path / "model.safetensors")


def test_each_changed_byte_is_found(tmp_path: Path) -> None:
    """In the name of the checksum, too: without it the file would be one of 0.1, which has none."""
    module, path = network(), tmp_path / "model.safetensors"
    write_tensors(weights(module), path)
    whole = path.read_bytes()
    header = whole[8 : 8 + int.from_bytes(whole[:8], "little")].rstrip()
    for at in (*range(8 + len(header)), *range(8 + len(header), len(whole), 29)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(PairJEPAError):
            load_weights(network(), path)


def test_weights_of_0_1_have_the_digest_of_their_file(tmp_path: Path) -> None:
    module, path = network(), tmp_path / "model.safetensors"
    save_file({name: value.clone().contiguous() for name, value in module.state_dict().items()}, path)
    assert load_weights(network(), path) == digest_file(path)


def test_what_else_keeps_a_file_from_being_read_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tensors(weights(network()), tmp_path / "model.safetensors")
    for error, advice in (
        (MemoryError("Cannot allocate memory (os error 12)"), "Memory is short"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "Memory is short"),
        (OSError(errno.EMFILE, "Too many open files"), "raise the limit"),
        (PermissionError(errno.EACCES, "Permission denied"), "The right to read is missing"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr("pairjepa.util.arrays.safe_open", Mock(side_effect=error))
            with pytest.raises(PairJEPAError, match=f"cannot be read .*{advice}") as raised:
                load_weights(network(), tmp_path / "model.safetensors")
        assert "damaged" not in str(raised.value)
        load_weights(network(), tmp_path / "model.safetensors")  # as soon as it is no more


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PairJEPAError, match=r"model.safetensors is not there. Put it back"):
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


def test_the_same_tensors_are_the_same_bytes(tmp_path: Path) -> None:
    """Several keys of metadata would stand in any order."""
    about = {name: name for name in ("position", "run", "correction", "k")}
    files = [tmp_path / str(number) for number in range(8)]
    for path in files:
        write_tensors({"weight": torch.ones(2)}, path, about)
    assert len({path.read_bytes() for path in files}) == 1
    assert about.items() <= read_tensors(files[0])[1].items()


def test_a_checkpoint_of_0_1_has_its_metadata_by_themselves(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(2)}, tmp_path / "checkpoint", {"position": "{}", "more": "1"})
    assert read_tensors(tmp_path / "checkpoint")[1] == {"position": "{}", "more": "1"}
