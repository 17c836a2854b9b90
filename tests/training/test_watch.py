"""What is said of a training that goes wrong: once, with its number and a setting that exists."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

import pairjepa
from pairjepa.config.recipes import recipe
from pairjepa.config.settings import RunConfig
from pairjepa.training.watch import warnings

CHANCE = 20.0


def epoch(number: int, rsum: float = 100.0, **changes: Any) -> dict[str, Any]:
    """One healthy epoch, with changes."""
    healthy = {
        "loss": 3.0,
        "train": 120.0,
        "rank": {"prediction": 40.0, "target": 40.0},
        "random": 0.05,
        "possible": 100,
    } | changes
    return {
        "epoch": number,
        "loss": healthy["loss"],
        "dev": {"rsum": rsum, "effective_rank": healthy["rank"], "cosine": {"random": healthy["random"]}},
        "train": {"rsum": healthy["train"]},
        "possible_rank": {"prediction": healthy["possible"], "target": healthy["possible"]},
    }


COLLAPSED = [epoch(1, rank={"prediction": 1.3, "target": 40.0})]
ALIGNED = [epoch(1, random=0.97)]
BY_HEART = [epoch(1, 100), *(epoch(n, 90, train=300.0) for n in range(2, 12))]
NO_RECALL = [epoch(n, 21, loss=6.0 - n / 2) for n in range(1, 11)]


def test_a_healthy_training_is_told_nothing() -> None:
    assert warnings([epoch(n, 100 + n, loss=6 - n / 10) for n in range(1, 31)], CHANCE) == {}


@pytest.mark.parametrize(
    ("history", "kinds", "said"),
    [
        (COLLAPSED, ["collapse of the prediction"], "effective rank 1.3 of 100, cosine of random pairs 0.05"),
        (ALIGNED, ["collapse of the prediction", "collapse of the target"], "cosine of random pairs 0.97"),
        (
            BY_HEART,
            ["by heart"],
            "rsum 300 on training images, 90 on dev, which has not risen since epoch 1 (100;",
        ),
        (
            NO_RECALL,
            ["no recall"],
            "The loss falls (5.50 to 1.00) but recall stays at chance after epoch 10: dev rsum 21.0",
        ),
    ],
    ids=["rank", "cosine", "by heart", "no recall"],
)
def test_each_is_said_with_its_number(history: list[dict[str, Any]], kinds: list[str], said: str) -> None:
    found = warnings(history, CHANCE)
    assert list(found) == kinds
    assert all(said in sentence for sentence in found.values())


@pytest.mark.parametrize(
    "history",
    [
        [epoch(1, rank={"prediction": 1.3, "target": 1.3}, possible=9)],  # so few images fill no more
        BY_HEART[:-1],  # not for long enough
        [*BY_HEART[:-1], epoch(11, 98, train=300.0)],  # dev has hardly fallen
        [*BY_HEART[:-1], epoch(11, 90, train=100.0)],  # the training images are no better
        NO_RECALL[:-1],
        [*NO_RECALL[:-1], epoch(10, 31, loss=1.0)],  # above chance
        [epoch(n, 21, loss=6.0) for n in range(1, 11)],  # the loss does not fall either
    ],
)
def test_nothing_is_said_too_early_or_without_ground(history: list[dict[str, Any]]) -> None:
    assert warnings(history, CHANCE) == {}


def test_one_image_has_no_random_pair() -> None:
    assert warnings([epoch(1, random=None)], CHANCE) == {}


@pytest.mark.parametrize("history", [COLLAPSED, ALIGNED, BY_HEART, NO_RECALL])
def test_every_setting_that_is_named_exists(history: list[dict[str, Any]]) -> None:
    sections = "|".join(field.name for field in dataclasses.fields(RunConfig))
    for sentence in warnings(history, CHANCE).values():
        for name in re.findall(rf"\b(?:{sections})(?:\.[a-z_]+)+", sentence):
            value: Any = RunConfig()
            for part in name.split("."):
                value = getattr(value, part)  # AttributeError if there is no such setting


def test_a_training_that_collapses_says_so_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Regression alone, without negatives: prediction and target go to one point."""
    config = recipe(
        "contrastive",
        {
            "data.source": "shapes:240",
            "model.image": "tiny-resnet",
            "model.text": "tiny-bert",
            "model.dim": 16,
            "model.image_views": ["whole"],
            "objective.weights": {"cosine": 1.0},
            "training.epochs": 12,
            "training.batch_size": 40,
            "training.learning_rate": 0.02,
            "training.weight_decay": 0.0,
        },
    )
    run = pairjepa.train(config, None, tmp_path / "run")
    said = capsys.readouterr().err
    assert said.count("warning: Collapse of the prediction after epoch") == 1
    assert said.count("warning: Collapse of the target after epoch") == 1
    last = run.metrics()[-1]
    assert last["dev"]["cosine"]["random"] > 0.95, "and the matched cosine alone would have looked perfect"
    assert last["dev"]["cosine"]["matched"] > 0.95
    assert run.summary is not None
    assert len(run.summary["warnings"]) == 2
