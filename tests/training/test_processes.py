"""Several processes train what one does: real ones, which meet over gloo."""

import functools
import importlib.util
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import pairjepa
from pairjepa.config.recipes import recipe
from pairjepa.objectives import TERMS
from pairjepa.run.folder import RunFolder
from pairjepa.training import loop, processes, step, train
from pairjepa.training.processes import ALONE, Group
from pairjepa.util.errors import PairJEPAError, UsageError

SCRIPT = Path(__file__).with_name("together.py")
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


def place(rank: int, size: int) -> dict[str, str]:
    return {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}


@pytest.fixture(scope="module")
def together_in(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """A function: the folder of what `together.main` leaves in so many processes."""

    @functools.cache
    def of(size: int) -> Path:
        path, meeting = tmp_path_factory.mktemp("together"), os.environ | address()
        started = [
            subprocess.Popen(
                [sys.executable, SCRIPT, path],
                env=meeting | place(rank, size),
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(size)
        ]
        words = [process.communicate(timeout=600)[1] for process in started]
        ends = [process.returncode for process in started]
        assert ends == ([1, -9] if size == 2 else [1, 1, 1]), "\n\n".join(words)
        whole = all(len(kept(path, name)) == size for name in [*TERMS, *together.STEPS[size]])
        assert whole, "\n\n".join(words)
        (path / "stderr.json").write_text(json.dumps(words))
        return path

    return of


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[dict[str, Tensor], Path]]:
    """A function: the steps and the run folder of a case in one process."""

    @functools.cache
    def of(name: str) -> tuple[dict[str, Tensor], Path]:
        run = tmp_path_factory.mktemp("alone") / "run"
        return together.train(name, run), run

    return of


def kept(folder: Path, name: str) -> list[dict[str, Tensor]]:
    return [load_file(path) for path in sorted(folder.glob(f"{name}.?.safetensors"))]


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in RunFolder(run).metrics()]


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("name", TERMS)
def test_a_term_of_all_processes_is_that_of_one(name: str, size: int, together_in: Any) -> None:
    expected = together.term(name, ALONE)
    sides = [f"gradient/{side}" for side in range(4)]
    assert max(expected[side].abs().max() for side in sides) > 0
    each = kept(together_in(size), name)
    for side in sides:
        rows = torch.cat([local[side] for local in each])
        torch.testing.assert_close(rows, expected[side], rtol=1e-9, atol=1e-12)
    for key in ("value", "temperature"):
        for local in each:
            torch.testing.assert_close(local[key], expected[key], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("size", "name"), [(size, name) for size, names in together.STEPS.items() for name in names]
)
def test_several_processes_take_the_steps_of_one(size: int, name: str, together_in: Any, alone: Any) -> None:
    """Numbers and gradients of all steps are those of one process, and all processes have the same weights.

    The loss is computed in float32, so that a gradient is right to a part in 10⁷ of the largest one in the first
    step; Adam makes more of it where gradients are zero but for rounding.
    """
    (expected, run), folder = alone(name), together_in(size)
    each = kept(folder, name)
    assert {key.split("/")[1] for key in expected} == {"value", "gradient", "weight"}
    assert all(tensors.keys() == expected.keys() for tensors in each)
    for number in {key.split("/")[0] for key in expected}:
        largest = max(t.abs().max() for key, t in expected.items() if key.startswith(f"{number}/gradient/"))
        tolerance = {"value": 1e-5, "gradient": (1e-6 if number == "0" else 1e-4) * float(largest)}
        for key in (key for key in expected if key.startswith(f"{number}/")):
            first, *others = (tensors[key] for tensors in each)
            assert all(torch.equal(first, other) for other in others), key
            kind = key.split("/")[1]
            if kind != "weight":
                torch.testing.assert_close(first, expected[key], rtol=0, atol=tolerance[kind], msg=key)
    assert losses(run) == pytest.approx(losses(folder / name), rel=1e-5)


def test_goes_on_with_another_number_of_processes(together_in: Any, alone: Any) -> None:
    """Two, then one: the first part was stopped by Ctrl-C in one process."""
    run = together_in(2) / "interrupted"
    assert (run / "checkpoint.safetensors").is_file()
    assert RunFolder(run).summary is None
    last = together.train("interrupted", run)
    whole, undisturbed = alone("interrupted")
    steps = {name.split("/")[0] for name in whole}, {name.split("/")[0] for name in last}
    assert [len(some) for some in steps] == [8, 6]
    assert losses(run) == pytest.approx(losses(undisturbed), rel=1e-4)
    resumed, expected = (load_file(path / "model.safetensors") for path in (run, undisturbed))
    for name, value in expected.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=2e-3, msg=name)


