"""A run that was stopped at any moment and started again ends with the same bits as one that was left alone."""

import json
import multiprocessing
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import pairjepa
from pairjepa.cli import main
from pairjepa.config.recipes import recipe
from pairjepa.features.cache import FeatureStore
from pairjepa.pairs import scan
from pairjepa.run.folder import RunFolder
from pairjepa.training import loop

SETTINGS: dict[str, Any] = {
    "data.source": "shapes:100",
    "model.image": "tiny-resnet",
    "model.text": "tiny-bert",
    "model.dim": 16,
    "training.epochs": 4,
    "training.batch_size": 20,
    "training.checkpoint_seconds": 0,
}
TUNED = {"model.image_lr_scale": 1.0, "model.text_lr_scale": 0.1, "training.micro_batch": 8}
UPPER = {"model.text_lr_scale": 0.5, "model.text_frozen_layers": 1, "training.tuned_epochs": 2}
KILLS = 3
PRELOADED = [
    "pairjepa.evaluation.evaluate",
    "transformers.models.resnet.modeling_resnet",
    "transformers.models.bert.modeling_bert",
    "transformers.models.auto.modeling_auto",
]
"""Of the process that the children are forked from: they need not import it again."""

# What a child does: shards of a few images, so that a kill can fall between them.
TRAIN = """
import os
os.environ["PAIRJEPA_CACHE"] = CACHE
from pairjepa import recipe, train
from pairjepa.features import extract
from pairjepa.pairs import scan
extract.IMAGE_SHARD, extract.TEXT_SHARD, scan._SHARD = 16, 64, 16
train(recipe(*RECIPE), None, RUN)
"""


def child(run: Path, cache: Path, name: str, settings: dict[str, Any]) -> Any:
    """A process that trains, started."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    given = {"RUN": str(run), "CACHE": str(cache), "RECIPE": (name, settings)}
    process = context.Process(target=exec, args=(TRAIN, given))
    process.start()
    return process


def timeless(run: Path) -> list[dict[str, Any]]:
    """The metrics without what a clock says."""
    return [
        {key: value for key, value in line.items() if key not in ("seconds", "images_per_second")}
        for line in RunFolder(run).metrics()
    ]


def same_bits(one: Path, other: Path) -> None:
    for part in (".", "text-only"):
        if part == "." or (one / part).exists():
            assert (one / part / "model.safetensors").read_bytes() == (
                other / part / "model.safetensors"
            ).read_bytes()
            assert timeless(one / part) == timeless(other / part)
            first, second = RunFolder(one / part).summary, RunFolder(other / part).summary
            assert first is not None
            assert second is not None
            assert {**first, "cost": 0} == {**second, "cost": 0}
            kept = [file / part / "hubness.safetensors" for file in (one, other)]
            assert kept[0].is_file() == kept[1].is_file() == (part == ".")
            assert part != "." or kept[0].read_bytes() == kept[1].read_bytes()


@pytest.mark.parametrize(
    ("name", "settings"), [("masked", {}), ("contrastive", TUNED)], ids=["masked, frozen", "tuned"]
)
def test_killed_at_random_moments(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    settings = SETTINGS | settings
    child(tmp_path / "warm", tmp_path / "warm-cache", name, settings).join(120)  # whatever is first is slower
    begun = time.monotonic()
    alone = child(tmp_path / "alone", tmp_path / "cache-alone", name, settings)
    alone.join(120)
    took = time.monotonic() - begun
    assert alone.exitcode == 0

    moments, killed = random.Random(0), 0
    for _ in range(KILLS):
        process = child(tmp_path / "killed", tmp_path / "cache-killed", name, settings)
        process.join(moments.uniform(0.1, 0.9) * took)
        process.kill()
        process.join(60)
        if process.exitcode == -signal.SIGKILL:
            killed += 1
        else:  # the machine has become faster: again, and earlier
            shutil.rmtree(tmp_path / "killed")
            took /= 2
    assert killed, "every process was done before it was killed"
    last = child(tmp_path / "killed", tmp_path / "cache-killed", name, settings)
    last.join(120)
    assert last.exitcode == 0
    same_bits(tmp_path / "alone", tmp_path / "killed")
    assert not list(tmp_path.rglob("*.tmp*"))


@pytest.mark.parametrize("settings", [{}, TUNED, UPPER], ids=["frozen", "tuned", "upper layers"])
def test_stopped_after_any_step(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every checkpoint is one that can be gone on from: each process gets one step further."""
    short = {"training.epochs": 2, "training.batch_size": 40}  # a stop within each epoch, and one at its end
    config = recipe("contrastive", SETTINGS | settings | short)
    pairjepa.train(config, None, tmp_path / "alone")
    step, stops = loop.Trainer._step, 0

    def one_step(*arguments: Any) -> dict[str, float]:
        values = step(*arguments)
        signal.raise_signal(signal.SIGINT)  # to this thread, so that it is there when the step ends
        return values

    while not (tmp_path / "stopped" / "summary.json").is_file():
        with monkeypatch.context() as patch:
            patch.setattr(loop.Trainer, "_step", one_step)
            try:
                pairjepa.train(config, None, tmp_path / "stopped")
            except KeyboardInterrupt:
                stops += 1
    steps = RunFolder(tmp_path / "alone").metrics()[-1]["step"]
    assert stops == steps
    same_bits(tmp_path / "alone", tmp_path / "stopped")


