"""The audit from beginning to end, on photographs of noise whose captions name their colours."""

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.browser import chromium, needs_chromium

import pairjepa
from pairjepa.apps.audit import audit, crossfit
from pairjepa.cli import main
from pairjepa.config.recipes import recipe
from pairjepa.config.settings import DataConfig
from pairjepa.training.material import Material
from pairjepa.training.train import fit_material
from pairjepa.util.checksums import unsigned
from pairjepa.util.errors import PairJEPAError, UsageError

EVIL = "<script>alert(1)</script>"
COLOURS = {
    "red": (220, 30, 30), "green": (30, 190, 60), "blue": (40, 60, 220), "yellow": (230, 220, 40),
    "black": (15, 15, 15), "white": (240, 240, 240), "orange": (250, 140, 20), "purple": (140, 40, 180),
}  # fmt: skip
WRONG = {4, 9, 23, 38}
"""Images whose first caption names other colours."""


@pytest.fixture(scope="module", autouse=True)
def _few_steps() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crossfit, "STEPS", 12)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose backbones are tuned: the audit takes them as they were before."""
    path = tmp_path_factory.mktemp("runs") / "run"
    values = {"data.source": "shapes:60", "training.epochs": 1, "model.dim": 16}
    pairjepa.train(recipe("tiny", values), None, path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 pictures, upper half of one colour and lower half of another, each with two captions that say so."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    names, rows = list(COLOURS), [["image", "caption", "split"]]
    couples = [(a, b) for a in range(8) for b in range(8) if a != b]
    for number, at in enumerate(rng.permutation(len(couples))[:48]):
        upper, lower = (names[colour] for colour in couples[at])
        pixels = np.empty((48, 48, 3))
        pixels[:24], pixels[24:] = COLOURS[upper], COLOURS[lower]
        pixels += rng.normal(scale=6, size=pixels.shape) + rng.normal(scale=12, size=(48, 1, 1))
        name = f"{number:02}{EVIL.replace('/', '')}.png" if number == 0 else f"{number:02}.png"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name)
        wrong = couples[(at + 20) % len(couples)] if number in WRONG else couples[at]
        first = f"{names[wrong[0]]} above {names[wrong[1]]}"
        split = {1: "test", 2: "dev"}.get(number % 10, "train")
        rows += [
            [name, first, split],
            [name, f"a {lower} square below a {upper} one{EVIL if number == 1 else ''}", split],
        ]
    with (folder / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "pairs.csv"


class Trainings:
    """The splits by name of each training that is begun; one of them may be interrupted."""

    def __init__(self) -> None:
        self.begun: list[dict[str, str]] = []
        self.interrupt: int | None = None

    def __call__(self, material: Material, path: Path) -> Any:
        pairs = material.data.pairs
        self.begun.append(dict(zip(pairs.names, pairs.table["split"].to_pylist(), strict=True)))
        if len(self.begun) == self.interrupt:
            raise KeyboardInterrupt
        return fit_material(material, path)


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    spy = Trainings()
    monkeypatch.setattr(crossfit, "fit_material", spy)
    return spy


@pytest.fixture(scope="module")
def done(run: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an audit, and in it what `audit` returned."""
    out = tmp_path_factory.mktemp("audits") / "audit"
    result = audit(run, DataConfig(str(data)), out, folds=3)
    (out.parent / "result.json").write_text(json.dumps(result))
    return out


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "audit.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_wrong_captions_come_first(done: Path) -> None:
    rows = rows_of(done)
    assert len(rows) == 96
    assert {int(row["image"][:2]) for row in rows[:8]} >= WRONG
    assert [float(row["suspicion"]) for row in rows] == sorted(
        (float(row["suspicion"]) for row in rows), reverse=True
    )
    for row in rows:
        assert 1 <= int(row["rank"]) <= int(row["gallery"]) == 16
        assert float(row["suspicion"]) == pytest.approx(
            -float(row["margin"]) - float(row["captions_margin"]), abs=1e-4
        )
        assert row["best_image"] != row["image"]
    assert {row["split"] for row in rows} == {"train", "dev", "test"}


def test_no_model_scores_what_it_was_trained_on(
    run: Path, data: Path, done: Path, trainings: Trainings, tmp_path: Path
) -> None:
    """Each image is left out of exactly one training; an interrupted audit goes on, to the same result."""
    trainings.interrupt = 2
    with pytest.raises(KeyboardInterrupt):
        audit(run, DataConfig(str(data)), tmp_path / "audit", folds=3)
    trainings.interrupt = None
    audit(run, DataConfig(str(data)), tmp_path / "audit", folds=3)
    first, _, second, third = trainings.begun  # the second was interrupted and begun again
    for splits in (first, second, third):
        assert set(splits.values()) == {"train", "dev", "test"}
    for name in first:
        assert sorted(splits[name] == "test" for splits in (first, second, third)) == [False, False, True]
    assert (tmp_path / "audit" / "audit.csv").read_bytes() == (done / "audit.csv").read_bytes()

    audit(run, DataConfig(str(data)), tmp_path / "audit", folds=3)
    assert len(trainings.begun) == 4


