"""Files and folders that are whole or not there, whoever else writes them, and whatever was killed before."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from safetensors import SafetensorError

from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import atomic_folder, atomic_path, remove_leftovers, temporary_folder, writing
from pairjepa.util.lock import claimed, exclusive

HOLDS = """
import sys, time
from pathlib import Path
from pairjepa.util.files import atomic_folder
from pairjepa.util.lock import exclusive
with exclusive(Path(sys.argv[1])), atomic_folder(Path(sys.argv[1], "made")) as made:
    (made / "half").write_text("x")
    print("ready", flush=True)
    time.sleep(60)
"""

CLAIMS = """
import sys, time
from pathlib import Path
from pairjepa.util.lock import claimed
with claimed(Path(sys.argv[1])):
    print("ready", flush=True)
    time.sleep(60)
"""


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_two_writers_of_a_folder_do_not_mix_their_files(tmp_path: Path) -> None:
    target = tmp_path / "made"
    with ExitStack() as first, ExitStack() as second:
        one = first.enter_context(atomic_folder(target, replace=True))
        other = second.enter_context(atomic_folder(target, replace=True))
        (one / "one").touch()
        (other / "other").touch()
        first.close()
        assert names(tmp_path)[-2:] == ["made", "made/one"]
    assert names(tmp_path) == ["made", "made/other"]


def test_a_folder_that_is_there_is_replaced_only_if_it_is_said(tmp_path: Path) -> None:
    target = tmp_path / "made"
    (target / "old").mkdir(parents=True)
    with pytest.raises(OSError, match="not empty"), atomic_folder(target):
        pass
    with pytest.raises(ValueError, match="no"), atomic_folder(target, replace=True):
        raise ValueError("no")
    assert names(tmp_path) == ["made", "made/old"]
    with atomic_folder(target, replace=True) as new:
        (new / "new").touch()
    assert names(tmp_path) == ["made", "made/new"]


def test_a_file_of_a_library_that_writes_its_own_beside_it(tmp_path: Path) -> None:
    """As safetensors does: a hidden file that only its owner may read, renamed in the end."""
    before = os.umask(0o022)
    try:
        for fails in (True, False):
            try:
                with atomic_path(tmp_path / "weights") as temporary:
                    own = temporary.with_name(".tmpAb12")
                    own.touch(0o600)
                    if fails:
                        raise ValueError
                    own.rename(temporary)
            except ValueError:
                assert names(tmp_path) == []
    finally:
        os.umask(before)
    assert names(tmp_path) == ["weights"]
    assert (tmp_path / "weights").stat().st_mode & 0o777 == 0o644


def test_what_a_kill_left_is_removed_and_what_lives_is_not(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        with atomic_folder(tmp_path / "made") as made:
            remove_leftovers(tmp_path, deep=True)
            assert made.is_dir()
            assert len(list(tmp_path.glob(".made.*.tmp/made/half"))) == 1
        process.send_signal(signal.SIGKILL)
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [".lock", "made"]
    (tmp_path / "deep" / ".x.1.tmp").mkdir(parents=True)
    remove_leftovers(tmp_path)
    assert (tmp_path / "deep" / ".x.1.tmp").is_dir()
    remove_leftovers(tmp_path, deep=True)
    assert names(tmp_path / "deep") == []


def test_temporary_files_that_a_kill_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / ".pairjepa.1.tmp" / "files").mkdir(parents=True)
    (tmp_path / ".other.1.tmp").mkdir()
    with temporary_folder() as folder:
        assert list(folder.iterdir()) == []
        assert [path.name for path in tmp_path.glob(".pairjepa*")] == [folder.parent.name]
    assert names(tmp_path) == [".other.1.tmp"]


def test_the_second_writer_is_told_who_the_first_is_and_a_kill_lets_go(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        who = rf"process {process.pid} on {socket.gethostname()} \(since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d.*\)"
        with pytest.raises(
            PairJEPAError, match=f"one process at a time, got a second one while {who} writes it"
        ):
            exclusive(tmp_path).__enter__()
        process.send_signal(signal.SIGKILL)
    with exclusive(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    with exclusive(tmp_path):
        pass


def test_a_work_is_free_when_who_does_it_is_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "made" / ".work.lock"
    with subprocess.Popen([sys.executable, "-c", CLAIMS, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with claimed(path) as free:
            assert not free
        threading.Timer(0.2, process.kill).start()
        with claimed(path, wait="image features") as free:
            assert free
            with claimed(path) as again:
                assert not again
    assert names(tmp_path) == ["made"]
    said = f"image features: waiting for process {process.pid} on {socket.gethostname()} (since "
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK])
def test_a_file_system_without_locks(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(code, "")

    monkeypatch.setattr(fcntl, "flock", flock)
    with claimed(tmp_path / "lock", wait="x") as one, claimed(tmp_path / "lock", wait="x") as other:
        assert one
        assert other
    with atomic_path(tmp_path / "file") as file:
        file.write_text("whole")
        remove_leftovers(tmp_path)
    assert (tmp_path / "file").read_text() == "whole"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "No space left on device"),
    ],
)
def test_what_cannot_be_written_is_said_in_a_sentence(error: Exception, said: str) -> None:
    with (
        pytest.raises(PairJEPAError, match=f"run cannot be written: .*{said}.*Make room"),
        writing(Path("run")),
    ):
        raise error