@pytest.mark.parametrize("size", [2, 3])
def test_a_process_that_is_gone_ends_the_others_in_a_sentence(size: int, together_in: Any) -> None:
    first, *_, last = json.loads((together_in(size) / "stderr.json").read_text())
    assert "PairJEPAError: Another process of this training has ended or does not answer (" in first
    assert first.endswith("). Run the same command again to go on from the last checkpoint.\n")
    assert last.endswith("ValueError: out of luck\n") or "Traceback" not in last


@pytest.mark.parametrize("size", [2, 3])
def test_only_the_first_process_prints(size: int, together_in: Any) -> None:
    first, *others = json.loads((together_in(size) / "stderr.json").read_text())
    assert f"{len(others) + 1} processes train together." in first
    assert "epoch 1/1" in first
    assert not any("epoch 1/1" in other for other in others)


def test_the_first_process_may_be_writing_while_another_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half.json").touch()
    material = SimpleNamespace(config=recipe("tiny"))
    monkeypatch.setattr(train, "_fit_material", lambda *_: "goes on")
    monkeypatch.setattr(train, "current", lambda: Group(rank=1))
    assert train.fit_material(material, tmp_path) == "goes on"  # type: ignore[arg-type, comparison-overlap]
    monkeypatch.setattr(train, "current", Group)
    with pytest.raises(PairJEPAError, match="which holds other files"):
        train.fit_material(material, tmp_path)  # type: ignore[arg-type]


def test_torchrun(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "--"]
    flags = ["--data", "shapes:60", "--training.epochs", "1", "--training.batch-size", "20"]
    command += ["pairjepa", "train", "tiny", *flags, "--run", str(tmp_path / "run")]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("epoch 1/1") == 1
    assert done.stderr.count("BatchNorm takes the statistics of each process's own samples") == 1
    assert "Warning" not in done.stderr
    assert RunFolder(tmp_path / "run").summary is not None


@pytest.mark.parametrize("samples", [2, 7, 13])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_every_row_is_of_one_process(samples: int, size: int) -> None:
    parts = [list(range(samples))[Group(rank, size).local_rows(samples)] for rank in range(size)]
    assert [row for part in parts for row in part] == list(range(samples))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_batch_norm_is_synchronised_on_gpus_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "DistributedDataParallel", lambda module, **_: module)

    def kinds(device: str, micro_batch: int | None = None) -> set[str]:
        parts = {name: nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)) for name in ("joint", "image")}
        config = recipe("tiny", {"training.micro_batch": micro_batch})
        wrapped = step.TrainStep(nn.ModuleDict(parts), None, config, Group(size=2))  # type: ignore[arg-type]
        step.data_parallel(wrapped, torch.device(device), Group(size=2))
        return {f"{name} {type(part[1]).__name__}" for name, part in parts.items()}

    assert kinds("cpu") == {"joint BatchNorm1d", "image BatchNorm1d"}
    assert kinds("cuda") == {"joint SyncBatchNorm", "image SyncBatchNorm"}
    assert kinds("cuda", micro_batch=4) == {"joint SyncBatchNorm", "image BatchNorm1d"}


def test_more_processes_than_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "current", lambda: Group(size=30))
    config = recipe("tiny", together.SMALL)
    with pytest.raises(
        UsageError, match=r"training\.batch_size must give each process two .*, got \d+ for 30"
    ):
        pairjepa.train(config, None, tmp_path / "run")


def test_other_versions_are_refused() -> None:
    ours = processes.versions()
    processes.check_versions([ours, ours])
    with pytest.raises(PairJEPAError, match=r"version of torch, got .* in process 0 and 1\.0 in process 1"):
        processes.check_versions([ours, ours | {"torch": "1.0"}])


def test_processes_that_do_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (address() | place(1, 2)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(processes, "ANSWER", processes.timedelta(seconds=1))
    with (
        pytest.raises(PairJEPAError, match="All processes of a training must meet within"),
        processes.joined(),
    ):
        pass
    assert processes.current() is ALONE
