"""Training with teachers: a run learns what others, as one model, find alike."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pairjepa
from pairjepa.config.recipes import recipe
from pairjepa.config.settings import RunConfig
from pairjepa.pairs.data import read_data
from pairjepa.pairs.table import Pairs
from pairjepa.run.folder import RunFolder
from pairjepa.training import ensemble
from pairjepa.training import train as training
from pairjepa.training.loop import Trainer
from pairjepa.util.errors import PairJEPAError, UsageError

IMAGES = 90


def table(path: Path, seed: int) -> Path:
    """Two texts an image; both sides are linear in four numbers that they share, and noise."""
    rng = np.random.default_rng(seed)
    shared, owner = rng.normal(size=(IMAGES, 4)), np.repeat(np.arange(IMAGES), 2)
    image, text = (shared @ rng.normal(size=(4, width)) for width in (12, 10))
    columns = {
        "image": [f"{row}.jpg" for row in owner],
        "caption": [f"text {row}" for row in range(len(owner))],
        "image_embedding": (image + rng.normal(size=image.shape))[owner].tolist(),
        "text_embedding": (text[owner] + rng.normal(size=(len(owner), 10))).tolist(),
    }
    pq.write_table(pa.table(columns), path)
    return path


def config(data: Path, **values: object) -> RunConfig:
    given = {name.replace("__", "."): value for name, value in values.items()}
    return recipe(
        "contrastive",
        {
            "data.source": str(data),
            "model.dim": 16,
            "training.epochs": 4,
            "training.batch_size": 24,
            "model.predictor.kind": "mlp",
        }
        | given,
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return table(tmp_path_factory.mktemp("teachers") / "t.parquet", 0)


@pytest.fixture(scope="module")
def teachers(data: Path) -> Path:
    pairjepa.train_seeds(config(data, training__epochs=30), None, data.parent / "teachers", 2)
    return data.parent / "teachers"


def test_a_run_learns_the_pairs_from_its_teachers_alone(data: Path, teachers: Path, tmp_path: Path) -> None:
    taught = config(
        data,
        training__teachers=(str(teachers),),
        training__epochs=30,
        objective__weights__distillation=1.0,
        objective__weights__info_nce=0.0,
    )
    run = pairjepa.train(taught, None, tmp_path / "run")
    epoch = json.loads((run.path / "metrics.jsonl").read_text().splitlines()[-1])
    assert list(epoch["terms"]) == ["distillation"]
    own, theirs = (pairjepa.evaluate(path, "train") for path in (run.path, teachers / "seed-0"))
    chance = own["baselines"]["chance"]["rsum"]
    assert own["rsum"] > chance + (theirs["rsum"] - chance) / 2


def test_what_is_taught_is_what_an_ensemble_embeds(
    data: Path, teachers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each image and each caption of train in its row, also where they are embedded in parts."""
    run = RunFolder(teachers / "seed-0")
    material = ensemble.untrained(run, read_data(Pairs.open(data), 0.0))
    whole, digest = ensemble.teach([str(teachers)], material)
    monkeypatch.setattr(ensemble, "ROWS", 7)
    parts, same = ensemble.teach([str(teachers)], material)
    assert digest == same
    for one, two, side in zip(whole, parts, ("image", "text"), strict=True):
        for seed in ("seed-0", "seed-1"):
            pairjepa.evaluate(teachers / seed, "train")
        own = [np.load(teachers / seed / f"embeddings/train/{side}.npy") for seed in ("seed-0", "seed-1")]
        np.testing.assert_allclose(one, np.concatenate(own, axis=1) / 2**0.5, atol=1e-3)
        np.testing.assert_allclose(one, two, atol=1e-3)


@pytest.mark.parametrize(
    "values", [{"training__teachers": ("runs/a",)}, {"objective__weights__distillation": 1.0}]
)
def test_teachers_and_the_term_go_together(data: Path, values: dict[str, object]) -> None:
    with pytest.raises(
        UsageError, match=r"training\.teachers must go with a weight of the term distillation"
    ):
        config(data, **values).validate()


def test_teachers_of_other_pairs_are_refused(data: Path, teachers: Path, tmp_path: Path) -> None:
    other = table(tmp_path / "other.parquet", 1)
    taught = config(other, training__teachers=(str(teachers),), objective__weights__distillation=1.0)
    with pytest.raises(PairJEPAError, match=r"The data of .*teachers.* must be those it was trained on"):
        pairjepa.train(taught, None, tmp_path / "run")


def test_a_teacher_that_is_no_trained_run_is_refused_before_anything_is_computed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "load_backbones", lambda *_: pytest.fail("too late"))
    taught = config(data, training__teachers=(str(tmp_path / "runs"),), objective__weights__distillation=1.0)
    with pytest.raises(PairJEPAError, match=r"runs is no run folder \(no run\.json; it is not there\)"):
        pairjepa.train(taught, None, tmp_path / "run")


def test_a_run_goes_on_with_the_teachers_that_it_began_with(
    data: Path, teachers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = shutil.copytree(teachers, tmp_path / "teachers")
    taught = config(data, training__teachers=(str(own),), objective__weights__distillation=1.0)
    run = pairjepa.train(taught, None, tmp_path / "run")
    own.rename(tmp_path / "away")
    assert pairjepa.train(taught, None, run.path).path == run.path
    assert "Nothing to do" in capsys.readouterr().err

    run.summary_file.unlink()  # as if it had not come to its end
    with pytest.raises(PairJEPAError, match="teachers is no run folder"):
        pairjepa.train(taught, None, run.path)
    pairjepa.train_seeds(config(data, training__epochs=2), None, own, 2)
    with pytest.raises(
        PairJEPAError, match=r"training\.teachers must have the weights with which .* was begun"
    ):
        pairjepa.train(taught, None, run.path)


def test_an_interrupted_run_ends_with_the_same_weights(
    data: Path, teachers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught = config(data, training__teachers=(str(teachers),), objective__weights__distillation=1.0)
    whole = pairjepa.train(taught, None, tmp_path / "whole")
    step, steps = Trainer._step, iter(range(5))

    def stopped(trainer: Any, *given: Any) -> dict[str, float]:
        numbers = step(trainer, *given)
        if next(steps, None) == 4:
            signal.raise_signal(signal.SIGINT)
        return numbers

    monkeypatch.setattr(Trainer, "_step", stopped)
    with pytest.raises(KeyboardInterrupt):
        pairjepa.train(taught, None, tmp_path / "run")
    assert (tmp_path / "run" / "checkpoint.safetensors").is_file()
    assert (
        pairjepa.train(taught, None, tmp_path / "run").model_file.read_bytes()
        == whole.model_file.read_bytes()
    )
