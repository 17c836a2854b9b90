"""The demo, whole, on fewer pairs: what it shows, and that it does nothing twice."""

import json
from pathlib import Path

import pytest

from pairjepa.apps import demo


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a finished demo and its text."""
    folder = tmp_path_factory.mktemp("demo") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "SETTINGS", {"data.source": "shapes:60", "training.epochs": 1})
        runs, text = demo.demo(folder)
    assert runs == [folder / "contrastive", folder / "masked"]
    return folder, text


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "SETTINGS", {"data.source": "shapes:60", "training.epochs": 1})


def test_both_approaches_stand_beside_chance_and_cca(shown: tuple[Path, str]) -> None:
    _, text = shown
    rows = [line.split("  ")[0] for line in text.splitlines()]
    wanted = ["chance", "CCA", "contrastive", "masked", "masked − contrastive"]
    assert [row for row in rows if row in wanted] == [*wanted, "contrastive", "masked"]  # the last two: cost
    assert text.startswith("Generated pairs")
    assert "one seed each" in text


def test_the_sentences_have_the_numbers_of_the_evaluations(shown: tuple[Path, str]) -> None:
    folder, text = shown
    result = json.loads((folder / "masked" / "evaluation" / "test.json").read_text("utf-8"))
    found, gain = result["partial"]["0.6"], result["beats_cca"]["rsum_difference"]
    assert f"masked {gain:+.0f} (" in text
    assert f"first for {found['R@1']:.0f} %; with another image for {found['shuffled']['R@1']:.0f} %" in text
    assert f"words alone for {found['text_only']['R@1']:.0f} %" in text


def test_a_second_time_there_is_nothing_to_do(
    shown: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, text = shown
    monkeypatch.setattr("pairjepa.training.train.train", None)
    monkeypatch.setattr("pairjepa.evaluation.evaluate.evaluate", None)
    assert demo.demo(folder)[1] == text
    assert capsys.readouterr().err.count("Nothing to do.") == 2


def test_what_was_evaluated_before_the_training_had_ended_is_evaluated_again(
    shown: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, text = shown
    file = folder / "contrastive" / "evaluation" / "test.json"
    early = json.loads(file.read_text("utf-8")) | {"cost": None, "rsum": 0.0}
    file.write_text(json.dumps(early), "utf-8")
    assert demo.demo(folder)[1] == text
    assert json.loads(file.read_text("utf-8"))["cost"] is not None
