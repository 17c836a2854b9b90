"""The page in a browser: nothing is fetched, nothing fails, and it does what it says by mouse and by keyboard."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.browser import chromium, needs_chromium

from pairjepa.apps.report.page import write_page

from .made import SCRIPT, make_report

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(make_report(), path)
    return path


class Opened:
    """The page, and all that must not happen on it."""

    def __init__(self, browser: Any, file: Path, **context: Any) -> None:
        self.requests: list[str] = []
        self.wrong: list[str] = []
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **context})
        self.context.on("request", lambda request: self.requests.append(request.url))
        page = self.page = self.context.new_page()
        page.on("console", lambda message: self.wrong.append(message.text))
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("dialog", lambda dialog: self.wrong.append(dialog.message))
        page.goto(file.as_uri())
        self.map = page.locator("#map .map").first
        self.canvas = self.map.locator("canvas[role=img]")
        self.card = self.map.locator(".map-card")

    def drawn(self) -> str:
        """The map's pixels, once it has had a frame to be drawn in."""
        return self.canvas.evaluate(
            "async (canvas) => {"
            " await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));"
            " return canvas.toDataURL(); }"
        )


@pytest.fixture
def opened(browser: Any, file: Path) -> Iterator[Opened]:
    opened = Opened(browser, file)
    yield opened
    opened.context.close()
    assert not opened.wrong


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_opens_without_a_request_an_error_or_a_sideways_scroll(
    browser: Any, file: Path, scheme: str, width: int
) -> None:
    opened = Opened(browser, file, color_scheme=scheme, viewport={"width": width, "height": 800})
    opened.page.wait_for_function(
        "document.images.length && [...document.images].every((i) => !i.src || i.complete)"
    )
    for summary in opened.page.locator("summary").all():
        summary.evaluate("(it) => { it.parentElement.open = true; }")
    assert [url for url in opened.requests if not url.startswith("data:")] == [file.as_uri()]
    assert not opened.wrong
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    light = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (light == "rgb(246, 247, 249)") == (scheme == "light")
    opened.context.close()


def test_hover_shows_the_thumbnail_and_the_caption(opened: Opened) -> None:
    opened.canvas.scroll_into_view_if_needed()
    box = opened.canvas.bounding_box()
    places = ((x, y) for y in range(20, int(box["height"]), 16) for x in range(20, int(box["width"]), 16))
    for x, y in places:
        opened.page.mouse.move(box["x"] + x, box["y"] + y)
        if opened.card.is_visible() and opened.card.locator("img").count():
            break
    assert opened.card.locator("img").get_attribute("src").startswith("data:image/jpeg;base64,")
    assert opened.card.locator("img").evaluate("(it) => it.complete && it.naturalWidth") == 32
    assert SCRIPT in opened.card.inner_text()  # every caption of the report has it in it
    opened.page.mouse.move(5, 5)
    assert opened.card.is_hidden()


def test_search_goes_from_hit_to_hit(opened: Opened) -> None:
    search, whole = opened.map.get_by_role("searchbox"), opened.drawn()
    search.fill("Caption 57")
    assert opened.map.locator("output").inner_text() == "2 of 90 points"
    assert opened.drawn() != whole
    search.press("Enter")
    assert "Image (prediction)" in opened.card.inner_text()
    assert f"caption 56 {SCRIPT}" in opened.card.inner_text()
    search.press("Enter")
    assert "Caption (target)" in opened.card.inner_text()
    search.press("Enter")  # round
    assert "Image (prediction)" in opened.card.inner_text()
    search.fill("")
    assert opened.card.is_hidden()
    assert opened.drawn() == whole


def test_zooms_by_button_and_back(opened: Opened) -> None:
    whole = opened.drawn()
    opened.map.get_by_role("button", name="Zoom in").click()
    assert opened.drawn() != whole
    opened.map.get_by_role("button", name="All of it").click()
    assert opened.drawn() == whole


