"""Where models run, in one place."""

import pytest
import torch

from pairjepa.backbones.device import best_device, to_device
from pairjepa.util.errors import PairJEPAError, UsageError


@pytest.mark.parametrize(
    ("named", "gpu", "expected"),
    [(None, False, "cpu"), (None, True, "cuda"), ("auto", True, "cuda"), ("cpu", True, "cpu")],
)
def test_a_gpu_is_taken_unless_another_device_is_named(named, gpu, expected, monkeypatch):
    monkeypatch.delenv("PAIRJEPA_DEVICE", raising=False)
    if named:
        monkeypatch.setenv("PAIRJEPA_DEVICE", named)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert best_device().type == expected


def test_a_device_that_is_not_here_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("PAIRJEPA_DEVICE", "cuda")
    with pytest.raises(
        PairJEPAError, match=r"--device must be one that PyTorch .* can use here, got cuda\. Take"
    ):
        best_device()
    monkeypatch.setenv("PAIRJEPA_DEVICE", "cdua")
    with pytest.raises(UsageError, match=r"Unknown device 'cdua'\. Did you mean 'cuda'"):
        best_device()


def test_convolutions_are_computed_in_full_precision(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    best_device()
    assert not torch.backends.cudnn.allow_tf32


def test_a_batch_stays_as_it_is_on_a_cpu():
    batch = (torch.arange(3), torch.ones(2, 2))
    moved = to_device(batch, torch.device("cpu"))
    assert all(one is other for one, other in zip(batch, moved, strict=True))
