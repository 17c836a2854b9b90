"""The page of benchmarks says what they have written."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"


def test_the_page_says_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import page

    text = page.PAGE.read_text("utf-8")
    records = {path.stem: json.loads(path.read_text("utf-8")) for path in page.DATA.glob("*.json")}
    assert len(records) >= 5
    for block, (needed, make) in page.BLOCKS.items():
        if not all(name in records for name in needed):
            continue  # the page says that it is not measured yet
        assert page.filled(text, block, make(*(records[name] for name in needed))) == text, block
