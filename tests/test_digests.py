"""Numbers belong to weights: what was made with others is refused by all who read it, with a command that mends it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import pairjepa
from pairjepa.apps.export import export
from pairjepa.apps.report import collect
from pairjepa.embedder.embedder import Embedder
from pairjepa.evaluation import evaluate as evaluation
from pairjepa.run.folder import RunFolder
from pairjepa.training.loop import Trainer
from pairjepa.util.errors import PairJEPAError

SETTINGS = {
    "data.source": "shapes:60",
    "model.image": "tiny-resnet",
    "model.text": "tiny-bert",
    "model.dim": 16,
    "training.epochs": 3,
    "training.batch_size": 20,
    "training.checkpoint_seconds": 0,
    "training.learning_rate": 1e-2,
}


def train(path: Path, name: str = "contrastive", **settings: Any) -> RunFolder:
    given = SETTINGS | {key.replace("__", "."): value for key, value in settings.items()}
    return pairjepa.train(pairjepa.recipe(name, given), None, path)


def interrupted(path: Path, monkeypatch: pytest.MonkeyPatch, name: str = "contrastive") -> RunFolder:
    """A training that is stopped after its first epoch."""
    save = Trainer._save

    def stop(self: Trainer, position: dict[str, Any], event: Any) -> None:
        save(self, position, event)
        if position["epoch"] == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_save", stop)
        with pytest.raises(KeyboardInterrupt):
            train(path, name)
    return RunFolder(path)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A masked run that is complete and evaluated, with its control."""
    path = tmp_path_factory.mktemp("runs") / "masked"
    train(path, "masked")
    pairjepa.evaluate(path)
    return path


def test_an_evaluation_of_a_run_that_went_on_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    first = interrupted(run, monkeypatch).weights
    early = pairjepa.evaluate(run)
    assert early["weights"] == first
    last = train(run).weights
    assert last != first
    with pytest.raises(
        PairJEPAError, match=r"must be of the model that .* holds.*Evaluate it again: pairjepa eval"
    ):
        collect([run])
    export(run, "hub", tmp_path / "early")
    assert "left out of the card" in capsys.readouterr().err
    card = (tmp_path / "early" / "README.md").read_text()
    assert "It was not evaluated" in card
    assert not (tmp_path / "early" / "evaluation").exists()

    late = pairjepa.evaluate(run)  # what was advised
    assert late["weights"] == last
    export(run, "hub", tmp_path / "late")
    card = (tmp_path / "late" / "README.md").read_text()
    assert f"| {late['rsum']:.1f} [" in card
    assert last in card
    assert collect([run])["runs"][0]["evaluation"]["weights"] == last


def test_an_evaluation_that_was_killed_between_its_files_is_noticed(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(done, tmp_path / "run"))
    other = train(tmp_path / "other", "masked", training__seed=1)
    shutil.copy(other.model_file, run)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "write_record", killed)
        with pytest.raises(KeyboardInterrupt):
            pairjepa.evaluate(run)
    with pytest.raises(
        PairJEPAError, match=r"test\.json must be of the weights that .* Make it again: pairjepa eval"
    ):
        collect([run])
    pairjepa.evaluate(run)
    assert collect([run])["runs"][0]["evaluation"]["weights"] == other.weights


def test_weights_that_are_replaced_while_they_are_evaluated(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(done, tmp_path / "run"))
    other = train(tmp_path / "other", "masked", training__seed=1)
    before, load = RunFolder(run).weights, Embedder.of.__func__  # type: ignore[attr-defined]

    def replaced(cls: type[Embedder], folder: RunFolder, *backbones: Any) -> Embedder:
        embedder: Embedder = load(cls, folder, *backbones)
        if folder.path == run:
            shutil.copy(other.model_file, run / "new")
            (run / "new").replace(folder.model_file)
        return embedder

    with monkeypatch.context() as patch:
        patch.setattr(Embedder, "of", classmethod(replaced))
        result = pairjepa.evaluate(run)
    assert result["weights"] == before != RunFolder(run).weights
    kept = json.loads((done / "evaluation" / "test.json").read_text())
    assert result["partial"] == kept["partial"]  # all of them of the weights that it names
    assert result["rsum"] == kept["rsum"]
    with pytest.raises(PairJEPAError, match="got that of another epoch or training"):
        pairjepa.compare([run, done])


def test_a_control_that_went_on_is_noticed(done: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(done, tmp_path / "run"))
    assert collect([run])["runs"][0]["evaluation"]["control_weights"] == RunFolder(run / "text-only").weights
    other = train(tmp_path / "other", "masked", training__seed=1)
    shutil.copy(other.path / "text-only" / "model.safetensors", run / "text-only")
    with pytest.raises(PairJEPAError, match=r"test\.json must be of the weights that .* holds"):
        collect([run])


def test_an_evaluation_of_0_1_is_of_the_weights_of_its_embeddings(done: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(done, tmp_path / "run"))
    file = run / "evaluation" / "test.json"
    record = json.loads(file.read_text())
    file.write_text(
        json.dumps({k: v for k, v in record.items() if k not in ("checksum", "weights", "control_weights")})
    )
    assert collect([run])["runs"][0]["evaluation"]["rsum"] == record["rsum"]
    (run / "embeddings" / "test" / "checksums.json").unlink()
    assert collect([run])["runs"][0]["evaluation"]["rsum"] == record["rsum"]


def test_weights_that_are_gone_are_trained_again(done: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(done, tmp_path / "run"))
    whole = (run / "model.safetensors").read_bytes()
    (run / "model.safetensors").unlink()
    with pytest.raises(PairJEPAError, match="run the same train command again, which trains anew"):
        pairjepa.evaluate(run)
    assert train(run, "masked").summary is not None
    assert (run / "model.safetensors").read_bytes() == whole
    assert pairjepa.evaluate(run)["rsum"] == pairjepa.evaluate(done)["rsum"]


@pytest.mark.parametrize("file", ["model.safetensors", "checkpoint.safetensors", "metrics.jsonl"])
def test_an_interrupted_run_follows_the_advice_on_a_damaged_file(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(tmp_path / "whole")
    run = interrupted(tmp_path / "run", monkeypatch)
    data = bytearray((run.path / file).read_bytes())
    data[-5] ^= 1
    (run.path / file).write_bytes(data)
    if file == "model.safetensors":
        with pytest.raises(PairJEPAError, match="remove it and run the same train command again"):
            pairjepa.evaluate(run.path)
        run.model_file.unlink()
    else:
        with pytest.raises(
            PairJEPAError, match=r"or remove (it and|.*checkpoint.safetensors and) run the same"
        ):
            train(run.path)
        run.checkpoint_file.unlink()
    assert train(run.path).model_file.read_bytes() == whole.model_file.read_bytes()
