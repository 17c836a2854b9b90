"""The run folder: what it refuses, and that it is whole at any moment."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pairjepa.config.recipes import recipe
from pairjepa.config.settings import RunConfig
from pairjepa.run.folder import RunFolder
from pairjepa.util.errors import PairJEPAError, UsageError

CONFIG = recipe("contrastive", {"data.source": "DATA"})
DATA = {"digest": "a" * 32, "images": 1200, "captions": 6000}
BACKBONES = {side: {"digest": side * 8, "source": side.upper()} for side in ("image", "text")}


def started(path: Path, config: RunConfig = CONFIG, **data: Any) -> RunFolder:
    return RunFolder.start(path, config, DATA | data)


def test_a_run_can_be_started_again(tmp_path: Path) -> None:
    first = started(tmp_path / "run")
    record = (tmp_path / "run" / "run.json").read_bytes()
    again = started(
        tmp_path / "run", replace(CONFIG, training=replace(CONFIG.training, checkpoint_seconds=0))
    )
    assert again.config == first.config == CONFIG
    assert (tmp_path / "run" / "run.json").read_bytes() == record
    assert {"python", "torch", "transformers", "numpy", "pillow", "pairjepa"} == set(first.record["versions"])


def test_another_configuration_is_refused_with_the_fields_that_differ(tmp_path: Path) -> None:
    started(tmp_path)
    other = recipe("contrastive", {"data.source": "DATA", "model.dim": 8, "training.seed": 3})
    with pytest.raises(PairJEPAError, match="another configuration") as error:
        started(tmp_path, other)
    assert "\n  model.dim: 512 there, 8 now\n  training.seed: 0 there, 3 now\n" in str(error.value)


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    RunFolder.fits(tmp_path, CONFIG)  # nothing in it but folders
    (tmp_path / "sub" / "thesis.tex").touch()
    with pytest.raises(
        PairJEPAError, match=r"--run must be a new or empty folder or a run, got .* other files"
    ):
        RunFolder.fits(tmp_path, CONFIG)
    with pytest.raises(PairJEPAError, match="other files"):
        RunFolder.fits(tmp_path / "sub" / "thesis.tex", CONFIG)


def test_what_a_kill_left_is_no_obstacle_and_is_cleared_away(tmp_path: Path) -> None:
    for left in (".run.json.x1y2.tmp", ".image.x1y2.tmp/image", "evaluation/.test.json.x1y2.tmp"):
        (tmp_path / left).mkdir(parents=True)
    (tmp_path / ".run.json.x1y2.tmp" / "run.json").write_text('{"fo')
    started(tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        "evaluation",
        "run.json",
    ]


def test_other_data_are_refused_with_both_counts(tmp_path: Path) -> None:
    started(tmp_path)
    with pytest.raises(
        PairJEPAError, match=r"1,200 images and 6,000 captions \(digest aaaaaaaa\) then, 1,199 and"
    ):
        started(tmp_path, digest="b" * 32, images=1199)


def test_another_backbone_is_refused(tmp_path: Path) -> None:
    run = started(tmp_path)
    run.note_backbones(BACKBONES)
    RunFolder(tmp_path).check_backbones(BACKBONES)
    changed = BACKBONES | {"text": {"digest": "f" * 32, "source": "TEXT"}}
    with pytest.raises(PairJEPAError, match=r"model\.text must be the backbone .* got ffffffff from TEXT"):
        RunFolder(tmp_path).note_backbones(changed)


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(PairJEPAError, match=r"is no run folder \(no run.json; it is not there\)"):
        RunFolder(tmp_path / "nosuch")
    (tmp_path / "file").touch()
    with pytest.raises(PairJEPAError, match=r"no run.json; it holds file"):
        RunFolder(tmp_path)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ('{"format": 99}', PairJEPAError, "must have format 1, got 99. The run was made by another version"),
        ("[1]", PairJEPAError, "must have format 1, got no record at all"),
        ('{"format"', PairJEPAError, "is not valid JSON"),
        ('{"format": 1, "config": {"modle": {}}}', UsageError, "Unknown setting modle. Did you mean 'model'"),
    ],
)
def test_a_record_that_cannot_be_read(
    text: str, error: type[Exception], message: str, tmp_path: Path
) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(error, match=message):
        RunFolder(tmp_path)


def test_a_run_without_weights_cannot_be_used(tmp_path: Path) -> None:
    run = started(tmp_path)
    assert run.summary is None
    with pytest.raises(
        PairJEPAError, match=r"a run whose first epoch is not finished. Run the same train command"
    ):
        run.check_trained()
    run.model_file.touch()
    run.check_trained()


def test_metrics_that_a_crash_cut_short(tmp_path: Path) -> None:
    run = started(tmp_path)
    assert run.metrics() == []
    for epoch in (1, 2, 3):
        run.append_metrics({"epoch": epoch})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epo')
    assert [line["epoch"] for line in run.metrics()] == [1, 2, 3]
    assert run.keep_metrics(2) == [{"epoch": 1}, {"epoch": 2}]
    run.append_metrics({"epoch": 3, "again": True})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"epoch": 1}, {"epoch": 2}, {"epoch": 3, "again": True}]


def test_metrics_are_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        started(tmp_path).append_metrics({"loss": float("nan")})
