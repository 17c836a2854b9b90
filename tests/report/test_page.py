"""The page as text: what it holds, what it says of what is missing, that nothing breaks out of it, and its command."""

import base64
import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markupsafe import escape

import pairjepa.apps.report.figures
from pairjepa.apps.report.figures import drawings
from pairjepa.apps.report.page import render, write_page
from pairjepa.cli import main
from pairjepa.util.errors import PairJEPAError

from .made import IMAGES, SCRIPT, make_report
from .runs import embeddings, make_run

SECTIONS = (
    "headline", "curves", "cosines", "map", "training", "geometry", "examples", "mistakes", "partial", "saliency",
    "measured", "notes",
)  # fmt: skip


class Page(HTMLParser):
    """Tables, headings, ids, and every address in an attribute."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.ids: list[str] = []
        self.headings: list[int] = []
        self.addresses: list[str] = []
        self.attributes: set[str] = set()
        self._table: list[list[str]] = []
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.attributes |= set(given)
        self.ids += [given["id"] or ""] if "id" in given else []
        self.addresses += [
            given[key] or "" for key in ("src", "href", "xlink:href", "action", "data") if key in given
        ]
        if tag == "table":
            self._table = []
            self.tables.append(self._table)
        elif tag == "tr":
            self._table.append([])
        elif tag in ("td", "th"):
            self._table[-1].append("")
            self._in_cell = True
        elif re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, text: str) -> None:
        if self._in_cell:
            self._table[-1][-1] += text


def data_of(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])


@pytest.fixture(scope="module")
def text() -> str:
    """The page of two runs; a report is made the same each time."""
    return render(make_report())


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are most of the time of a page, and all there in `text`."""
    monkeypatch.setattr("pairjepa.apps.report.figures.registry.FIGURES", {})


def test_loads_nothing_and_lets_nothing_out(text: str) -> None:
    page = Page(text)
    assert SCRIPT not in text  # a name, a caption, a cluster's word, a heat map's text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert {address.split(",")[0] for address in page.addresses if address[0] != "#"} == {
        "data:image/png;base64"
    }
    assert not {name for name in page.attributes if name.startswith("on") or name == "style"}
    assert "default-src &#39;none&#39;; img-src data:;" in text
    assert len(set(page.ids)) == len(page.ids)
    assert {address[1:] for address in page.addresses if address[0] == "#"} <= set(page.ids)


def test_headings_go_down_by_one(text: str) -> None:
    headings = Page(text).headings
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(below - above <= 1 for above, below in itertools.pairwise(headings))


def test_every_section_is_there_and_linked(text: str) -> None:
    for id in SECTIONS:
        assert f'<section id="{id}"' in text
        assert f'href="#{id}"' in text


def test_tables_hold_the_numbers(text: str) -> None:
    headline, differences, mistakes, measured = Page(text).tables
    assert mistakes[2] == ["plain: colour", "75.5 [70.0, 80.0]", "50.0", "61.2", "–", "4"]
    assert [row[0] for row in headline] == ["", "plain", "masked", "CCA", "chance"]
    assert headline[1][1] == "36.4 [36.3, 36.5]"
    assert headline[-1][-1] == "110.2"
    assert differences[1] == ["masked − plain", *["+1.5 [0.5, 2.5]"] * 7]
    assert ["chosen epoch", "3 of 3", "3 of 3"] in measured
    assert ["ridge CCA in the heads", "25%", "25%"] in measured


def test_different_ccas_stand_apart(without_figures: None) -> None:
    report = make_report()
    report["runs"][1]["evaluation"]["baselines"]["cca"]["rsum"] = 1.0
    names = [row[0] for row in Page(render(report)).tables[0]]
    assert names == ["", "plain", "masked", "CCA (plain)", "CCA (masked)", "chance"]


def test_every_figure_is_there_with_its_words_in_the_colours_of_the_theme(text: str) -> None:
    report = make_report()
    shown = [one for one in drawings(report) if one.kind.section is not None]
    assert text.count("<svg") == len(shown) > 10
    for one in shown:
        assert str(escape(one.alt)) in text
    drawn = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert "var(--series-0)" in drawn
    assert "currentColor" in drawn
    assert not re.search(r'"#(?:222222|0072b2|ffffff|000000)"', drawn, re.IGNORECASE)
    assert "style=" not in drawn
    assert re.search(r">dev recall, %</text>", drawn), "text is text"


def test_each_thumbnail_stands_once_in_the_data(text: str) -> None:
    report = make_report()
    thumbnails = data_of(text)["thumbnails"]
    assert {int(row): base64.b64decode(picture) for row, picture in thumbnails.items()} == {
        row: picture for row, picture in enumerate(report["thumbnails"]) if picture is not None
    }
    assert text.count(thumbnails["3"]) == 1


