"""Several processes train what one does: real ones, which meet over gloo."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor

from pairjepa.config.recipes import recipe
from pairjepa.objectives import TERMS
from pairjepa.run.folder import RunFolder
from pairjepa.training import loop
from pairjepa.training.distributed import ALONE, Group, Part, group, shard, sharding_wanted
from pairjepa.training.distributed.draws import WholeBatchDraws
from pairjepa.util.errors import PairJEPAError, UsageError

SCRIPT = Path(__file__).with_name("together.py")
PROCESSES = 2
_spec = importlib.util.spec_from_file_location("together", SCRIPT)
assert _spec is not None
assert _spec.loader is not None
together: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(together)


def address() -> dict[str, str]:
    """Where the processes meet, as a launcher says it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}


def place(rank: int) -> dict[str, str]:
    return {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(PROCESSES)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `together.main` leaves."""
    path = tmp_path_factory.mktemp("together")
    meeting = os.environ | address()
    processes = [
        subprocess.Popen(
            [sys.executable, SCRIPT, path], env=meeting | place(rank), stderr=subprocess.PIPE, text=True
        )
        for rank in range(PROCESSES)
    ]
    said = [process.communicate(timeout=240)[1] for process in processes]
    assert [process.returncode for process in processes] == [1, -9], "\n\n".join(said)
    (path / "said.json").write_text(json.dumps(said))
    return path


def kept(folder: Path, name: str) -> list[dict[str, Tensor]]:
    return [load_file(folder / f"{name}.{rank}.safetensors") for rank in range(PROCESSES)]


def check_steps(alone: dict[str, Tensor], each: list[dict[str, Tensor]]) -> None:
    """Numbers and gradients of all steps are those of one process, and all processes have the same weights.

    The loss is computed in float32, so that a gradient is right to a part in 10⁷ of the largest one in the first
    step; Adam makes more of it where gradients are zero but for rounding.
    """
    assert {name.split("/")[1] for name in alone} == {"value", "gradient", "weight"}
    for step in {name.split("/")[0] for name in alone}:
        gradients = [t.abs().max() for name, t in alone.items() if name.startswith(f"{step}/gradient/")]
        tolerance = {"value": 1e-5, "gradient": (1e-6 if step == "0" else 1e-4) * max(gradients)}
        for name in (name for name in alone if name.startswith(f"{step}/")):
            first, *others = (tensors[name] for tensors in each)
            assert all(torch.equal(first, other) for other in others), name
            kind = name.split("/")[1]
            if kind != "weight":
                torch.testing.assert_close(first, alone[name], rtol=0, atol=float(tolerance[kind]), msg=name)
    for tensors in each:
        assert tensors.keys() == alone.keys()


@pytest.mark.parametrize("name", TERMS)
def test_a_term_is_the_sum_of_the_processes_shares(name: str, folder: Path) -> None:
    alone = together.term(name, ALONE)
    assert alone["prediction"].abs().max() > 0
    for shared in kept(folder, name):
        for key, expected in alone.items():
            torch.testing.assert_close(shared[key].reshape(expected.shape), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", sorted(together.CASES.keys() - {"interrupted"}))
def test_two_processes_take_the_steps_of_one(name: str, folder: Path, tmp_path: Path) -> None:
    check_steps(together.train(name, tmp_path / "alone"), kept(folder, name))
    assert timeless(tmp_path / "alone") == pytest.approx(timeless(folder / name), rel=1e-5)


def test_sharded_backbones_take_the_same_steps(folder: Path) -> None:
    plain, sharded = kept(folder, "reference-contrastive"), kept(folder, "sharded")
    check_steps(plain[0], sharded)


def timeless(run: Path) -> list[float]:
    return [line["loss"] for line in RunFolder(run).metrics()]


def test_goes_on_with_another_number_of_processes(folder: Path, tmp_path: Path) -> None:
    """Two, then two that share their weights out, then one: each was stopped by Ctrl-C in one process."""
    run = folder / "interrupted"
    assert (run / "checkpoint.safetensors").is_file()
    assert RunFolder(run).summary is None
    last = together.train("interrupted", run)
    whole = together.train("interrupted", tmp_path / "alone")
    steps = {name.split("/")[0] for name in whole}, {name.split("/")[0] for name in last}
    assert [len(some) for some in steps] == [8, 4]
    assert timeless(run) == pytest.approx(timeless(tmp_path / "alone"), rel=1e-4)
    resumed, alone = (load_file(path / "model.safetensors") for path in (run, tmp_path / "alone"))
    for name, expected in alone.items():
        torch.testing.assert_close(resumed[name], expected, rtol=0, atol=2e-3, msg=name)


def test_a_process_that_is_gone_ends_the_others_in_a_sentence(folder: Path) -> None:
    first, _ = json.loads((folder / "said.json").read_text())
    assert "PartnerError: Another process of this training has ended or does not answer (" in first
    assert first.endswith("). Run the same command again to go on from the last checkpoint.\n")


def test_only_the_first_process_speaks(folder: Path) -> None:
    first, other = json.loads((folder / "said.json").read_text())
    assert "2 processes train together." in first
    assert "epoch 1/1" in first
    assert "epoch" not in other


def test_torchrun(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(PROCESSES), "-m", "--"]
    flags = ["--data", "shapes:60", "--training.epochs", "1", "--training.batch-size", "20"]
    command += ["pairjepa", "train", "tiny", *flags, "--run", str(tmp_path / "run")]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("epoch 1/1") == 1
    assert RunFolder(tmp_path / "run").summary is not None


@pytest.mark.parametrize(("samples", "micro_batch"), [(10, None), (10, 4), (13, 6), (7, 3)])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_every_row_is_in_one_part_of_its_chunk(samples: int, micro_batch: int | None, processes: int) -> None:
    parts = Part.of_each(samples, processes, micro_batch)
    assert sorted(np.concatenate([part.rows for part in parts])) == list(range(samples))
    assert all(len(part.rows) for part in parts)
    chunks = torch.arange(samples).split(micro_batch or samples)
    for part in parts:
        mine = part.split(torch.from_numpy(part.rows))
        assert [set(some.tolist()) <= set(chunk.tolist()) for some, chunk in zip(mine, chunks, strict=True)]
        sizes = [len(some) for some in mine]
        assert all(abs(size - len(chunk) / processes) < 1 for size, chunk in zip(sizes, chunks, strict=True))


def dropped(x: Tensor) -> Tensor:
    return torch.nn.functional.dropout(x, 0.4)


@pytest.mark.parametrize(
    "draw",
    [
        torch.rand_like,
        dropped,
        lambda x: dropped(x.transpose(1, 2)).transpose(1, 2),  # lies in memory another way
        lambda x: dropped(x.flatten(0, 1)).unflatten(0, x.shape[:2]),  # several places a sample
        lambda x: torch.rand(len(x), 1) * x[:, :, 0],
        lambda x: torch.native_dropout(x, 0.4, True)[0],  # as on a GPU
        lambda x: torch.nn.functional.scaled_dot_product_attention(x, x, x, dropout_p=0.4),
    ],
)
@pytest.mark.parametrize("rows", [[2, 3, 4], [0, 2, 5]])
def test_random_numbers_of_some_rows_are_those_of_the_whole_batch(draw: Any, rows: list[int]) -> None:
    x = torch.randn(6, 4, 5, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(3)
    whole = draw(x)
    after = torch.rand(1)
    torch.manual_seed(3)
    with WholeBatchDraws(np.array(rows), 6):
        some = draw(x[rows])
    torch.testing.assert_close(some, whole[rows])
    assert torch.equal(torch.rand(1), after), "what is drawn next is the same too"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"training.batch_size": 5}, r"training\.batch_size must give each process a sample .*, got 4 for 7"),
        (
            {"training.micro_batch": 6},
            r"training\.micro_batch must give each process a sample .*, got 6 for 7",
        ),
    ],
)
def test_more_processes_than_samples(
    settings: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pairjepa

    monkeypatch.setattr(loop, "current", lambda: Group(size=7))
    with pytest.raises(UsageError, match=words):
        pairjepa.train(recipe("tiny", together.SMALL | settings), None, tmp_path / "run")


def test_the_first_form_of_fsdp_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.delenv("FSDP_VERSION", raising=False)
    assert sharding_wanted()
    with pytest.raises(PairJEPAError, match=r"fsdp_version must be 2, got 1\. Set fsdp_version: 2"):
        shard(torch.nn.Linear(2, 2))


def test_other_versions_are_refused() -> None:
    store = dist.HashStore()
    store.set("versions/1", json.dumps(group.versions() | {"torch": "1.0"}))
    with pytest.raises(
        PairJEPAError, match=r"the same version of torch, got .* in process 0 and 1\.0 in proc"
    ):
        group._check_alike(store, 0, 2)
    store.set("versions/1", json.dumps(group.versions()))
    group._check_alike(store, 0, 2)


def test_processes_that_do_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (address() | place(1)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(group, "COMING", group.timedelta(seconds=1))
    with (
        pytest.raises(PairJEPAError, match="All processes of a training must meet within"),
        group.joined(),
    ):
        pass
    assert group.current() is ALONE
