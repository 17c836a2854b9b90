"""The command: what it says, how it ends, and what it cannot do."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from pairjepa.apps.search import Index
from pairjepa.apps.serve import run as serving
from pairjepa.cli import main


@pytest.mark.parametrize(("end", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)])
def test_it_serves_until_it_is_told_to_stop(index: Index, end: signal.Signals, status: int) -> None:
    command = [sys.executable, "-m", "pairjepa", "serve", str(index.path), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.fullmatch(r"200 images at (http://127\.0\.0\.1:\d+) \(Ctrl-C stops\)\n", line)
    assert found, line + process.stderr.read()
    assert httpx.get(f"{found[1]}/api/search?q=a+red+circle").status_code == 200
    os.kill(process.pid, end)
    out, err = process.communicate(timeout=20)
    assert (out, process.returncode) == ("", status)
    assert "Traceback" not in err
    if end == signal.SIGINT:
        assert err == "stopped\n"


def test_a_port_in_use(index: Index, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["serve", str(index.path), "--port", str(port)]) == 1
    assert capsys.readouterr().err == (
        f"error: --port must be free, got {port}, which another program listens on. "
        f"Stop that one, or give another: --port {port + 1}.\n"
    )


@pytest.mark.parametrize(
    ("flags", "status", "said"),
    [
        (["--port", "70000"], 2, "--port must be from 0 to 65535, got 70000."),
        (["--queue", "0"], 2, "--queue must be at least 1, got 0."),
        (["--max-upload", "huge"], 2, "--max-upload must be a size such as 10MB or 512KB, got 'huge'."),
        (["--max-upload", "0"], 2, "--max-upload must be a size such as 10MB or 512KB, got '0'."),
        (["--host", "192.0.2.1"], 1, "--host must be an address of this machine, got '192.0.2.1'"),
        (["--host", "no such host"], 1, "--host must be an address of this machine, got 'no such host'"),
    ],
)
def test_settings_that_cannot_be(
    index: Index, flags: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", str(index.path), *flags]) == status
    assert said in capsys.readouterr().err


def test_what_is_no_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(tmp_path)]) == 1
    assert "is no index" in capsys.readouterr().err


def test_a_run_that_has_moved_is_known_before_it_serves(
    index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "my.index"
    moved.mkdir()
    for part in index.path.iterdir():
        (moved / part.name).symlink_to(part)
    record = json.loads((moved / "meta.json").read_text())
    del record["checksum"]
    (moved / "meta.json").unlink()
    (moved / "meta.json").write_text(
        json.dumps(record | {"complete": False, "model": "run", "run": str(tmp_path / "gone")})
    )
    assert main(["serve", str(moved), "--port", "0"]) == 1
    err = capsys.readouterr().err
    assert f"{moved} is not complete. What its `pairjepa index` command adds is found" in err
    assert "is not there any more" in err


def test_an_answer_does_not_wait_for_an_acknowledgement() -> None:
    """On an address of loopback that would be 40 ms for each (Nagle's algorithm)."""
    with serving._listening("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_other_machines_are_let_in_on_purpose_alone() -> None:
    assert [
        serving._is_loopback(h) for h in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "10.0.0.2", "me")
    ] == [
        *[True] * 3,
        *[False] * 3,
    ]


def test_a_missing_package(
    index: Index, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "uvicorn" else object())
    assert main(["serve", str(index.path)]) == 1
    assert "pip install 'pairjepa[serve]'" in capsys.readouterr().err


def test_the_command_line_loads_none_of_it() -> None:
    code = "import sys, pairjepa.cli; print([m for m in ('fastapi', 'uvicorn', 'lance', 'jinja2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
