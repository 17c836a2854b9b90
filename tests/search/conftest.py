"""Two trained runs and an index; the other indexes of these tests keep no ONNX model, which takes seconds."""

from pathlib import Path

import pytest

import pairjepa
from pairjepa.apps.search import Index
from pairjepa.apps.search.build import build
from pairjepa.config.recipes import recipe
from pairjepa.util.errors import PairJEPAError

SHAPES = "shapes:80"


def _trained(name: str, path: Path) -> Path:
    pairjepa.train(recipe(name, {"data.source": SHAPES, "training.epochs": 1, "model.dim": 16}), None, path)
    return path


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _trained("tiny", tmp_path_factory.mktemp("runs") / "contrastive")


@pytest.fixture(scope="session")
def other_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _trained("tiny-masked", tmp_path_factory.mktemp("runs") / "masked")


@pytest.fixture(scope="session")
def index(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Index:
    return build(run, [SHAPES], tmp_path_factory.mktemp("indexes") / "shapes.index")


@pytest.fixture
def without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PairJEPAError("no ONNX here.")

    monkeypatch.setattr("pairjepa.apps.export.onnx.export_onnx", refuse)