def test_other_data_are_scored_again_and_other_files_left(
    run: Path,
    data: Path,
    done: Path,
    trainings: Trainings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "audit"
    shutil.copytree(done, out)
    (out / "audit-folds" / "mine.txt").write_text("keep")
    damaged = next(file for file in (out / "audit-folds").glob("*-0.npz"))
    damaged.write_bytes(b"PK")
    audit(run, DataConfig(str(data)), out, folds=3)
    assert len(trainings.begun) == 1
    assert "is damaged: the fold is scored again" in capsys.readouterr().err
    audit(run, DataConfig(str(data)), out, folds=2)
    assert len(trainings.begun) == 3
    assert "of other data or settings" in capsys.readouterr().err
    assert (out / "audit-folds" / "mine.txt").read_text() == "keep"


def test_what_is_said_of_it(done: Path) -> None:
    result = json.loads((done.parent / "result.json").read_text())
    written, right = unsigned(json.loads((done / "audit.json").read_text()))
    assert right
    assert {name: result[name] for name in written} == written
    assert (written["images"], written["captions"]) == (48, 96)
    assert written["settings"]["folds"] == 3
    rows = rows_of(done)
    suspected = sum(float(row["like_mismatched"]) >= 50 for row in rows)
    assert written["estimated_wrong"] == 2 * suspected
    first = 100 * sum(row["rank"] == "1" for row in rows) / len(rows)
    assert written["own_image_first"] == pytest.approx(first, abs=0.01)
    assert result["worst"][0]["image"] == rows[0]["image"]


def test_the_page_shows_what_the_user_wrote_as_text(done: Path) -> None:
    page = (done / "audit.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


@needs_chromium
def test_the_page_in_a_browser(done: Path) -> None:
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
        asked: list[str] = []
        wrong: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append("a dialog"))
        page.goto((done / "audit.html").as_uri())
        assert [url for url in asked if not url.startswith("data:")] == [(done / "audit.html").as_uri()]
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate("[...document.images].every(one => one.complete && one.naturalWidth > 0)")
        assert page.locator("ol.worst > li").count() == 96
        assert page.locator("ol.worst > li h3").first.inner_text().endswith(rows_of(done)[0]["caption"])
        before = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.locator("[data-theme-toggle]").click()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
        assert wrong == []


def test_captions_that_are_all_the_same(run: Path, data: Path, tmp_path: Path) -> None:
    """No other image can be better, so none is called wrong."""
    rows = [{"image": row["image"], "caption": "A photo."} for row in rows_of_table(data)[::2]]
    table = data.parent / "same.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["image", "caption"])
        writer.writeheader()
        writer.writerows(rows)
    found = audit(run, DataConfig(str(table)), tmp_path / "audit", folds=2)
    table.unlink()
    assert found["estimated_wrong"] == 0
    assert found["shared_captions"]["examples"][0]["count"] == found["shared_captions"]["count"] * 48 == 48
    written = rows_of(tmp_path / "audit")
    assert {(row["rank"], row["suspicion"], row["best_image"]) for row in written} == {("1", "", "")}
    assert "No caption has another image" in (tmp_path / "audit" / "audit.html").read_text()


def rows_of_table(data: Path) -> list[dict[str, str]]:
    with data.open(newline="") as file:
        return list(csv.DictReader(file))


def test_models_that_know_nothing_cannot_tell(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Captions that are drawn anew say nothing of their images; half of them would look wrong."""
    rows, table = rows_of_table(data), data.parent / "drawn.csv"
    order = np.random.default_rng(0).permutation(len(rows))
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["image", "caption"])
        writer.writeheader()
        pairs = zip(rows, order, strict=True)
        writer.writerows({"image": row["image"], "caption": rows[at]["caption"]} for row, at in pairs)
    out = tmp_path / "audit"
    assert main(["audit", str(run), str(table), "--out", str(out), "--folds", "2"]) == 0
    table.unlink()
    said = capsys.readouterr()
    assert "It cannot be told how many captions are wrong; the models know too little" in said.out
    assert not [words for words in ("Give dev", "Try ", "epoch") if words in said.err], (
        "nobody chose how a fold is trained"
    )
    assert json.loads((out / "audit.json").read_text())["estimated_wrong"] is None
    assert "cannot tell" in (out / "audit.html").read_text()


def test_the_command(
    run: Path, data: Path, done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(done, tmp_path / "audit")
    words = ["audit", str(run), str(data), "--out", str(tmp_path / "audit"), "--folds", "3"]
    assert main([*words, "--json"]) == 0
    printed, said = capsys.readouterr()
    assert json.loads(printed)["worst"][0]["image"] == rows_of(done)[0]["image"]
    assert "audit.html" in said
    assert main(words) == 0
    printed, _ = capsys.readouterr()
    assert rows_of(done)[0]["caption"] in printed


def test_mistakes(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "audit"
    with pytest.raises(UsageError, match="folds must be at least 2, got 1"):
        audit(run, DataConfig("shapes:60"), out, folds=1)
    with pytest.raises(UsageError, match="at least 20 readable images for 5 folds, got 10"):
        audit(run, DataConfig("shapes:10"), out)
    with pytest.raises(PairJEPAError, match="is no run folder"):
        audit(tmp_path, DataConfig("shapes:60"), out)
    assert main(["audit", str(run), "nosuch", "--out", str(out)]) == 1
    assert "'nosuch' must be pairs that are there" in capsys.readouterr().err
    assert not out.exists()
