"""Runs that differ only in their seed: planned, found, refused, and trained for real at the smallest size."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from pairjepa.config.recipes import recipe
from pairjepa.config.settings import RunConfig
from pairjepa.run.folder import RunFolder
from pairjepa.run.seeds import free_folder, is_seed_group, plan_seeds, runs_at
from pairjepa.util.errors import PairJEPAError, UsageError

DATA = {"digest": "d" * 32, "images": 5, "captions": 9}


def config(**values: Any) -> RunConfig:
    return recipe("tiny", {"data.source": "shapes"} | {k.replace("__", "."): v for k, v in values.items()})


def make(path: Path, *seeds: int, digest: str = DATA["digest"], **values: Any) -> Path:
    for seed in seeds:
        settings = config(training__seed=seed, **values)
        RunFolder.start(path / f"seed-{seed}", settings, DATA | {"digest": digest})
    return path


def test_a_group_is_found_in_the_order_of_its_seeds(tmp_path: Path) -> None:
    group = make(tmp_path / "group", 10, 9, 2)
    (group / "notes").mkdir()
    assert is_seed_group(group)
    assert [run.config.training.seed for run in runs_at(group)] == [2, 9, 10]


def test_a_run_is_no_group(tmp_path: Path) -> None:
    run = make(tmp_path, 0) / "seed-0"
    assert not is_seed_group(run)
    assert [found.path for found in runs_at(run)] == [run]
    with pytest.raises(PairJEPAError, match=r"is no run folder .*it is not there"):
        runs_at(tmp_path / "nowhere")
    (tmp_path / "empty" / "seed-0").mkdir(parents=True)
    assert not is_seed_group(tmp_path / "empty")


def test_a_closed_formula_has_one_run_unless_its_backbones_are_drawn() -> None:
    values = {"data.source": "shapes"}
    closed = recipe("closed-form", values)
    with pytest.raises(
        UsageError, match=r"--seeds must be 1 for a closed formula, .* got 3\. Leave it out\."
    ):
        plan_seeds(Path("group"), closed, 3)
    assert len(plan_seeds(Path("group"), closed, 1)) == 1
    drawn = recipe("closed-form", values | {"model.image": "tiny-resnet"})
    assert len(plan_seeds(Path("group"), drawn, 3)) == 3


def test_runs_that_differ_in_more_are_no_group(tmp_path: Path) -> None:
    make(tmp_path, 0)
    make(tmp_path, 1, model__dim=8, training__epochs=3)
    with pytest.raises(
        PairJEPAError, match=r"only in training\.seed.*which differ in model\.dim, training\.epochs\. Move"
    ):
        runs_at(tmp_path)


def test_a_run_without_a_name_gets_the_next_free_one_and_an_unfinished_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert free_folder(config(data__source="/data/my photos"), None) == Path("runs/tiny-my-photos-1")
    first, second = Path("runs/tiny-shapes-1"), Path("runs/tiny-shapes-2")
    run = RunFolder.start(first, config(), DATA)
    assert free_folder(config(), None) == first
    assert free_folder(config(training__epochs=3), None) == second
    assert free_folder(config(model__image="other"), None) == second
    assert free_folder(config(), seeds=2) == second
    run.finish({})
    assert free_folder(config(), None) == second
    make(second, 0)
    assert free_folder(config(), seeds=2) == second
    assert free_folder(config(), None) == Path("runs/tiny-shapes-3")


def test_how_often_one_checkpoints_is_no_difference(tmp_path: Path) -> None:
    make(tmp_path, 0)
    make(tmp_path, 1, training__checkpoint_seconds=5.0)
    assert len(runs_at(tmp_path)) == 2


def test_runs_on_other_data_are_no_group(tmp_path: Path) -> None:
    make(tmp_path, 0)
    make(tmp_path, 1, digest="e" * 32)
    with pytest.raises(PairJEPAError, match="seed-0 and seed-1, which differ in the data"):
        runs_at(tmp_path)


def test_a_copy_is_no_further_seed(tmp_path: Path) -> None:
    make(tmp_path, 0, 1)
    shutil.copytree(tmp_path / "seed-0", tmp_path / "seed-2")
    with pytest.raises(PairJEPAError, match=r"must each have their own training\.seed, got 0, 0, 1"):
        runs_at(tmp_path)


def test_the_plan_counts_on_from_the_seed_given(tmp_path: Path) -> None:
    planned = plan_seeds(tmp_path / "new", config(training__seed=4), 3)
    assert list(planned) == [tmp_path / "new" / f"seed-{seed}" for seed in (4, 5, 6)]
    assert list(planned.values()) == [config(training__seed=seed) for seed in (4, 5, 6)]
    assert not (tmp_path / "new").exists()


def test_more_seeds_may_join_but_no_other_configuration(tmp_path: Path) -> None:
    make(tmp_path, 0, 1)
    assert list(plan_seeds(tmp_path, config(training__seed=1), 2)) == [
        tmp_path / "seed-1",
        tmp_path / "seed-2",
    ]
    with pytest.raises(PairJEPAError, match=r"another configuration:\n  model\.dim: 128 there, 8 now\n"):
        plan_seeds(tmp_path, config(training__seed=7, model__dim=8), 1)


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    run = make(tmp_path, 0) / "seed-0"
    with pytest.raises(PairJEPAError, match=r"must be a folder for a run a seed, got .*, which is one run"):
        plan_seeds(run, config(), 2)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(PairJEPAError, match="which holds other files"):
        plan_seeds(tmp_path / "other", config(), 2)
    with pytest.raises(UsageError, match=r"--seeds must be at least 1, got 0"):
        plan_seeds(tmp_path / "new", config(), 0)


def test_a_group_is_trained_evaluated_and_gone_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pairjepa.evaluation.evaluate import evaluate
    from pairjepa.training.train import train_seeds

    smallest = config(data__pairs=300, training__epochs=1)
    trained = train_seeds(smallest, None, tmp_path / "group", 2)
    assert [run.path.name for run in trained] == ["seed-0", "seed-1"]
    assert [run.config for run in trained] == [
        config(data__pairs=300, training__epochs=1, training__seed=seed) for seed in (0, 1)
    ]
    assert all(run.summary for run in trained)
    assert trained[0].model_file.read_bytes() != trained[1].model_file.read_bytes()

    result = evaluate(tmp_path / "group", "test", export=tmp_path / "export")
    assert [one["seed"] for one in result["seeds"]] == [0, 1]
    assert result["seeds"][1] == evaluate(trained[1].path, "test")
    rsums = [one["rsum"] for one in result["seeds"]]
    assert result["mean"]["rsum"] == pytest.approx(sum(rsums) / 2)
    assert result["sd"]["rsum"] == pytest.approx(abs(rsums[0] - rsums[1]) / 2**0.5)
    assert sorted(path.name for path in (tmp_path / "export").iterdir()) == ["seed-0", "seed-1"]

    capsys.readouterr()
    train_seeds(smallest, None, tmp_path / "group", 3)
    assert capsys.readouterr().err.count("is complete") == 2
    assert len(runs_at(tmp_path / "group")) == 3
