"""The tutorial is followed word by word: from a folder of drawn pictures to the search page in a browser."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import transformers as hf
from playwright.sync_api import expect
from tests.browser import chromium, needs_chromium
from tests.features.conftest import save_model

import pairjepa
from pairjepa.apps.audit import crossfit
from pairjepa.apps.demo_pair import towers
from pairjepa.cli import main

pytestmark = needs_chromium

TEXT = (Path(__file__).parent.parent / "docs" / "tutorial.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^pairjepa (.*)$", TEXT, re.MULTILINE)
INSTALL = "pip install -c constraints.txt -e '.[report,serve]'"
PICTURES = 60


def draw(folder: Path) -> None:
    """`photos` with captions beside the pictures, `more-photos` without, and a small CLIP in the hub's place."""
    pairs = pairjepa.Pairs.open(f"shapes:{PICTURES}")
    for row, captions in enumerate(pairs.table["captions"].to_pylist()):
        photo = folder / ("photos" if row < PICTURES - 9 else "more-photos") / f"{row}.png"
        photo.parent.mkdir(exist_ok=True)
        pairs.image(row).save(photo)
        if photo.parent.name == "photos":
            photo.with_suffix(".txt").write_text("\n".join(captions), encoding="utf-8")
    clip = towers(folder / "openai/clip-vit-base-patch32")
    save_model(hf.CLIPConfig.from_pretrained(clip), clip)


@contextmanager
def served(command: str) -> Iterator[str]:
    """The address of the search page, while `pairjepa serve` runs."""
    free_port = [sys.executable, "-m", "pairjepa", *shlex.split(command), "--port", "0"]
    with subprocess.Popen(free_port, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            yield next(found[0] for line in server.stderr if (found := re.search(r"http://\S+", line)))
        finally:
            server.terminate()


def test_the_tutorial_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(crossfit, "EPOCHS", 1)  # of each fold; tests/audit looks at what they find
    monkeypatch.setattr(crossfit, "STEPS", 1)
    draw(tmp_path)
    assert INSTALL in TEXT
    verbs = [command.split()[0] for command in COMMANDS]
    assert verbs == [
        "inspect",
        "evaluate",
        "train",
        "evaluate",
        "report",
        "audit",
        "index",
        "search",
        "serve",
        "label",
        "export",
    ]
    for command in COMMANDS:
        if not command.startswith("serve"):
            assert main(shlex.split(command)) == 0, command
    for made in ("report.html", "audit/audit.html", "labels.csv", "shared/README.md"):
        assert (tmp_path / made).is_file(), made
    (serve,) = (command for command in COMMANDS if command.startswith("serve"))
    with served(serve) as url, chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(120_000)
        expect.set_options(timeout=120_000)
        page.goto(url)
        expect(page.locator("#size")).to_have_text(f"{PICTURES} images")
        expect(page.locator(".open img")).to_have_count(24)  # before anything is asked
        page.fill("#words", "a red circle")
        expect(page.locator("#status")).to_have_text("24 images for “a red circle”, best first")
        original = page.request.get(url + page.locator(".open").first.get_attribute("href"))
        assert original.headers["content-type"] == "image/png"
