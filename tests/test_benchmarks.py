"""How benchmarks are run, and that the page says what they have written."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"

SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
from sides import command, main, needs, ratio

def quick(given):
    return {{"seconds": given.unit, "items": 3}}

def slow(given):
    kept = bytearray(200 << 20)
    kept[::4096] = b"x" * len(kept[::4096])
    return {{"seconds": 4 * given.unit}}

def absent(given):
    needs("a_package_that_is_nowhere")

def version(given):
    return command("--version")

sides = {{"quick": quick, "slow": slow, "absent": absent, "version": version}}
add = lambda parser: parser.add_argument("--unit", type=float, default=2.0)
sys.exit(main("Try.", sides, add, lambda found, given: {{"ratio": ratio(found["slow"], found["quick"])}}))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "try_it.py"
    path.write_text(SCRIPT.format(folder=str(BENCHMARKS)))
    return path


def run(script: Path, *words: str) -> tuple[dict[str, Any], str]:
    command = [sys.executable, str(script), *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=script.parent, check=True)
    return json.loads(done.stdout), done.stderr


def test_sides_are_run_in_turn_each_with_a_memory_of_its_own(script: Path) -> None:
    result, said = run(script, "--repeats", "2")
    order = [line.split(":")[0] for line in said.splitlines() if line[:2] in ("1/", "2/")]
    assert order == ["1/2 quick", "1/2 slow", "1/2 version", "2/2 quick", "2/2 slow", "2/2 version"]
    assert result["sides"]["quick"]["all_seconds"] == [2.0, 2.0]
    assert result["sides"]["slow"]["peak_rss_mb"] > result["sides"]["quick"]["peak_rss_mb"] + 150
    assert result["sides"]["version"]["seconds"] > 0
    assert result["ratio"] == 4
    assert "absent" not in result["sides"]
    assert "pip install --no-deps -r benchmarks/requirements.txt" in said
    assert json.loads((script.parent / "docs/performance/try-it.json").read_text()) == result


def test_some_sides_alone_write_nothing(script: Path) -> None:
    result, _ = run(script, "--repeats", "1", "--only", "quick", "--unit", "3")
    assert list(result["sides"]) == ["quick"]
    assert result["sides"]["quick"]["seconds"] == 3
    assert not (script.parent / "docs").exists()


def test_killed_at_a_random_moment_the_same_command_goes_on_and_nothing_is_left() -> None:
    command = [sys.executable, str(BENCHMARKS / "kill_resume.py"), "--times", "1", "--verbs"]
    done = subprocess.run(
        [*command, "inspect", "shards", "evaluate"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    head, *rows = done.stdout.splitlines()
    assert head.split() == [
        "verb",
        "seconds",
        "moments",
        "killed",
        "failed",
        "other",
        "result",
        "files",
        "left",
    ]
    assert [row.split()[0] for row in rows] == ["inspect", "shards", "evaluate"]
    assert all(row.split()[-3:] == ["0", "0", "0"] for row in rows)


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
