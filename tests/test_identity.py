"""A run is what its data, backbones and settings are, not how they were typed or where they lie."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pairjepa.backbones.location import is_hub_id
from pairjepa.backbones.tiny import tiny_resnet
from pairjepa.cli import main
from pairjepa.embedder.embedder import Embedder
from pairjepa.pairs import Pairs, sources
from pairjepa.run.folder import RunFolder
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import write_json

SETTINGS = ["--model.text", "tiny-bert", "--model.dim", "16", "--training.batch-size", "20"]
DONE = "is complete: best epoch 1. Nothing to do."


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with pairs in `photos` and an image backbone in `org/resnet`, which could be a hub id."""
    pairs = Pairs.open("shapes:30")
    (tmp_path / "photos").mkdir()
    rows = zip(
        pairs.names, pairs.table["captions"].to_pylist(), pairs.table["split"].to_pylist(), strict=True
    )
    lines = ["image,caption,split"]
    for row, (name, captions, split) in enumerate(rows):
        (tmp_path / "photos" / f"{name}.bmp").write_bytes(pairs.read_bytes(row))
        lines += [f"{name}.bmp,{caption},{split}" for caption in captions]
    (tmp_path / "photos" / "captions.csv").write_text("\n".join(lines) + "\n")
    tiny_resnet(0).save_pretrained(tmp_path / "org" / "resnet")
    write_json(
        tmp_path / "org/resnet/preprocessor_config.json",
        {"image_processor_type": "ViTImageProcessor", "size": 64},
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PAIRJEPA_CACHE", str(tmp_path / "cache"))
    return tmp_path


def train(data: object, image: object = "org/resnet", run: object = "run", *more: str) -> int:
    given = ["--data", str(data), "--model.image", str(image), "--run", str(run), *more]
    return main(["train", "contrastive", *given, "--training.epochs", "1", *SETTINGS])


def test_the_same_run_however_it_is_typed(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("./photos") == 0
    written = (home / "run" / "run.json").read_bytes()
    for data, image, more in (
        ("photos", "./org/resnet/", ()),
        ("photos/", home / "org/resnet", ("--engine", "torch")),
        (home / "photos", "org/../org/resnet", ("--training.checkpoint-seconds", "5")),
    ):
        capsys.readouterr()
        assert train(data, image, "run/", *more) == 0
        assert DONE in capsys.readouterr().err
    monkeypatch.chdir(home / "elsewhere")
    assert train("../photos", "../org/resnet", home / "run") == 0
    assert DONE in capsys.readouterr().err
    assert (home / "run" / "run.json").read_bytes() == written
    config = RunFolder(home / "run").config
    assert (config.data.source, config.model.image) == (str(home / "photos"), str(home / "org" / "resnet"))
    assert main(["evaluate", str(home / "run")]) == 0  # neither is looked for here, nor at the hub
    monkeypatch.chdir(home)
    assert train("photos", "org/resnet", "run", "--model.image-stages", "-1") == 1
    assert "model.image_stages: None there, (-1,) now" in capsys.readouterr().err


def test_run_data_and_backbone_may_move(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("photos") == 0
    for name in ("photos", "org", "run"):
        (home / name).rename(home / "elsewhere" / name)
    (home / "org").symlink_to(home / "elsewhere" / "org")
    monkeypatch.chdir(home / "elsewhere")
    assert main(["evaluate", "run"]) == 1
    said = capsys.readouterr().err
    assert f"{home / 'photos'} is not" in said
    assert "say where they are now: pairjepa evaluate run --data WHERE" in said
    assert main(["evaluate", "run", "--data", "photos"]) == 0
    assert main(["evaluate", "run", "--split", "dev"]) == 0, "the run knows it now"
    (home / "org").unlink()
    assert main(["evaluate", "run"]) == 1
    assert train("photos", "org/resnet") == 0
    assert DONE in capsys.readouterr().err
    assert main(["evaluate", "run"]) == 0


def test_other_data_and_other_backbones_are_found_and_named(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("photos") == 0
    shutil.copytree("photos", "other")
    table = Path("other/captions.csv")
    table.write_text(table.read_text().replace("red", "blue"))
    before = Path("run/run.json").read_bytes()
    assert train("other") == 1
    said = capsys.readouterr().err
    assert "must be those it was trained on: 30 images and" in said
    assert "now; the captions differ. Put the old data back, say where they are now" in said
    next(Path("other").glob("*7.bmp")).unlink()
    assert train("other") == 1
    assert "now; the images and captions and splits differ" in capsys.readouterr().err
    tiny_resnet(1).save_pretrained("org/other")
    shutil.copy("org/resnet/preprocessor_config.json", "org/other")
    assert train("photos", "org/other") == 1
    assert "model.image must be the backbone that run was trained on" in capsys.readouterr().err
    assert Path("run/run.json").read_bytes() == before


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_is_measured_on_other_pairs_beside_its_own(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("photos") == 0
    assert main(["evaluate", "run", "--json"]) == 0
    own, before = json.loads(capsys.readouterr().out), files(Path("run"))
    shutil.copytree("photos", "other")
    table = Path("other/captions.csv")
    table.write_text(table.read_text().replace("red", "blue"))
    assert main(["evaluate", "run", "--data", "other", "--json"]) == 0
    given = capsys.readouterr()
    assert "not the pairs that run was trained on" in given.err
    result = json.loads(given.out)
    assert set(result) == set(own)
    assert (own["data"]["other"], result["data"]["other"], result["split"]) == (False, True, "test")
    assert result["corrected"] is None
    assert result["baselines"]["cca"] is not None, "these pairs have a train split"
    after = files(Path("run"))
    assert before.items() <= after.items()
    name = f"test-on-{result['data']['digest'][:8]}"
    parts = {
        Path(file).relative_to("run").parts[1].partition(".")[0] for file in after.keys() - before.keys()
    }
    assert parts == {name}


def test_other_pairs_without_the_split_are_measured_whole(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("photos") == 0
    Path("other/test").mkdir(parents=True)
    for image in Path("photos").glob("*.bmp"):
        shutil.copy(image, "other/test")
        Path("other/test", image.name).with_suffix(".txt").write_text(f"the number {image.stem}")
    capsys.readouterr()
    assert main(["evaluate", "run", "--data", "other", "--split", "dev", "--json"]) == 0
    given = capsys.readouterr()
    assert "have no split 'dev': measured on all (30 images)" in given.err
    result = json.loads(given.out)
    assert (result["split"], result["images"], result["baselines"]["cca"]) == ("dev", 30, None)
    assert main(["evaluate", "run", "--data", "other"]) == 0


def test_other_pairs_are_measured_whole_if_asked_and_need_not_have_the_columns_of_the_run(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Path("photos/captions.csv")
    table.write_text(table.read_text().replace("image,caption", "photo_no,said", 1))
    columns = ("--data.image-column", "photo_no", "--data.caption-column", "said")
    assert train("photos", "org/resnet", "run", *columns) == 0
    Path("other").mkdir()
    for image in Path("photos").glob("*.bmp"):
        shutil.copy(image, "other")
        Path("other", image.name).with_suffix(".txt").write_text(f"the number {image.stem}")
    capsys.readouterr()
    assert main(["evaluate", "run", "--data", "other", "--json"]) == 0
    given = capsys.readouterr()
    assert json.loads(given.out)["images"] < 30
    assert "which a hash has drawn; all: --split all" in given.err
    assert main(["evaluate", "run", "--data", "other", "--split", "all", "--json"]) == 0
    given = capsys.readouterr()
    result = json.loads(given.out)
    assert (result["split"], result["images"], result["baselines"]["cca"]) == ("test", 30, None)
    assert "next:" not in given.err, "the report is of its own pairs"
    assert main(["evaluate", "run", "--split", "all"]) == 2, "its own pairs are not measured as one"
    Path("photos").rename("moved")
    assert main(["evaluate", "run", "--data", "moved"]) == 0, "by the columns of the run"


def test_a_backbone_that_the_run_keeps_is_compared_with_the_one_that_is_named(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tune = ("--model.image-lr-scale", "0.1")
    assert train("photos", "org/resnet", "run", *tune) == 0
    tiny_resnet(1).save_pretrained("org/other")
    shutil.copy("org/resnet/preprocessor_config.json", "org/other")
    assert train("photos", "org/other", "run", *tune) == 1
    assert "model.image must be the backbone that run was trained on" in capsys.readouterr().err
    Path("org/resnet").rename("moved")
    assert train("photos", "org/resnet", "run", *tune) == 0, "it is in the run"
    assert train("photos", "moved", "run", *tune) == 0


def test_features_are_computed_by_the_engine_that_the_run_began_with(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("photos") == 0
    run = RunFolder(home / "run")
    assert run.record["engines"] == {"image": "torch", "text": "torch"}
    record = json.loads((home / "run/run.json").read_text())
    del record["checksum"]
    write_json(home / "run/run.json", record | {"engines": {"image": "onnx", "text": "torch"}})
    (home / "run/summary.json").unlink()
    assert train("photos", "org/resnet", "run", "--engine", "torch") == 1
    assert (
        "model.engine must compute the image features as when run was begun (by onnx)"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("typed", "located"),
    [
        ("shapes:30", "shapes:30"),
        ("s3://bucket/{000..127}.tar", "s3://bucket/{000..127}.tar"),
        ("someone/pairs", "someone/pairs"),
        ("photos/", "HERE/photos"),
        ("./someone/pairs", "HERE/someone/pairs"),
        ("shards/{000..127}.tar", "HERE/shards/{000..127}.tar"),
        ("~/photos", "HOME/photos"),
    ],
)
def test_sources_from_any_working_directory(typed: str, located: str) -> None:
    assert sources.located(typed) == located.replace("HERE", os.getcwd()).replace("HOME", str(Path.home()))


def test_a_folder_is_never_taken_for_a_hub_id(home: Path) -> None:
    local = ("org/resnet", "org/nosuch", "org", "./someone/model", str(home / "nosuch"), "~/nosuch", "a/b/c")
    assert not any(map(is_hub_id, local))
    assert all(map(is_hub_id, ("someone/model", "bert-base-uncased")))
    with pytest.raises(PairJEPAError, match="org/nosuch is no run folder"):
        Embedder.from_pretrained("org/nosuch")


def test_two_trainings_of_one_run(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [
        "train",
        "contrastive",
        "--data",
        "photos",
        "--model.image",
        "org/resnet",
        "--run",
        "run",
        *SETTINGS,
    ]
    long = [*given, "--training.epochs", "100000", "--training.checkpoint-seconds", "1000"]
    with subprocess.Popen(
        [sys.executable, "-m", "pairjepa", *long], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if line.startswith("epoch"))
        assert main(long) == 1
        said = capsys.readouterr().err
        assert f"got a second one while process {process.pid} on {socket.gethostname()} (since 2" in said
        process.send_signal(signal.SIGKILL)
    record = Path("run/run.json")
    shorter = json.loads(record.read_text().replace('"epochs": 100000', '"epochs": 1'))
    del shorter["checksum"]
    write_json(record, shorter)
    assert train("photos") == 0, "the lock is free"
    assert Path("run/.lock").read_text() == ""
