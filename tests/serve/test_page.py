"""The search page in a browser, as someone uses it: with keys, a photo, on a phone, in the dark."""

import http.server
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from tests.browser import chromium, needs_chromium

from pairjepa.apps.serve import guard

pytestmark = needs_chromium

DROP = """([name, bytes]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
  const over = new DragEvent("dragover", { dataTransfer: data, bubbles: true, cancelable: true });
  document.body.dispatchEvent(over);
  const shown = !document.querySelector("#drop").hidden;
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
  return shown && over.defaultPrevented;
}"""
PASTE = """([name, bytes]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
  document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def opened(browser: Any, url: str) -> Iterator[Callable[..., Any]]:
    """Opens pages; in the end none has had an error or asked for anything from elsewhere."""
    wrong: list[str] = []
    contexts = []

    def open_page(path: str = "/", width: int = 1280, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith(url) else wrong.append(request.url))
        page.goto(url + path)
        expect(page.locator("#size")).to_have_text("200 images")
        if path == "/":
            expect(page.locator("#words")).to_be_focused()  # what is typed before is lost
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def status(page: Any, said: str | re.Pattern[str]) -> None:
    expect(page.locator("#status")).to_have_text(said, timeout=15_000)


def ids(page: Any) -> list[str]:
    return page.locator(".open img").evaluate_all(
        "images => images.map((image) => image.src.split('/').at(-1))"
    )


def as_argument(photo: bytes) -> list[Any]:
    return ["<script>alert(1)</script>.png", list(photo)]


def test_results_come_as_one_types_and_the_address_keeps_them(
    opened: Callable[..., Any], client: Any
) -> None:
    page = opened()
    assert page.locator("#empty").is_visible()
    status(page, "24 of 200 images")
    shown = client.get("/api/images").json()["results"]
    assert ids(page) == [image["id"] for image in shown]
    assert page.locator(".score").count() == 0
    page.keyboard.type("a red circle", delay=5)  # the box has the focus
    status(page, "24 images for “a red circle”, best first")
    expected = client.get("/api/search", params={"q": "a red circle", "k": 24}).json()["results"]
    assert ids(page) == [result["id"] for result in expected]
    first = page.locator(".hit").first
    assert first.locator(".words").inner_text() == expected[0]["captions"][0]
    assert first.locator(".score span").inner_text() == f"{int(100 * expected[0]['probability'] + 0.5)} %"
    assert not page.locator("#empty").is_visible()
    assert page.url.endswith("/?q=a+red+circle")
    page.reload()
    status(page, "24 images for “a red circle”, best first")
    page.get_by_text("Show more").click()
    status(page, "48 images for “a red circle”, best first")


def test_an_answer_that_comes_late_is_dropped(opened: Callable[..., Any], client: Any) -> None:
    page = opened()
    page.evaluate("""() => {
      const real = fetch;
      window.fetch = async (address, { signal, ...options } = {}) => {  // one that nothing aborts
        const answer = await real(address, options);
        if (address.includes("q=red&")) {
          await new Promise((resolve) => setTimeout(resolve, 700));
          document.body.dataset.late = "answered";
        }
        return answer;
      };
    }""")
    with page.expect_request("**/api/search?q=red&**"):
        page.keyboard.type("red")
    page.keyboard.type(" circle")
    expected = client.get("/api/search", params={"q": "red circle", "k": 24}).json()["results"]
    late = client.get("/api/search", params={"q": "red", "k": 24}).json()["results"]
    first = re.compile(expected[0]["id"])
    expect(page.locator(".open img").first).to_have_attribute("src", first, timeout=15_000)
    expect(page.locator("body")).to_have_attribute("data-late", "answered", timeout=15_000)
    page.wait_for_timeout(200)  # in which the page would show it
    assert ids(page) == [result["id"] for result in expected] != [result["id"] for result in late]


@pytest.mark.parametrize("way", ["drop", "paste", "choose"])
def test_a_photo_and_words_beside_it(opened: Callable[..., Any], photo: bytes, way: str) -> None:
    page = opened("/?q=to+go")
    page.fill("#words", "")
    if way == "drop":
        assert page.evaluate(DROP, as_argument(photo))
    elif way == "paste":
        page.evaluate(PASTE, as_argument(photo))
    else:
        name, _ = as_argument(photo)
        page.set_input_files("#file", {"name": name, "mimeType": "image/png", "buffer": photo})
    status(page, "24 images for this photo, best first")
    assert page.locator("#drop").is_hidden()
    alone = ids(page)
    assert page.locator(".score span").first.inner_text() == "1.000"
    assert (
        page.locator("#picture canvas").get_attribute("aria-label") == "photo <script>alert(1)</script>.png"
    )
    page.keyboard.type("a blue star")
    status(page, "24 images for this photo and “a blue star”, best first")
    assert ids(page) != alone
    page.get_by_label("Remove the picture").click()
    status(page, "24 images for “a blue star”, best first")


def test_what_is_no_photo_is_said(browser: Any, url: str, tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(b"0" * 10_500_000)
    page = browser.new_page()
    page.goto(url)
    page.set_input_files("#file", {"name": "a.txt", "mimeType": "text/plain", "buffer": b"no picture"})
    expect(page.get_by_role("alert")).to_contain_text("image: not an image that can be read")
    expect(page.locator("#size")).to_have_text("200 images")
    page.set_input_files("#file", tmp_path / "large.png")
    expect(page.get_by_role("alert")).to_contain_text("at most 10 MB, got 10.5 MB")
    page.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_pictures_are_whole_and_open_their_original(opened: Callable[..., Any], width: int) -> None:
    page = opened("/?q=a+red+circle", width=width)
    status(page, re.compile("red circle"))
    first = page.locator(".hit").first
    picture, button = first.locator(".open").bounding_box(), first.locator(".like").bounding_box()
    assert picture["y"] + picture["height"] <= button["y"]  # it covers nothing of the picture
    assert first.locator("img").evaluate("(it) => getComputedStyle(it).objectFit") == "contain"
    with page.expect_popup() as opening:
        first.locator(".open").click()
    original = opening.value
    original.wait_for_load_state()
    assert original.evaluate("document.images.length") == 1
    assert original.url.endswith("/original")


def test_more_like_this_and_back(opened: Callable[..., Any]) -> None:
    page = opened("/?q=a+red+circle")
    status(page, re.compile("red circle"))
    chosen = ids(page)[2]
    page.locator(".like").nth(2).click()
    status(page, "24 images for this image, best first")
    assert chosen not in ids(page)
    assert page.url.endswith(f"/?like={chosen}")
    assert page.locator("#picture img").get_attribute("src") == f"/api/images/{chosen}"
    page.go_back()
    status(page, "24 images for “a red circle”, best first")
    page.go_forward()
    status(page, "24 images for this image, best first")


def test_by_keys_alone(opened: Callable[..., Any]) -> None:
    page = opened("/?q=a+red+circle")
    status(page, re.compile("red circle"))
    focused = (
        "document.activeElement.id || [...document.querySelectorAll('.like')].indexOf(document.activeElement)"
    )
    columns = (
        page.evaluate("getComputedStyle(document.querySelector('#results')).gridTemplateColumns").count(" ")
        + 1
    )
    places = []
    for key in ("ArrowDown", "ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp", "End", "Home", "ArrowUp"):
        page.keyboard.press(key)
        places.append(page.evaluate(focused))
    assert places == [0, 1, columns + 1, columns, 0, 23, 0, "words"]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    status(page, "24 images for this image, best first")
    assert page.evaluate(focused) == 0  # the focus is not lost with the results that it was in
    page.keyboard.press("/")
    assert page.evaluate(focused) == "words"
    page.keyboard.press("Escape")
    assert page.locator("#picture").is_hidden()
    expect(page.locator("#empty")).to_be_visible()


def test_captions(opened: Callable[..., Any], client: Any) -> None:
    page = opened("/?q=a+red+circle")
    page.get_by_text("Captions", exact=True).click()
    status(page, "24 captions for “a red circle”, best first")
    expected = client.get("/api/search", params={"q": "a red circle", "k": 24, "in": "captions"}).json()[
        "results"
    ]
    assert page.locator(".words").all_inner_texts() == [result["captions"][0] for result in expected]
    assert page.url.endswith("/?q=a+red+circle&in=captions")


def test_a_condition_in_the_address_and_nothing_found(opened: Callable[..., Any]) -> None:
    page = opened("/?q=a+red+circle&where=split+%3D+'test'")
    status(page, re.compile(r"^\d+ images for “a red circle”, where split = 'test', best first$"))
    page = opened("/?q=a+red+circle&where=width+>+9999")
    expect(page.get_by_text("Nothing was found")).to_be_visible()


def test_a_busy_server_is_asked_again(opened: Callable[..., Any]) -> None:
    page = opened()
    page.evaluate("""() => {
      const real = fetch;
      window.fetch = (...given) => {
        if (window.free || !String(given[0]).startsWith("/api/search")) return real(...given);
        return Promise.resolve(new Response("{}", { status: 503, headers: { "Retry-After": "1" } }));
      };
    }""")
    page.keyboard.type("a red circle")
    status(page, "The server is busy; asking again in 1 s")  # until it is free, however slow this machine is
    page.evaluate("() => { window.free = true; }")
    status(page, "24 images for “a red circle”, best first")


def test_names_and_captions_are_text(opened: Callable[..., Any]) -> None:
    page = opened()
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    results = [{"id": "0", "name": evil, "score": 0.5, "captions": [evil, evil]}]
    page.route("**/api/search?**", lambda route: route.fulfill(json={"results": results}))
    picture = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    page.route("**/api/images/0", lambda route: route.fulfill(body=picture, content_type="image/svg+xml"))
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    page.fill("#words", evil)
    status(page, f"1 image for “{evil}”, best first")
    assert page.locator(".words").inner_text() == evil
    assert page.locator(".name").inner_text() == evil
    assert page.locator("#results script, #results img[onerror]").count() == 0


def test_a_phone_has_no_sideways_scroll(opened: Callable[..., Any]) -> None:
    for path in ("/?q=a+red+circle", "/?q=a+red+circle&in=captions", "/"):
        page = opened(path, width=390, is_mobile=True, has_touch=True)
        if path != "/":
            status(page, re.compile("red circle"))
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        for target in ("#choose", "#words"):
            assert page.locator(target).bounding_box()["height"] >= 40


def test_dark(opened: Callable[..., Any]) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    page = opened(color_scheme="dark")
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Light theme").click()
    assert page.evaluate(ground) == opened(color_scheme="light").evaluate(ground) != dark


def test_the_list_of_operations(browser: Any, url: str) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 800})
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("request", lambda request: None if request.url.startswith(url) else wrong.append(request.url))
    page.goto(f"{url}/docs")
    assert page.locator("section").count() == 9
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert wrong == []
    page.close()


def test_a_page_of_another_site_gets_no_answer_and_may_link_here(
    browser: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[tuple[str, bool]] = []
    real = guard._from_another_site

    def judged(headers: Any, path: str) -> bool:
        refused.append((path, real(headers, path)))
        return refused[-1][1]

    monkeypatch.setattr(guard, "_from_another_site", judged)
    theirs = f"""<img src="{url}/api/search?q=picture"><script src="{url}/api/search?q=script"></script>
      <iframe src="{url}/api/search?q=frame"></iframe><a href="{url}/?q=a+red+circle">here</a>
      <form method="post" enctype="multipart/form-data" action="{url}/api/search"><input name="q" value="x"></form>"""

    class Theirs(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(theirs.encode())

        def log_message(self, *_: object) -> None:
            pass

    page = browser.new_page()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Theirs) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        elsewhere = f"http://localhost:{other.server_port}/"  # to a browser another site than 127.0.0.1
        page.goto(elsewhere)
        page.evaluate(f"fetch('{url}/api/search?q=fetch', {{ mode: 'no-cors' }}).catch(() => null)")
        page.evaluate("document.querySelector('form').submit()")
        page.wait_for_url(f"{url}/api/search")
        asked = [answer for path, answer in refused if path == "/api/search"]
        assert asked == [True] * 5  # picture, script, frame, fetch, form
        page.goto(elsewhere)
        page.click("a")
        expect(page.locator("#size")).to_have_text("200 images")
        assert ("/", False) in refused
        page.close()
        other.shutdown()
