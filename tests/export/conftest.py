"""Two runs that every kind of export is made of."""

from collections.abc import Sequence
from pathlib import Path

import pytest

import pairjepa
from pairjepa.embedder.embedder import Embedder
from pairjepa.pairs.pictures import Picture

SMALL = {"data.source": "shapes:60", "model.dim": 16, "training.epochs": 1}
FROZEN = {"model.image": "tiny-resnet", "model.text": "tiny-bert"}
CAPTIONS = ["a red circle", "a large green [MASK] above a circle", "words nobody knows", "", "a " * 60]


@pytest.fixture(scope="session")
def contrastive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frozen backbones, lower stages, residual heads, mirrored views: the recipe as it is."""
    path = tmp_path_factory.mktemp("runs") / "contrastive"
    pairjepa.train(pairjepa.recipe("contrastive", SMALL | FROZEN), None, path)
    return path


@pytest.fixture(scope="session")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with words in the context."""
    path = tmp_path_factory.mktemp("runs") / "masked"
    pairjepa.train(pairjepa.recipe("masked", SMALL | FROZEN), None, path)
    return path


@pytest.fixture(scope="session")
def embedder(contrastive: Path) -> Embedder:
    return Embedder.load(contrastive)


@pytest.fixture(scope="session")
def masked_embedder(masked: Path) -> Embedder:
    return Embedder.load(masked)


@pytest.fixture(scope="session")
def pictures() -> Sequence[Picture]:
    """More than are computed at once, of different shapes."""
    pairs = pairjepa.Pairs.open("shapes:60")
    return [pairs.image(row).resize((64 + row, 80)) for row in range(35)]
