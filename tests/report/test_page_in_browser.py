"""The page in a browser: nothing is fetched, nothing fails, and it does what it says by mouse and by keyboard."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pairjepa.apps.report.page import write_page

from .made import SCRIPT, make_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as run:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = run.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


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
        self.canvas = self.map.locator("canvas[role=application]")
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


def test_keyboard_steps_pans_and_zooms(opened: Opened) -> None:
    opened.canvas.focus()
    opened.page.keyboard.press("Enter")
    assert "Image (prediction)" in opened.card.inner_text()
    assert f"caption 0 {SCRIPT}" in opened.card.inner_text()
    assert "caption 0" in opened.map.locator("[aria-live]").first.text_content()
    opened.page.keyboard.press("Shift+Enter")  # the one before the first is the last
    assert "Caption (target)" in opened.card.inner_text()
    opened.page.keyboard.press("Escape")
    assert opened.card.is_hidden()
    whole = opened.drawn()
    for key in ("+", "ArrowLeft"):
        before = opened.drawn()
        opened.page.keyboard.press(key)
        assert opened.drawn() != before
    opened.page.keyboard.press("0")
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


def test_legend_toggles_and_clusters_have_words(opened: Opened) -> None:
    whole = opened.drawn()
    captions = opened.map.get_by_role("button", name="captions (targets)")
    captions.click()
    assert captions.get_attribute("aria-pressed") == "false"
    assert opened.drawn() != whole
    opened.canvas.focus()
    opened.page.keyboard.press("Shift+Enter")  # with the captions away, the last point is an image
    assert "Image (prediction)" in opened.card.inner_text()
    opened.page.keyboard.press("Escape")
    captions.click()
    opened.canvas.evaluate("(it) => it.blur()")
    assert opened.drawn() == whole
    opened.map.get_by_role("button", name="By cluster").click()
    assert opened.map.locator(".map-legend li").all_inner_texts() == [f"dog, {SCRIPT} (45)", "snow (45)"]
    assert opened.drawn() != whole


def test_all_lines(opened: Opened) -> None:
    before = opened.drawn()
    button = opened.map.get_by_role("button", name="All lines")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert opened.drawn() != before


def test_tabs_by_keyboard_choose_the_run_everywhere(opened: Opened) -> None:
    page = opened.page
    assert page.locator("#geometry-panel-1").is_hidden()
    page.locator("#map-tab-0").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "map-tab-1"
    for section in ("map", "geometry", "examples", "looks"):
        assert page.locator(f"#{section}-panel-1").is_visible()
        assert page.locator(f"#{section}-panel-0").is_hidden()
        assert page.locator(f"#{section}-tab-1").get_attribute("aria-selected") == "true"
    page.keyboard.press("ArrowRight")  # round
    assert page.locator("#map-panel-0").is_visible()


def test_theme_button(opened: Opened) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light, points = opened.page.evaluate(background), opened.drawn()
    opened.page.get_by_role("button", name="Dark theme").click()
    assert opened.page.evaluate(background) != light
    assert opened.drawn() != points
    opened.page.get_by_role("button", name="Light theme").click()
    assert opened.page.evaluate(background) == light


def test_a_table_is_copied_with_tabs_between_its_cells(opened: Opened) -> None:
    opened.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened.page.locator("#headline summary").first.click()
    opened.page.locator("[data-copy=headline-table-1]").click()
    opened.page.get_by_text("Copied").wait_for()
    rows = opened.page.evaluate("navigator.clipboard.readText()").split("\n")
    assert rows[1].split("\t")[:2] == ["plain", "36.4 [36.3, 36.5]"]
    assert {row.count("\t") for row in rows} == {11}


def test_a_chart_says_its_values_under_the_pointer(opened: Opened) -> None:
    chart = opened.page.locator("#curves svg[data-chart]").first
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    opened.page.mouse.move(box["x"] + box["width"] * 0.999, box["y"] + 40)
    opened.page.mouse.move(box["x"] + box["width"] * (448 / 460), box["y"] + 40)  # its right end: K = 100
    assert opened.page.locator(".tip").inner_text().split("\n")[0] == "K 100"
    assert "plain 100" in opened.page.locator(".tip").inner_text()
    opened.page.mouse.move(2, 2)
    assert opened.page.locator(".tip").is_hidden()


def test_heat_map_of_the_word_that_is_pressed(opened: Opened) -> None:
    look = opened.page.locator("#looks .look").first
    assert look.locator("canvas").evaluate("(it) => [it.width, it.height]") == [3, 2]
    pixels = look.locator("canvas").evaluate("(it) => [...it.getContext('2d').getImageData(0, 0, 3, 2).data]")
    assert pixels[:3] == [68, 1, 84]  # the lowest is dark
    assert pixels[-4:-1] == [253, 231, 37]
    look.get_by_role("button").nth(1).click()
    assert SCRIPT in look.locator("figcaption").inner_text()
    assert look.get_by_role("button").nth(1).get_attribute("aria-pressed") == "true"
    look.locator("input").fill("0")
    assert look.locator("canvas").evaluate("(it) => it.style.opacity") == "0"


def test_on_paper_every_run_is_shown_and_light(browser: Any, file: Path) -> None:
    opened = Opened(browser, file, color_scheme="dark")
    opened.page.emulate_media(media="print")
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.page.locator("#map-panel-1 canvas[role=application]").evaluate("(it) => it.width") > 100
    assert opened.page.locator("#examples-panel-1").is_visible()
    assert opened.page.locator("nav").is_hidden()
    opened.page.evaluate("dispatchEvent(new Event('afterprint'))")
    opened.page.emulate_media(media="screen")
    assert opened.page.locator("#examples-panel-1").is_hidden()
    assert not opened.wrong
    opened.context.close()


def test_without_javascript_it_can_be_read(browser: Any, file: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    assert page.locator("#examples-panel-1").is_visible()
    assert page.locator("#curves svg[data-chart] path.line").first.is_visible()
    assert page.locator("noscript p").is_visible()
    context.close()


def test_one_run_with_nothing_to_look_at(browser: Any, tmp_path: Path) -> None:
    report = make_report(("plain",), epochs=1)
    report["thumbnails"] = [None] * len(report["thumbnails"])
    report["runs"][0] |= {"projection": None, "looks": [], "partial": []}
    write_page(report, tmp_path / "report.html")
    opened = Opened(browser, tmp_path / "report.html")
    assert opened.page.get_by_text("There is no map").is_visible()
    assert not opened.wrong
    opened.context.close()