def test_thumbnails_beyond_the_limit_are_left_out_but_not_those_of_examples(
    monkeypatch: pytest.MonkeyPatch, without_figures: None
) -> None:
    report = make_report(("plain",))
    shown = {0, 1, 4, 5, 6, 7, 8}  # of the examples
    room = sum(len(report["thumbnails"][row]) for row in shown)
    monkeypatch.setattr("pairjepa.apps.report.page.html.THUMBNAIL_BYTES", room)
    text = render(report)
    assert {int(row) for row in data_of(text)["thumbnails"]} == shown
    assert f"{IMAGES - 1 - len(shown)} thumbnails were left out" in text


def test_a_warning_names_its_run_beside_another(without_figures: None) -> None:
    report = make_report(("one", "two"))
    report["runs"][1]["warnings"] = ["It fell."]
    assert "two: It fell." in render(report)


def test_a_verdict_leaves_the_names_of_runs_as_they_are(without_figures: None) -> None:
    assert '<p class="note">two is better than one by 1.5 rsum.</p>' in render(make_report(("one", "two")))


def test_sections_that_do_not_apply_are_left_out() -> None:
    report = make_report(("plain",))
    report["thumbnails"] = [None] * IMAGES
    report["notes"] = []
    report["runs"][0] |= dict.fromkeys(("cosine", "margin", "training", "projection"))
    report["runs"][0] |= {
        "partial": [],
        "saliency": [],
        "twins": None,
        "complete": False,
        "warnings": [f"It fell. {SCRIPT}"],
    }
    report["runs"][0]["evaluation"]["baselines"]["cca"] = None
    report["runs"][0]["evaluation"]["hard_negatives"] = None
    text = render(report)
    assert SCRIPT not in text
    for sentence in ("no thumbnail: 4.jpg", "training not complete", "It fell."):
        assert sentence in text
    assert "CCA on the same features" not in text
    there = {id for id in SECTIONS if f'<section id="{id}"' in text}
    assert there == {"headline", "curves", "geometry", "examples", "measured"}
    assert {id for id in SECTIONS if f'href="#{id}"' in text} == there


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"images": 10}, "mind this"),
        ({"images": 40, "epochs": 1}, "one epoch"),
        ({"images": 40, "complete": False}, "not complete"),
        ({"images": 1}, "nothing to tell apart"),
        ({"images": 20, "collapsed": True}, "There is no map: every embedding lies in the same place"),
    ],
)
def test_runs_that_are_hardly_any_still_give_a_page(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    made = {key: options[key] for key in ("images", "collapsed") if key in options}
    trained = {key: options[key] for key in ("epochs", "complete") if key in options}
    run = make_run(tmp_path / "run", embeddings(**made), **trained)
    out = tmp_path / "pages" / "report.html"
    assert main(["report", str(run), "--out", str(out), "--projection", "pca"]) == 0
    text = out.read_text(encoding="utf-8")
    assert said in text
    assert "has no pictures to show" in text
    assert SCRIPT not in text


def test_the_command_says_what_it_wrote_and_writes_it_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], without_figures: None
) -> None:
    runs = [str(make_run(tmp_path / name, embeddings(seed=seed))) for seed, name in enumerate("ab")]
    out = tmp_path / "report.html"
    for _ in range(2):
        assert main(["report", *runs, "--out", str(out), "--projection", "pca"]) == 0
        said = capsys.readouterr()
        assert said.out == ""
        assert f"wrote {out}" in said.err
    assert Page(out.read_text(encoding="utf-8")).tables[1][1][0] == "b − a"


def test_figures_are_written_where_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_figures: None
) -> None:
    asked: list[tuple[str, Path]] = []
    monkeypatch.setattr(
        pairjepa.apps.report.figures,
        "write_figures",
        lambda report, folder: asked.append((report["split"], folder)),
    )
    run = make_run(tmp_path / "run", embeddings(10))
    page = ["--out", str(tmp_path / "r.html"), "--projection", "pca"]
    assert main(["report", str(run), *page, "--figures", str(tmp_path / "figures")]) == 0
    assert asked == [("test", tmp_path / "figures")]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--out", "page.txt"], 2, "--out must end in .html, got page.txt"),
        (["--projection", "tsn"], 2, "Did you mean 'tsne'"),
        (["--split", "dev"], 1, "pairjepa evaluate"),
        (["--split", "tset"], 2, "Did you mean 'test'"),
    ],
)
def test_mistakes_of_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, said: str
) -> None:
    run = make_run(tmp_path / "run", embeddings(10))
    assert main(["report", str(run), *arguments]) == status
    assert said in capsys.readouterr().err


def test_no_run_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report"]) == 2
    assert "at least one run" in capsys.readouterr().err


def test_a_page_that_cannot_be_written_says_where(tmp_path: Path, without_figures: None) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(PairJEPAError, match=r"report\.html cannot be written"):
        write_page(make_report(("plain",)), tmp_path / "report.html")
    assert not list(tmp_path.glob(".*"))
