"""Mistakes that anyone makes: said in a sentence, before anything is computed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pairjepa
from pairjepa.config.recipes import recipe
from pairjepa.run.folder import RunFolder

SETTINGS: dict[str, Any] = {
    "data.source": "shapes:100",
    "model.image": "tiny-resnet",
    "model.text": "tiny-bert",
    "model.dim": 16,
    "training.epochs": 1,
}


def train(run: Path, **settings: Any) -> list[str]:
    given = SETTINGS | {key.replace("__", "."): value for key, value in settings.items()}
    names = {key: "data" if key == "data.source" else key for key in given}
    return [
        "train",
        "contrastive",
        "--run",
        str(run),
        *(f"--{names[k]}={value}" for k, value in given.items()),
    ]


def half_a_run(path: Path) -> Path:
    """A run that has begun and has no weights yet."""
    RunFolder.start(path, recipe("contrastive", SETTINGS), {"digest": "d", "images": 1, "captions": 1})
    return path


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (lambda p: ["inspect", p / "nosuch"], 1, "nosuch"),
        (lambda p: ["inspect", "shapes:9", "--model.text", p / "no" / "bert"], 1, "no is not there either"),
        (lambda p: train(p / "run", data__source=p / "nosuch"), 1, "nosuch is not"),
        (lambda p: train(p / "run", model__image=p / "resnet"), 1, "model.image must be a folder"),
        (lambda p: train(p / "run", model__text=p), 1, "must be a Transformers folder with a config.json"),
        (lambda p: train(half_a_run(p / "run"), model__dim=3), 1, "model.dim: 16 there, 3 now"),
        (lambda p: train(p), 1, "which holds other files"),
        (lambda p: train(p / "run", data__source="shapes:2"), 1, "The split 'dev' must hold"),
        (lambda p: ["evaluate", p / "run"], 1, "is no run folder (no run.json; it is not there)"),
        (lambda p: ["evaluate", half_a_run(p / "run")], 1, "a run whose first epoch is not finished"),
    ],
    ids=range(10),
)
def test_a_common_mistake_is_said(
    arguments: Callable[[Path], list[Any]], status: int, message: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    command = [sys.executable, "-m", "pairjepa", *map(str, arguments(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (status, ""), done.stderr
    assert message in done.stderr
    assert done.stderr.count("error: ") == 1
    assert "Traceback" not in done.stderr


def test_unknown_splits_and_exports_are_said_before_any_work(tmp_path: Path) -> None:
    pairjepa.train(recipe("contrastive", SETTINGS), None, tmp_path / "run")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for more, message in (
        (["--split", "tset"], "Unknown split 'tset'. Did you mean 'test'"),
        (["--export", tmp_path / "full"], "The export folder must be new, empty or an earlier export"),
    ):
        command = [sys.executable, "-m", "pairjepa", "evaluate", tmp_path / "run", *more]
        done = subprocess.run(map(str, command), capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode in (1, 2), done.stderr
        assert message in done.stderr
