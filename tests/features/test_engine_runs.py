"""Engines in a run: its recalls, the flag, and what is said where an engine is not installed."""

import json
from pathlib import Path

import pytest

import pairjepa
from pairjepa.cli import main
from pairjepa.features import engines
from pairjepa.features.engines import choice
from pairjepa.util.errors import UsageError

SMALL = {
    "data.source": "shapes:120",
    "model.image": "tiny-resnet",
    "model.text": "tiny-bert",
    "model.dim": 16,
    "training.epochs": 3,
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PAIRJEPA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def stores(cache: Path) -> set[str]:
    found = [json.loads(path.read_text()) for path in cache.glob("features/*/manifest.json")]
    return {one.get("engine", "torch") for one in found}


def test_recalls_are_those_of_torch(tmp_path: Path, cache: Path) -> None:
    results = {}
    for engine in ("torch", "onnx"):
        run = tmp_path / engine
        pairjepa.train(pairjepa.recipe("contrastive", SMALL | {"model.engine": engine}), None, run)
        results[engine] = pairjepa.evaluate(run)
    assert stores(cache) == {"torch", "onnx"}
    assert results["onnx"]["rsum"] == pytest.approx(results["torch"]["rsum"], rel=0.02)


def test_evaluation_takes_the_features_of_training(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever engine `auto` chose then, nothing is computed again but what hard negatives add."""
    monkeypatch.setattr(choice, "FEW", 20)
    monkeypatch.setattr(choice, "bfloat16_pays", lambda device: False)  # as on a CPU without AMX
    pairjepa.train(pairjepa.recipe("contrastive", SMALL), None, tmp_path / "run")
    before = stores(cache)
    assert before == {"torch", "onnx"}
    capsys.readouterr()
    pairjepa.evaluate(tmp_path / "run")
    assert "image features" not in capsys.readouterr().err
    assert stores(cache) == before


def test_an_engine_that_is_not_installed_is_named(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    backbones = ["--model.image", "tiny-resnet", "--model.text", "tiny-bert", "--run", str(tmp_path / "run")]
    command = ["train", "contrastive", "--data", "shapes:60", *backbones, "--engine"]
    assert main([*command, "onnx"]) == 1
    assert "pip install 'pairjepa[onnx]'" in capsys.readouterr().err
    assert main([*command, "tensorflow"]) == 2
    assert "tensorflow" in capsys.readouterr().err
    assert main([*command, "openvino"]) == 2
    assert "Take onnx: OpenVINO reads the files of" in capsys.readouterr().err


def test_a_run_of_0_1_with_openvino_is_read(tmp_path: Path, cache: Path) -> None:
    """Evaluated and gone on with, as by `auto`; settings of this version do not take the name any more."""
    run = tmp_path / "run"
    pairjepa.train(pairjepa.recipe("contrastive", SMALL), None, run)
    record = json.loads((run / "run.json").read_text())
    record["config"]["model"]["engine"] = "openvino"
    del record["checksum"]  # as of 0.1
    (run / "run.json").write_text(json.dumps(record))
    assert pairjepa.evaluate(run)["split"] == "test"
    pairjepa.train(pairjepa.recipe("contrastive", SMALL), None, run)
    with pytest.raises(UsageError, match=r"model\.engine must be one of .*, got 'openvino'\. Take onnx"):
        pairjepa.recipe("contrastive", SMALL | {"model.engine": "openvino"})
