"""The demo, whole, on fewer pairs: what it shows, and that it does nothing twice."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from pairjepa.apps import demo, demo_pair
from pairjepa.pairs.sources.shapes import draw


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a finished demo and its text."""
    folder = tmp_path_factory.mktemp("demo") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        _fewer(patch)
        patch.setattr(torch, "get_num_threads", lambda: 3)
        set_to: list[int] = []
        patch.setattr(torch, "set_num_threads", set_to.append)
        runs, text = demo.demo(folder)
    assert set_to == [1, 3], "one thread, and then as before"
    assert runs == [folder / "contrastive", folder / "masked", folder / "adapt/run"]
    return folder, text


def _fewer(patch: pytest.MonkeyPatch) -> None:
    few = {"data.source": "shapes:60", "training.epochs": 1}
    patch.setattr(demo, "SETTINGS", few)
    patch.setattr(demo_pair, "CLIP", few)
    patch.setattr(demo_pair, "SPLITS", {"train": 40, "dev": 12, "test": 16})


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    _fewer(monkeypatch)


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


def test_a_pair_is_adapted_to_a_shifted_world(shown: tuple[Path, str]) -> None:
    folder, text = shown
    there, (home,) = (
        (folder / "adapt/run/evaluation/test.json"),
        (folder / "adapt/run").glob("evaluation/test-on-*"),
    )
    for where, file in (("shifted world", there), ("where it learned", home)):
        result = json.loads(file.read_text("utf-8"))
        numbers = [result["baselines"]["pretrained"]["rsum"], result["rsum"]]
        numbers += [result["beats_pretrained"]["rsum_difference"]]
        (row,) = (line for line in text.splitlines() if line.startswith(where))
        assert row.removeprefix(where).split()[:3] == [
            f"{numbers[0]:.1f}",
            f"{numbers[1]:.1f}",
            f"{numbers[2]:+.1f}",
        ]


def test_the_shifted_world_is_other_pictures_in_other_words(tmp_path: Path) -> None:
    table = pq.read_table(demo_pair.shifted(tmp_path / "world.parquet"))
    assert table["split"].to_pylist().count("train") == 40
    picture = Image.open(io.BytesIO(table["image"][3].as_py()))
    data, captions = draw(1000, 3)
    before = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert picture.size == (64, 64)
    assert picture.getpixel((0, 0)) == tuple(before[0, 0][[1, 2, 0]])
    swapped = dict(demo_pair.SWAPS) | {two: one for one, two in demo_pair.SWAPS}
    wanted = [" ".join(swapped.get(word, word) for word in one.split()) for one in captions]
    assert table["caption"][3].as_py() == wanted != captions


def test_a_second_time_there_is_nothing_to_do(
    shown: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, text = shown
    monkeypatch.setattr("pairjepa.training.train.train", None)
    monkeypatch.setattr("pairjepa.evaluation.evaluate.evaluate", None)
    assert demo.demo(folder)[1] == text
    assert capsys.readouterr().err.count("Nothing to do.") == 4


def test_what_was_evaluated_before_the_training_had_ended_is_evaluated_again(
    shown: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, text = shown
    file = folder / "contrastive" / "evaluation" / "test.json"
    early = json.loads(file.read_text("utf-8")) | {"cost": None, "rsum": 0.0}
    file.write_text(json.dumps(early), "utf-8")
    assert demo.demo(folder)[1] == text
    assert json.loads(file.read_text("utf-8"))["cost"] is not None
