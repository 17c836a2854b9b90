"""What is said of a training that goes wrong: once, with its number, and a setting that is not so already."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import pairjepa
from pairjepa.config.recipes import override, recipe
from pairjepa.config.settings import RunConfig
from pairjepa.training.watch import Watch


def epoch(number: int, rsum: float = 100.0, **changes: Any) -> dict[str, Any]:
    """One healthy epoch, with changes."""
    healthy = {
        "loss": 3.0,
        "train": 120.0,
        "rank": {"prediction": 40.0, "target": 40.0},
        "deviation": 0.1,
        "possible": 100,
    } | changes
    return {
        "epoch": number,
        "loss": healthy["loss"],
        "dev": {
            "rsum": rsum,
            "effective_rank": healthy["rank"],
            "deviation_per_dim": dict.fromkeys(("prediction", "target"), healthy["deviation"]),
        },
        "train": {"rsum": healthy["train"]},
        "possible_rank": {"prediction": healthy["possible"], "target": healthy["possible"]},
    }


ONE_LINE = [epoch(1, rank={"prediction": 1.3, "target": 40.0})]
ONE_POINT = [epoch(1, deviation=0.02)]  # of 0.1 that is healthy
OVERFITS = [epoch(1, 100), *(epoch(n, 90, train=300.0) for n in range(2, 12))]
NO_RECALL = [epoch(n, 21, loss=6.0 - n / 2) for n in range(1, 11)]
CONTRASTIVE = recipe("contrastive")


def warnings(
    history: list[dict[str, Any]],
    config: RunConfig = CONTRASTIVE,
    *,
    chance: float = 20.0,
    images: int = 1000,
    constant: tuple[str, ...] = (),
) -> dict[str, str]:
    return Watch(config, chance, images, 6000, 100, constant).warnings(history)


def test_a_healthy_training_is_told_nothing() -> None:
    assert warnings([epoch(n, 100 + n, loss=6 - n / 10) for n in range(1, 31)]) == {}


@pytest.mark.parametrize(
    ("history", "kinds", "said"),
    [
        (ONE_LINE, ["collapse of the prediction"], "effective rank 1.3 of 100"),
        (ONE_POINT, ["collapse of the prediction", "collapse of the target"], "spread 0.20 of 1"),
        (
            OVERFITS,
            ["overfits"],
            "(300 on the train probe, 90 on dev), and dev has not risen since epoch 1 (100;",
        ),
        (
            NO_RECALL,
            ["no recall"],
            "The loss falls (5.50 to 1.00) but recall stays at chance after epoch 10: dev rsum 21.0",
        ),
    ],
    ids=["rank", "spread", "overfits", "no recall"],
)
def test_each_is_said_with_its_number(history: list[dict[str, Any]], kinds: list[str], said: str) -> None:
    found = warnings(history)
    assert list(found) == kinds
    assert all(said in sentence for sentence in found.values())


@pytest.mark.parametrize(
    "history",
    [
        [epoch(1, rank={"prediction": 1.3, "target": 1.3}, possible=9)],  # so few images fill no more
        OVERFITS[:-1],  # not for long enough
        [*OVERFITS[:-1], epoch(11, 98, train=300.0)],  # dev has hardly fallen
        [*OVERFITS[:-1], epoch(11, 90, train=100.0)],  # the train probe is no better
        NO_RECALL[:-1],
        [*NO_RECALL[:-1], epoch(10, 31, loss=1.0)],  # above chance
        [epoch(n, 21, loss=6.0) for n in range(1, 11)],  # the loss does not fall either
    ],
)
def test_nothing_is_said_too_early_or_without_ground(history: list[dict[str, Any]]) -> None:
    assert warnings(history) == {}


@pytest.mark.parametrize(
    ("images", "rsum", "chance"), [(5, 525, 450), (1, 600, 600), (4, 600, 500), (20, 200, 160)]
)
def test_few_images_raise_no_alarm(images: int, rsum: float, chance: float) -> None:
    """Of five images no rsum lies so far above chance that it could not be an accident."""
    found = warnings(
        [epoch(n, rsum, loss=6.0 - n / 2, train=600.0) for n in range(1, 31)], chance=chance, images=images
    )
    assert list(found) == ["few images"]
    few = "1 image is" if images == 1 else f"{images} images are"
    assert f"{few} too few to tell it from chance: dev rsum {rsum:.1f}" in found["few images"]
    probe = min(600.0, rsum + 100)
    falling = [epoch(1, rsum), *(epoch(n, rsum - 25, train=probe) for n in range(2, 31))]
    assert warnings(falling, chance=chance, images=images) == {}, "nor is it said to overfit"


def test_nobody_is_told_to_try_what_the_run_does() -> None:
    linear = {f"model.{head}.kind": "linear" for head in ("image_projection", "text_projection", "predictor")}
    done = override(
        recipe("contrastive"),
        linear | {"training.batch_size": 6000, "model.image_projection.input_dropout": 0.5},
    )
    for history in (ONE_LINE, ONE_POINT, OVERFITS, NO_RECALL):
        before, after = (" ".join(warnings(history, config).values()) for config in (CONTRASTIVE, done))
        assert "linear" not in after
        assert "batch_size" not in after
        assert "input_dropout" not in after
        assert len(after) <= len(before)
    assert "model.predictor.kind linear" in warnings(ONE_LINE)["collapse of the prediction"]
    assert "linear" not in str(warnings(ONE_POINT, recipe("adapt"))), "adapters keep the pretrained pair"
    assert "batch_size" not in warnings(ONE_LINE, override(done, {"objective.weights": {"cosine": 1.0}}))
    assert "pretrained" not in warnings(NO_RECALL)["no recall"]
    assert (
        "a pretrained backbone as model.image and model.text"
        in warnings(NO_RECALL, recipe("tiny"))["no recall"]
    )


def test_frozen_features_that_are_constant_are_the_cause() -> None:
    found = warnings(ONE_POINT, CONTRASTIVE, constant=("target",))
    assert list(found) == ["collapse of the prediction", "constant features of the target"]
    assert "the same for every caption" in found["constant features of the target"]
    assert "model.max_tokens (32)" in found["constant features of the target"]
    assert "no recall" not in warnings(NO_RECALL, constant=("target",))
    assert (
        "the same for every image"
        in warnings(ONE_POINT, constant=("prediction",))["constant features of the prediction"]
    )


@pytest.mark.parametrize("history", [ONE_LINE, ONE_POINT, OVERFITS, NO_RECALL])
def test_every_setting_that_is_named_exists(history: list[dict[str, Any]]) -> None:
    sections = "|".join(field.name for field in dataclasses.fields(RunConfig))
    for sentence in [*warnings(history).values(), *warnings(history, constant=("target",)).values()]:
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
    assert "info_nce, whose negatives keep rows apart" in said
    last = run.metrics()[-1]
    assert last["dev"]["cosine"]["random"] > 0.95, "and the matched cosine alone would have looked perfect"
    assert last["dev"]["cosine"]["matched"] > 0.95
    assert run.summary is not None
    assert len(run.summary["warnings"]) == 1, "of the closed formula, which is kept instead"


def test_captions_that_are_all_the_same_are_the_cause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["image,caption,split"]
    for number in range(60):
        Image.new("RGB", (32, 32), (4 * number, 255 - 4 * number, 90)).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,A photo.,{'dev' if number % 3 == 0 else 'train'}")
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    tiny = {"model.image": "tiny-resnet", "model.text": "tiny-bert", "model.image_views": ["whole"]}
    few = {"data.source": str(tmp_path / "pairs.csv"), "training.epochs": 1, "training.batch_size": 40}
    pairjepa.train(recipe("contrastive", tiny | few), None, tmp_path / "run")
    said = capsys.readouterr().err
    assert "warning: The frozen features are the same for every caption" in said
    assert "Collapse of the target" not in said
