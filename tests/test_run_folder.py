"""The run folder: what it refuses, and that it is whole at any moment."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pairjepa.config.recipes import recipe
from pairjepa.config.settings import ContextConfig, HeadConfig, ModelConfig, RunConfig
from pairjepa.run.folder import RunFolder
from pairjepa.util.errors import PairJEPAError

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


def test_another_pair_is_refused_by_its_own_name(tmp_path: Path) -> None:
    run = started(tmp_path, recipe("adapt", {"data.source": "DATA", "model.pair": "a/pair"}))
    run.note_backbones(BACKBONES)
    changed = BACKBONES | {"image": {"digest": "f" * 32, "source": "PAIR"}}
    with pytest.raises(PairJEPAError, match=r"^model\.pair must be the backbone .* got ffffffff from PAIR"):
        RunFolder(tmp_path).note_backbones(changed)


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(PairJEPAError, match=r"is no run folder \(no run.json; it is not there\)"):
        RunFolder(tmp_path / "nosuch")
    (tmp_path / "photos").mkdir()
    with pytest.raises(PairJEPAError, match=r"it is not there\)\. Did you mean '.*photos'\? Make one"):
        RunFolder(tmp_path / "photoss" / "seed-0")
    (tmp_path / "photos").rmdir()
    (tmp_path / "file").touch()
    with pytest.raises(PairJEPAError, match=r"no run.json; it is a file\)"):
        RunFolder(tmp_path / "file")
    with pytest.raises(PairJEPAError, match=r"no run.json; it holds file"):
        RunFolder(tmp_path)
    (tmp_path / "summary.json").touch()
    with pytest.raises(PairJEPAError, match=r"no run.json; it is a run without it: put it back\)"):
        RunFolder(tmp_path)
    (tmp_path / "meta.json").touch()
    with pytest.raises(PairJEPAError, match=r"no run.json; it is an index"):
        RunFolder(tmp_path)


def test_a_folder_of_runs_names_them(tmp_path: Path) -> None:
    for name in ("a", "b", "group/seed-0", "group/seed-1", "c"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "run.json").touch()
    with pytest.raises(
        PairJEPAError, match=r"is no run but a folder of runs: .*a, .*b, .*c and 2 more\. Give one"
    ):
        RunFolder(tmp_path)


def record(**changes: Any) -> str:
    """As of PairJEPA 0.1, without a checksum."""
    data = DATA | {
        "description": "pairs",
        "generated": True,
        "splits": {"train": {"images": 1200, "captions": 6000}},
        "unreadable": 0,
        "leaks": {"counts": [], "examples": []},
    }
    whole = {"format": 1, "config": CONFIG.to_dict(), "data": data, "versions": {"python": "3"}}
    return json.dumps(whole | changes)


def test_a_record_of_0_1_is_read(tmp_path: Path) -> None:
    """Settings that have another name today, and values that have."""
    head = {"kind": "residual", "hidden": 64}
    old = {
        "recipe": "masked",
        "model": {"image_tune": 1.0, "text_tune": None, "engine": "openvino"}
        | dict.fromkeys(("text_projection", "caption_projection", "predictor"), head),
        "context": {"caption": "words", "hidden": 0.75, "target": "average"},
    }
    new = HeadConfig("residual", hidden_dim=64)
    model = ModelConfig(image_lr_scale=1.0, text_projection=new, caption_projection=new, predictor=new)
    context = ContextConfig(caption="words", full_mask_prob=0.75, target="ema")
    (tmp_path / "run.json").write_text(record(config=old))
    assert RunFolder(tmp_path).config == RunConfig("masked", model=model, context=context)
    RunFolder.fits(tmp_path, RunConfig("masked", model=model, context=context))


def test_a_changed_byte_of_a_record_is_found(tmp_path: Path) -> None:
    started(tmp_path)
    file = tmp_path / "run.json"
    file.write_bytes(file.read_bytes().replace(b'"seed": 0', b'"seed": 1', 1))
    with pytest.raises(PairJEPAError, match=r"run.json must be as it was written, got another content"):
        RunFolder(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"format": 99}',
            "must have format 1, got 99. If another version of PairJEPA made it, use that one",
        ),
        ("[1]", "must hold a table, got a list"),
        ('{"format"', "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON .nested too deep"),
        ('{"format": 1}', "must hold config, got none"),
        (
            record(data={"digest": 1}),
            "must hold data.description, got none",
        ),
        (record(config={"context": 1}), "context must be a table of settings, got 1"),
        (
            record(config={"context": {"hidden": 0.5, "full_mask_prob": 0.5}}),
            "Unknown setting context.hidden. It is context.full_mask_prob now.",
        ),
        (record(config={"modle": {}}), "Unknown setting modle. Did you mean 'model'"),
        (record(config={"training": {"epochs": -1}}), "training.epochs must be at least 1, got -1"),
        (record(config={"model": {"image_views": 3}}), "model.image_views must be a list, got 3"),
    ],
)
def test_a_record_that_cannot_be_read(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(PairJEPAError, match=message) as error:
        RunFolder(tmp_path)
    assert "Put the run's own back, or train it again in another folder." in str(error.value)


def test_a_run_without_weights_cannot_be_used(tmp_path: Path) -> None:
    run = started(tmp_path)
    assert run.summary is None
    with pytest.raises(
        PairJEPAError, match=r"a run whose first epoch is not finished. Run the same train command"
    ):
        run.check_trained()
    run.model_file.touch()
    run.check_trained()
    run.model_file.unlink()
    run.finish({"best_epoch": 1})
    with pytest.raises(
        PairJEPAError, match=r"a complete run without its model.safetensors. Put it back, or run"
    ):
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
    assert run.metrics() == [{"epoch": 1}, {"epoch": 2}, {"epoch": 3, "again": True}]


def measured(path: Path, epochs: int, *, complete: bool) -> RunFolder:
    run = started(path, replace(CONFIG, training=replace(CONFIG.training, epochs=epochs)))
    for epoch in range(1, epochs + 1):
        run.append_metrics({"epoch": epoch, "loss": 1 / epoch})
    if complete:
        run.finish({"best_epoch": 1})
    return run


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[1:], "epoch 1 in line 1, as it was written"),
        (lambda lines: [lines[0], lines[2], lines[3]], "epoch 2 in line 2"),
        (lambda lines: lines[:-1], "must hold 4 epochs, got 3"),
        (lambda lines: [lines[0].replace("1.0", "1.5"), *lines[1:]], "epoch 1 in line 1"),
        (lambda lines: [*lines[:3], lines[3][:9]], "epoch 4 in line 4"),
        (lambda lines: [*lines[:3], '{"epoch": 4, "loss": 0.3}\n'], "epoch 4 in line 4"),
        (lambda lines: ["[" * 100_000], "epoch 1 in line 1"),
    ],
)
def test_lines_that_vanish_or_change_are_found(
    change: Callable[[list[str]], list[str]], message: str, tmp_path: Path
) -> None:
    run = measured(tmp_path, 4, complete=True)
    file = tmp_path / "metrics.jsonl"
    assert len(run.metrics()) == 4
    file.write_text("".join(change(file.read_text().splitlines(keepends=True))))
    with pytest.raises(PairJEPAError, match=message) as error:
        run.metrics()
    assert "Put it back, or remove it: reports then go without" in str(error.value)
    file.unlink()
    assert run.metrics() == []


def test_lines_before_a_checkpoint_must_be_there(tmp_path: Path) -> None:
    run = measured(tmp_path, 4, complete=False)
    file = tmp_path / "metrics.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:2]))
    assert [line["epoch"] for line in run.keep_metrics(2)] == [1, 2]
    with pytest.raises(
        PairJEPAError, match=r"the 3 epochs before the checkpoint, got 2. .*remove .*checkpoint"
    ):
        run.keep_metrics(3)
    assert run.keep_metrics(0) == []  # as without the checkpoint


def test_lines_of_0_1_are_read_and_added_to(tmp_path: Path) -> None:
    run = measured(tmp_path, 4, complete=False)
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1}\n{"epoch": 2}\n')
    run.append_metrics({"epoch": 3})
    run.append_metrics({"epoch": 4})
    assert [line["epoch"] for line in run.metrics()] == [1, 2, 3, 4]
    assert run.keep_metrics(3) == [{"epoch": 1}, {"epoch": 2}, {"epoch": 3}]


def test_metrics_are_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        started(tmp_path).append_metrics({"loss": float("nan")})
