"""The files of a report's figures: whole, the same each time, and each with words that say what it shows."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.plots.reports import collapsed, partial, report, run, saliency

import pairjepa
from pairjepa.apps.report.figures import FIGURES, drawings, write_figures
from pairjepa.apps.report.figures.style import STYLE
from pairjepa.config.recipes import recipe
from pairjepa.util.errors import PairJEPAError

OF_A_RUN = [
    "map-by-modality", "map-by-cluster", "partial-recall", "cosine-distribution", "prediction-margin", "spectrum",
    "hubness", "training",
]  # fmt: skip


def masked() -> dict[str, Any]:
    one = run("masked run/1", 35.0)
    one["evaluation"]["partial"] = partial()
    one["saliency"] = [saliency(shown=False), saliency()]
    return one


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_figures(report(run(), masked()), tmp_path_factory.mktemp("figures") / "new")


def test_every_figure_as_png_and_pdf_named_by_what_it_shows(written: list[Path]) -> None:
    names = {"recall-bars", "recall-curves", *(f"{what}-masked-run-1" for what in OF_A_RUN)}
    names |= {f"{what}-contrastive" for what in OF_A_RUN if what != "partial-recall"}
    files = {f"{name}.{kind}" for name in names for kind in ("png", "pdf")}
    assert {path.name for path in written} == files | {"saliency-map-1-masked-run-1.png"}
    assert sorted(written) == sorted(written[0].parent.iterdir())


def test_letters_without_a_font_are_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = {name: kind for name, kind in FIGURES.items() if name == "recall-bars"}
    monkeypatch.setattr("pairjepa.apps.report.figures.registry.FIGURES", kept)
    write_figures(report(run("\ufdd0\ufdd1")), tmp_path)  # these are no letters of any script
    assert "2 letters are in no installed font" in capsys.readouterr().err
    assert STYLE["font.family"][0] == "DejaVu Sans"


def test_files_are_sized_for_a_paper_with_fonts_and_words(written: list[Path]) -> None:
    for path in written:
        if path.suffix == ".png":
            with Image.open(path) as picture:
                assert round(picture.info["dpi"][0]) == 200
                assert picture.width / 200 == pytest.approx(3.4, abs=0.02)
                assert len(picture.info["Description"]) > 40
                assert picture.info["Comment"].startswith("weights of ")
                assert "Software" not in picture.info
        else:
            data = path.read_bytes()
            assert b"/FontFile2" in data, "the font is in the file"
            assert b"/Type3" not in data
            assert b"CreationDate" not in data
            assert re.search(rb"/Subject ", data)
    bars = next(path for path in written if path.name == "recall-bars.png")
    with Image.open(bars) as picture:
        assert picture.info["Comment"].startswith("weights of contrastive: digest of contrastive, ")
        assert picture.info["Description"] == texts(report(run(), masked()))["recall-bars"][0]


def test_the_same_report_gives_the_same_bytes(written: list[Path], tmp_path: Path) -> None:
    again = write_figures(report(run()), tmp_path)
    assert len(again) == 2 * (2 + len(OF_A_RUN) - 1)
    for path in again:
        if not path.name.startswith("recall"):  # of both runs there
            assert path.read_bytes() == (written[0].parent / path.name).read_bytes()


def test_runs_of_like_names_keep_their_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pairjepa.apps.report.figures.registry.FIGURES", {"spectrum": FIGURES["spectrum"]})
    runs = [run(name) for name in ("a b", "a/b", "A-b", "../..")]
    files = write_figures(report(*runs), tmp_path / "figures")
    assert {path.parent for path in files} == {tmp_path / "figures"}
    spectra = [path.stem for path in files if path.suffix == ".png"]
    assert spectra == ["spectrum-a-b", "spectrum-a-b-2", "spectrum-A-b-3", "spectrum-run"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PairJEPAError, match=r"file/recall-bars\.png cannot be written: "):
        write_figures(report(), tmp_path / "file")


def texts(found: dict[str, Any]) -> dict[str, list[str]]:
    """What each kind of figure shows, run by run."""
    said: dict[str, list[str]] = {}
    for one in drawings(found):
        said.setdefault(one.kind.name, []).append(one.alt)
    return said


def test_every_figure_has_a_text() -> None:
    every = texts(report(run(), masked(), collapsed(), run() | {"training": None, "margin": None}))
    assert every.keys() == FIGURES.keys()
    for text in (text for some in every.values() for text in some):
        assert re.fullmatch(r"[A-Z].*[.]", text, re.DOTALL)
        assert not re.search(r"None|nan|-0\.00", text)
    for kind in FIGURES.values():
        assert kind.title
        assert "Args" not in kind.reading


def test_the_texts_have_the_numbers() -> None:
    said = texts(report(run(), masked()))
    (bars,), (curves,) = said["recall-bars"], said["recall-curves"]
    assert "contrastive: image → text R@1 30.0 % (95 % interval 27.0 to 34.0), R@10 60.0 %" in bars
    assert "masked run/1: image → text R@1 35.0 %" in bars
    assert "15.0 % for CCA on the same features and 1.0 % by chance" in bars
    assert "text → image 20.0 % at K = 1" in curves
    one = {name: some[0] for name, some in said.items()}
    assert "mean 0.60 ± 0.10; of random pairs: 0.00 ± 0.20" in one["cosine-distribution"]
    assert "0.975 (AUC)" in one["cosine-distribution"]
    assert "is nearer for 50 %" in one["prediction-margin"]
    assert "Map by t-SNE of 4 predictions and 8 targets, trustworthiness 0.88" in one["map-by-cluster"]
    assert "seed: 7" in one["map-by-cluster"]
    assert "dog, snow, $x$" in one["map-by-cluster"]
    assert "epoch 2 was chosen" in one["training"]
    assert "dev rsum from 100.0 to 200.0" in one["training"]
    assert "12 % of the captions fill half" in one["hubness"]
    assert "60.0 % with the image, 30.0 % with another image, 50.0 % of a model" in one["partial-recall"]
    assert (
        "2 x 3 positions of a picture adds to its cosine with 2 texts; 0.35 with the first"
        in one["saliency-map"]
    )


def test_matplotlib_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("pairjepa.util.errors.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "pairjepa.apps.report.figures")
    with pytest.raises(PairJEPAError, match=r"'matplotlib', .* pip install 'pairjepa\[report\]'"):
        import pairjepa.apps.report.figures  # noqa: F401


def test_from_a_run_to_its_figures(tmp_path: Path) -> None:
    """What `collect` makes is what the figures are drawn from, also of four images and one epoch."""
    from pairjepa.apps.report import collect

    settings = {"data.source": "shapes:40", "training.epochs": 1, "model.dim": 16}
    pairjepa.train(recipe("tiny-masked", settings), None, tmp_path / "run")
    pairjepa.evaluate(tmp_path / "run")
    gathered = collect([tmp_path / "run"], projection="pca")
    for one in drawings(gathered):
        one.draw().canvas.draw()
    assert {"recall-bars", "map-by-modality", "partial-recall"} <= texts(gathered).keys()
    assert "None" not in str(texts(gathered))