def test_the_wheel_belongs_to_the_page_until_the_map_is_clicked(opened: Opened) -> None:
    opened.canvas.scroll_into_view_if_needed()
    box = opened.canvas.bounding_box()
    before = opened.drawn()
    opened.page.mouse.move(box["x"] + 3, box["y"] + 3)
    opened.page.mouse.wheel(0, 5)
    assert opened.drawn() == before
    opened.canvas.focus()
    opened.page.mouse.wheel(0, -200)
    assert opened.drawn() != before


def test_dragging_moves_the_map(opened: Opened) -> None:
    opened.canvas.scroll_into_view_if_needed()
    box, before = opened.canvas.bounding_box(), opened.drawn()
    opened.page.mouse.move(box["x"] + 3, box["y"] + 3)
    opened.page.mouse.down()
    opened.page.mouse.move(box["x"] + 90, box["y"] + 60)
    opened.page.mouse.up()
    assert opened.drawn() != before


def test_clusters_have_colours_and_words(opened: Opened) -> None:
    by_kind = opened.drawn()
    opened.map.get_by_role("button", name="By cluster").click()
    assert opened.drawn() != by_kind
    assert opened.map.get_by_text("snow (45)").is_visible()
    assert opened.map.get_by_text("captions (targets)").is_hidden()


def test_the_other_run_is_behind_a_click(opened: Opened) -> None:
    other = opened.page.locator("#map details.run").nth(1)
    assert other.locator("canvas").is_hidden()
    other.locator("summary").first.click()
    other.locator("canvas").scroll_into_view_if_needed()
    opened.page.wait_for_function("document.querySelectorAll('.map canvas')[1].width > 100")


@pytest.mark.parametrize(("scheme", "ink"), [("light", "rgb(26, 32, 41)"), ("dark", "rgb(232, 235, 239)")])
def test_figures_take_the_themes_colours(browser: Any, file: Path, scheme: str, ink: str) -> None:
    opened = Opened(browser, file, color_scheme=scheme)
    text = opened.page.locator("#training svg text").first
    assert text.evaluate("(it) => getComputedStyle(it).fill") == ink
    width = "(it) => it.getBoundingClientRect().width"
    assert 200 < opened.page.locator("#training svg").first.evaluate(width) < 500
    opened.context.close()


def test_theme_button(opened: Opened) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light, points = opened.page.evaluate(background), opened.drawn()
    opened.page.get_by_role("button", name="Dark theme").click()
    assert opened.page.evaluate(background) != light
    assert opened.drawn() != points
    opened.page.get_by_role("button", name="Light theme").click()
    assert opened.page.evaluate(background) == light


def test_on_paper_every_run_is_shown_and_light(browser: Any, file: Path) -> None:
    opened = Opened(browser, file, color_scheme="dark")
    opened.page.emulate_media(media="print")
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.page.locator("#examples details.run").nth(1).locator("h4").first.is_visible()
    assert opened.page.locator("nav").is_hidden()
    ink = opened.page.locator("#curves svg text").first.evaluate("(it) => getComputedStyle(it).fill")
    assert ink == "rgb(26, 32, 41)"
    assert not opened.wrong
    opened.context.close()


def test_without_javascript_it_can_be_read(browser: Any, file: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    assert page.locator("#examples h4").first.is_visible()
    assert page.locator("#curves svg path").first.is_visible()
    assert page.locator("noscript p").is_visible()
    context.close()


def test_one_run_with_nothing_to_look_at(browser: Any, tmp_path: Path) -> None:
    report = make_report(("plain",), epochs=1)
    report["thumbnails"] = [None] * len(report["thumbnails"])
    report["runs"][0] |= {"projection": None, "saliency": [], "partial": []}
    write_page(report, tmp_path / "report.html")
    opened = Opened(browser, tmp_path / "report.html")
    assert opened.page.locator("#map").count() == 0
    assert not opened.wrong
    opened.context.close()