def test_a_kill_between_the_weights_and_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The epoch is trained again, its line of metrics does not stand there twice."""
    config = recipe("contrastive", SETTINGS)
    pairjepa.train(config, None, tmp_path / "alone")
    save, calls = loop.save_checkpoint, 0

    def dies(path: Path, module: Any, optimizer: Any, position: dict[str, Any]) -> None:
        nonlocal calls
        calls += position["batch"] == 0
        if calls == 2:
            raise SystemExit
        save(path, module, optimizer, position)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", dies)
        with pytest.raises(SystemExit):
            pairjepa.train(config, None, tmp_path / "run")
    assert len(RunFolder(tmp_path / "run").metrics()) == 2
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "lo')  # cut short
    pairjepa.train(config, None, tmp_path / "run")
    same_bits(tmp_path / "alone", tmp_path / "run")


@pytest.mark.parametrize("settings", [{}, TUNED], ids=["frozen", "tuned"])
def test_a_kill_between_the_last_epoch_and_the_hubness_correction(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes on measures nothing before: dropout must be off all the same."""
    config = recipe("contrastive", SETTINGS | settings)
    pairjepa.train(config, None, tmp_path / "alone")

    def dies(*_: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("pairjepa.model.correction.save", dies)
        with pytest.raises(SystemExit):
            pairjepa.train(config, None, tmp_path / "run")
    pairjepa.train(config, None, tmp_path / "run")
    same_bits(tmp_path / "alone", tmp_path / "run")


DIES = """
import json, os, sys
import pairjepa
from pairjepa.backbones.text import TextBackbone

def dies(backbone, folder):
    (folder / "config.json").write_text("{")
    os._exit(9)

TextBackbone.save = dies
pairjepa.train(pairjepa.recipe("contrastive", json.loads(sys.argv[1])), None, sys.argv[2])
"""


def test_a_backbone_that_was_not_written_whole_is_written_again(tmp_path: Path) -> None:
    """In a process of its own: one that is forked after threads have computed may wait for them for ever."""
    run = tmp_path / "run"
    died = subprocess.run([sys.executable, "-c", DIES, json.dumps(SETTINGS), str(run)], check=False)
    assert died.returncode == 9
    assert list(run.glob(".text.*.tmp"))
    pairjepa.train(recipe("contrastive", SETTINGS), None, run)
    assert (run / "text" / "pairjepa_text.json").is_file()
    assert not list(run.glob(".text.*"))


def flags(run: Path, **settings: Any) -> list[str]:
    given = SETTINGS | {key.replace("__", "."): value for key, value in settings.items()}
    source = given.pop("data.source")
    words = [word for key, value in given.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    return ["train", "contrastive", "--data", source, "--run", str(run), *words]


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    many = {"training__epochs": 2000, "training__checkpoint_seconds": 3600}
    command = [sys.executable, "-m", "pairjepa", *flags(tmp_path / "run", **many)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if line.startswith("epoch"))
        process.send_signal(signal.SIGINT)
        said = process.stderr.read().splitlines()
    assert process.returncode == 130
    assert said[-2:] == ["Stopping after this step …", "interrupted; run the same command again to go on"]
    assert (tmp_path / "run" / "checkpoint.safetensors").is_file()


def interrupted(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("owner", "name"), [(scan, "_write"), (FeatureStore, "write")], ids=["scan", "features"]
)
def test_ctrl_c_before_the_training(
    owner: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PAIRJEPA_CACHE", str(tmp_path / "cache"))
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupted)
        assert main(flags(tmp_path / "run")) == 130
    assert capsys.readouterr().err.endswith("interrupted; run the same command again to go on\n")
    assert main(flags(tmp_path / "run")) == 0
