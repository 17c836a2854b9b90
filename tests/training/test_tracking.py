"""A tracker gets what metrics.jsonl has, once, and never harms the training."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

import pairjepa
from pairjepa.config.recipes import recipe
from pairjepa.config.settings import RunConfig
from pairjepa.run.folder import RunFolder
from pairjepa.training import loop
from pairjepa.training.tracking import check_tracker, flat
from pairjepa.util.errors import PairJEPAError, UsageError

tracking = pytest.importorskip("accelerate.tracking", reason="accelerate is not installed")


def config(name: str = "contrastive", **settings: Any) -> RunConfig:
    small = {
        "data.source": "shapes:60",
        "model.image": "tiny-resnet",
        "model.text": "tiny-bert",
        "model.dim": 16,
        "training.epochs": 4,
        "training.batch_size": 30,
        "training.checkpoint_seconds": 3600,
    }
    return recipe(name, small | {key.replace("__", "."): value for key, value in settings.items()})


def events(run: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of every scalar that TensorBoard shows of a folder."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    shown = accumulator.EventAccumulator(str(run))
    shown.Reload()
    return {tag: [(e.step, e.value) for e in shown.Scalars(tag)] for tag in shown.Tags()["scalars"]}


def expected(run: Path) -> dict[str, list[tuple[int, float]]]:
    """The same, by hand, of what metrics.jsonl has."""
    points: dict[str, list[tuple[int, float]]] = {}

    def walk(name: str, value: Any, epoch: int) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{name}/{key}" if name else key, inner, epoch)
        elif value is not None and name != "epoch":
            points.setdefault(name.replace("R@", "R_"), []).append((epoch, pytest.approx(value, rel=1e-6)))

    for line in RunFolder(run).metrics():
        walk("", line, line["epoch"])
    return points


def test_tensorboard_shows_what_metrics_jsonl_has(tmp_path: Path) -> None:
    pairjepa.train(config("masked"), None, tmp_path / "run", track="tensorboard")
    for part in ("run", "run/text-only"):
        shown = events(tmp_path / part)
        assert shown == expected(tmp_path / part)
        assert {"loss", "terms/info_nce", "dev/rsum", "dev/image_to_text/R_1"} <= shown.keys()
        assert [step for step, _ in shown["dev/rsum"]] == [1, 2, 3, 4]
        assert [step for step, _ in shown["train/rsum"]] == [4], "what was not measured is left out"


def test_the_tracker_changes_no_bit(tmp_path: Path) -> None:
    pairjepa.train(config(), None, tmp_path / "with", track="tensorboard")
    pairjepa.train(config(), None, tmp_path / "without")
    assert (tmp_path / "with/model.safetensors").read_bytes() == (
        tmp_path / "without/model.safetensors"
    ).read_bytes()


@pytest.mark.parametrize("before", ["tensorboard", None])
def test_no_epoch_twice_and_none_left_out_after_a_kill(
    before: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint is older than the metrics, so epochs are trained again; or the tracker comes later."""
    save = loop.save_checkpoint

    def dies(path: Path, module: Any, optimizer: Any, position: dict[str, Any]) -> None:
        if position["epoch"] == 4:
            raise SystemExit
        if position["epoch"] == 2:
            save(path, module, optimizer, position)

    settings = config(training__checkpoint_seconds=0)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", dies)
        with pytest.raises(SystemExit):
            pairjepa.train(settings, None, tmp_path / "run", track=before)
    assert len(RunFolder(tmp_path / "run").metrics()) == 3
    pairjepa.train(settings, None, tmp_path / "run", track="tensorboard")
    assert events(tmp_path / "run") == expected(tmp_path / "run")


class Service(tracking.GeneralTracker):  # type: ignore[misc, name-defined]
    """A tracker with projects, as Accelerate registers those of other packages."""

    name = "service"
    requires_logging_directory = False
    made: "list[Service]"
    broken: tuple[str, ...]

    def __init__(self, project: str) -> None:
        super().__init__()
        self.project, self.logged, self.finished = project, [], False  # type: ignore[var-annotated]
        self.made.append(self)

    @property
    def tracker(self) -> None:
        return None

    def start(self) -> None:
        if "start" in self.broken:
            raise ValueError("no API key")

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.values = values

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        if "log" in self.broken and step == 2:
            raise ConnectionError("no network")
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished = True
        if "finish" in self.broken:
            raise ConnectionError("no network")


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> type[Service]:
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "service", Service)
    Service.made, Service.broken = [], ()
    return Service


def test_any_tracker_that_accelerate_knows(tmp_path: Path, service: type[Service]) -> None:
    pairjepa.train_seeds(config(), None, tmp_path / "group", 2, track="service")
    assert [made.project for made in service.made] == ["pairjepa"] * 2
    assert [made.values["run"] for made in service.made] == [
        str(tmp_path / "group" / seed) for seed in ("seed-0", "seed-1")
    ]
    for made in service.made:
        assert all(value is None or isinstance(value, str | int | float) for value in made.values.values())
        assert made.values["objective.temperature"] == 0.07
        assert made.values["objective.weights.info_nce"] == 1.0
        assert made.logged == [
            (line["epoch"], flat(line)) for line in RunFolder(Path(made.values["run"])).metrics()
        ]
        assert made.finished


def test_a_tracker_that_fails_is_said_once_and_the_training_goes_on(
    tmp_path: Path, service: type[Service], capsys: pytest.CaptureFixture[str]
) -> None:
    service.broken = ("log", "finish")
    run = pairjepa.train(config(), None, tmp_path / "run", track="service")
    assert run.summary is not None
    assert len(run.metrics()) == 4
    said = [line for line in capsys.readouterr().err.splitlines() if "service" in line]
    assert said == ["warning: --track service failed: no network. The training goes on without it."]


def test_a_tracker_that_does_not_start_is_an_error(tmp_path: Path, service: type[Service]) -> None:
    service.broken = ("start",)
    with pytest.raises(PairJEPAError, match=r"--track service does not start: no API key\. Mend that, or"):
        pairjepa.train(config(), None, tmp_path / "run", track="service")
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_mistakes_are_said_before_anything_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"Unknown tracker 'tensorbord'\. Did you mean 'tensorboard'"):
        pairjepa.train(config(), None, tmp_path / "run", track="tensorbord")
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(tracking, "_available_trackers", [])
    with pytest.raises(PairJEPAError, match=r"'comet-ml', which is not installed.*pip install comet-ml\."):
        check_tracker("comet_ml")
    with pytest.raises(PairJEPAError, match=r"'tensorboard', .* pip install 'pairjepa\[track\]'"):
        check_tracker("tensorboard")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "accelerate" else find(name)
    )
    with pytest.raises(PairJEPAError, match=r"'accelerate', .* pip install 'pairjepa\[track\]'"):
        check_tracker("tensorboard")
