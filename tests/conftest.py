"""What every test stands on: one thread (unless told otherwise), no network, no cache but the session's own."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.browser import REASON

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by torch and NumPy when they are first imported


LONG = ("test_tutorial.py", "test_tour.py", "test_damage.py", "test_resume.py", "features", "serve", "search")
"""Files and folders that begin first, so that one of two processes does not have the last one alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    part = {item: item.path.relative_to(Path(__file__).parent).parts[0] for item in items}
    items.sort(key=lambda item: LONG.index(part[item]) if part[item] in LONG else len(LONG))


@pytest.fixture(autouse=True, scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PAIRJEPA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that were listed since the test began, one entry a look."""
    found: list[str] = []
    for name in ("scandir", "listdir"):
        listed = getattr(os, name)

        def spy(folder: Any = ".", listed: Any = listed) -> Any:
            if not isinstance(folder, int):  # of `shutil.rmtree`
                found.append(os.fsdecode(folder))
            return listed(folder)

        monkeypatch.setattr(os, name, spy)
    return found


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say in a line that the pages were not looked at in a browser."""
    skipped = [
        report for report in terminalreporter.stats.get("skipped", []) if REASON in str(report.longrepr)
    ]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests in a browser did not run: {REASON}.")
