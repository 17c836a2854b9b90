"""How many threads work, and how they wait."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pairjepa.util import threads

SAID = """
import os, sys
from pairjepa.cli import main
main(["--version"])
assert "torch" not in sys.modules
print(os.environ["OMP_WAIT_POLICY"])
"""


@pytest.mark.parametrize(("given", "expected"), [(None, "passive"), ("active", "active")])
def test_threads_wait_passively_before_torch_is_loaded_unless_the_user_says_otherwise(
    given: str | None, expected: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": given} if given else {}
    command = [sys.executable, "-c", SAID]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == expected


@pytest.mark.parametrize(
    ("quota", "expected"), [("250000 100000", 2), ("50000 100000", 1), ("max 100000", 4), (None, 4)]
)
def test_cores_are_those_of_the_affinity_and_of_the_container(
    quota: str | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_text(path: Path) -> str:
        if quota is None:
            raise FileNotFoundError(path)
        return quota

    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 5}, raising=False)
    monkeypatch.setattr(Path, "read_text", read_text)
    assert threads.cores.__wrapped__() == expected


def test_openmp_is_told_of_a_share_of_the_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    for cores, given, expected in ((2, None, "2"), (2, "3", "3"), (8, None, None)):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        if given:
            monkeypatch.setenv("OMP_NUM_THREADS", given)
        monkeypatch.setattr(threads, "cores", lambda cores=cores: cores)
        threads.prepare_openmp()
        assert os.environ.get("OMP_NUM_THREADS") == expected
