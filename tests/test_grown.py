"""Data that have grown: the run is measured on what it knew, and another one starts from its weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pairjepa
from pairjepa.cli import main
from pairjepa.model.weights import read_tensors
from pairjepa.pairs import Pairs
from pairjepa.pairs.data import read_data
from pairjepa.run.folder import RunFolder
from pairjepa.util.errors import PairJEPAError

SETTINGS: dict[str, Any] = {
    "model.dim": 16,
    "model.image_lr_scale": None,
    "model.text_lr_scale": None,
    "training.epochs": 1,
    "model.predictor.kind": "mlp",  # whose place the closed formula cannot take
}


def write(folder: Path, rows: range) -> Path:
    drawn = Pairs.open("shapes:80")
    folder.mkdir(exist_ok=True)
    for row in rows:
        (folder / f"{row}.png").write_bytes(drawn.read_bytes(row))
        (folder / f"{row}.txt").write_text("\n".join(drawn.table["captions"][row].as_py()))
    return folder


@pytest.mark.parametrize("form", ["texts", "table"])
def test_a_training_looks_into_each_folder_once(form: str, looks: list[str], tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", range(60))
    if form == "table":
        texts = sorted(photos.glob("*.txt"))
        rows = [f'{text.stem}.png,"{text.read_text().splitlines()[0]}"' for text in texts]
        (photos / "captions.csv").write_text("image,caption\n" + "\n".join(rows))
    looks.clear()
    given = [f"--{name}={value}" for name, value in SETTINGS.items() if value is not None]
    assert main(["train", "tiny", "--data", str(photos), *given, "--run", str(tmp_path / "run")]) == 0
    inside = [folder for folder in looks if Path(folder).is_relative_to(photos)]
    assert str(photos) in inside
    assert len(inside) == len(set(inside))


def test_a_folder_that_has_grown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, run, other = write(tmp_path / "photos", range(60)), tmp_path / "run", tmp_path / "other"
    config = pairjepa.recipe("tiny", {"data.source": str(photos), **SETTINGS})
    pairjepa.train(config, None, run)
    before = pairjepa.evaluate(run, "test")
    write(photos, range(60, 80))
    (photos / "0-again.png").write_bytes((photos / "0.png").read_bytes())
    (photos / "0-again.txt").write_text("another caption")
    capsys.readouterr()
    after = pairjepa.evaluate(run, "test")
    assert f"21 images left out: new since {run} was trained." in capsys.readouterr().err
    assert after["rsum"] == before["rsum"]
    assert after["data"] == before["data"] | {"description": after["data"]["description"]}
    assert not pairjepa.evaluate(run, "test", data=photos)["data"]["other"]

    start = ["--from", str(run), "--training.learning-rate", "1e-12", "--training.epochs", "1"]
    start += ["--model.predictor.kind", "mlp", "--model.dim", "16"]
    assert main(["train", "tiny", "--data", str(photos), *start, "--run", str(other)]) == 0
    assert f"starting from the weights of {run}" in capsys.readouterr().err
    old, new = (read_tensors(RunFolder(one).model_file)[0] for one in (run, other))
    assert old.keys() == new.keys()
    learned = [name for name in old if "running_" not in name and "num_batches" not in name]
    for name in learned:
        np.testing.assert_allclose(old[name].numpy(), new[name].numpy(), atol=1e-6, err_msg=name)
    assert RunFolder(other).record["data"]["images"] == 81

    (photos / "1.txt").write_text("other words")
    with pytest.raises(PairJEPAError, match="must be those it was trained on"):
        pairjepa.evaluate(run, "test")


def test_a_run_of_0_1_has_its_splits_by_hash_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos, run = write(tmp_path / "photos", range(60)), tmp_path / "run"
    for copy in range(8):  # in several splits
        (photos / f"copy-{copy}.png").write_bytes((photos / "0.png").read_bytes())
        (photos / f"copy-{copy}.txt").write_text("a copy")
    config = pairjepa.recipe("tiny", {"data.source": str(photos), **SETTINGS})
    with monkeypatch.context() as patch:
        patch.setattr("pairjepa.pairs.data.arranged", lambda pairs, facts, cache: (pairs, facts))
        pairjepa.train(config, None, run)
    together = read_data(Pairs.open(photos), 1.0).record["digest"]
    assert RunFolder(run).record["data"]["digest"] != together
    RunFolder(run).pairs_file.unlink()
    assert not pairjepa.evaluate(run, "test")["data"]["other"]
    pairjepa.train(config, None, run)
