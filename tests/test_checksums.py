"""Checksums of records and folders, what is said of a file that cannot be read, and `pairjepa verify`."""

import builtins
import contextlib
import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairjepa
from pairjepa.apps.search.vectors import lance_module
from pairjepa.cli import main
from pairjepa.config.recipes import recipe
from pairjepa.run.folder import RunFolder
from pairjepa.util.arrays import read_arrays, write_arrays
from pairjepa.util.checksums import check, misfit, read_record, seal, signed, unsigned, verify, write_record
from pairjepa.util.errors import PairJEPAError, hindrance, unreadable
from pairjepa.util.files import cache_folder, read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
SETTINGS = {
    "data.source": "shapes:60",
    "model.dim": 16,
    "training.epochs": 1,
    "training.batch_size": 20,
}


@given(st.dictionaries(st.text(), VALUES, max_size=4), st.text())
def test_a_record_keeps_its_checksum_through_json(record: dict[str, Any], before: str) -> None:
    record.pop("checksum", None)
    plain, right = unsigned(json.loads(json.dumps(signed(record, before))), before)
    assert right
    assert plain == json.loads(json.dumps(record))
    assert not unsigned(signed(record, before) | {"another": 1}, before)[1]
    assert not unsigned(signed(record, before), before + "x")[1]


@pytest.mark.parametrize(
    ("value", "shape", "wrong"),
    [
        ({"a": 1, "b": None}, {"a": int}, None),
        ({"a": 1}, {"a": float}, None),
        ({"a": True}, {"a": int}, "hold a whole number in a, got true or false"),
        ({"a": 1.5}, {"a": int}, "hold a whole number in a, got a number"),
        ({}, {"a": {"b": int}}, "hold a, got none"),
        ({"a": {}}, {"a": {"b": int}}, "hold a.b, got none"),
        ({"a": [{"b": 1}, {"b": "x"}]}, {"a": [{"b": int}]}, "hold a whole number in a[1].b, got a text"),
        ({"a": None}, {"a": (type(None), int)}, None),
        ({"a": []}, {"a": (int, type(None))}, "hold a whole number in a, got a list"),
        ({"x": 1, "y": "2"}, {str: int}, "hold a whole number in y, got a text"),
        ([], {}, "hold a table, got a list"),
        (None, [int], "hold a list, got null"),
    ],
)
def test_how_a_value_does_not_fit(value: Any, shape: Any, wrong: str | None) -> None:
    assert misfit(value, shape) == wrong


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    write_record(file, {"format": 1, "words": "ä \u2028", "number": 0.1})
    assert read_record(file, {}, "", 1) == {"format": 1, "words": "ä \u2028", "number": 0.1}
    file.write_text(file.read_text().replace("0.1", "0.2"))
    with pytest.raises(PairJEPAError, match=r"record\.json must be as it was written.* Mend it\."):
        read_record(file, {}, "Mend it.")
    with pytest.raises(
        PairJEPAError, match=r"must have format 2, got 1. If another version of PairJEPA made it"
    ):
        read_record(file, {}, "", 2)


def test_each_changed_bit_of_a_record_is_found(tmp_path: Path) -> None:
    """In the name of the checksum, too: without it the record would be one of 0.1, which has none."""
    file = tmp_path / "record.json"
    write_record(file, {"format": 1, "words": "ä", "list": [1.5, None]})
    written = file.read_bytes()
    unfound = []
    for bit in range(8 * len(written)):
        file.write_bytes(changed(written, bit))
        with contextlib.suppress(PairJEPAError):
            unfound.append((bit, read_record(file, {}, "")))
    blanks = [bit for bit, _ in unfound if chr(written[bit // 8]).isspace()]
    assert [bit for bit, _ in unfound] == blanks
    assert all(value == {"format": 1, "words": "ä", "list": [1.5, None]} for _, value in unfound)


def changed(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ (1 << bit % 8)]) + data[bit // 8 + 1 :]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "folder"
    (path / "deep").mkdir(parents=True)
    for name in ("a.bin", "a.bin.data", "deep/b.bin"):
        (path / name).write_bytes(name.encode() * 100)
    seal(path)
    return path


def test_a_sealed_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(folder, "Mend it.")
    (folder / "deep" / "b.bin").write_bytes(b"other")
    check(folder, "", ["a.bin"])
    with pytest.raises(PairJEPAError, match=r"deep/b\.bin must be as it was written.* Mend it\."):
        check(folder, "Mend it.")
    (folder / "a.bin.data").unlink()
    with pytest.raises(PairJEPAError, match=r"a\.bin\.data is not there\. Mend it\."):
        check(folder, "Mend it.", ["a.bin"])
    with pytest.raises(PairJEPAError, match=r"checksums\.json must list new\.bin"):
        check(folder, "", ["new.bin"])
    listed, wrong = verify(folder)
    assert listed == ["a.bin", "a.bin.data", "deep/b.bin"]
    assert sorted(wrong) == ["a.bin.data", "deep/b.bin"]
    assert capsys.readouterr().err == ""
    (folder / "checksums.json").unlink()
    assert not check(folder, "")
    assert "has no checksums.json, as of PairJEPA 0.1" in capsys.readouterr().err


def test_what_is_listed_is_not_read_again(folder: Path) -> None:
    """A file of a table is never written again: what it has become since is no reason to list that."""
    (folder / "a.bin").write_bytes(b"rotten")
    (folder / "new.bin").write_bytes(b"new")
    seal(folder, ["a.bin", "new.bin"])
    assert verify(folder)[0] == ["a.bin", "new.bin"]
    assert list(verify(folder)[1]) == ["a.bin"]


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (MemoryError(), "Memory is short"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "Memory is short"),
        (RuntimeError("std::bad_alloc"), "Memory is short"),
        (
            ImportError("libfoo.so: failed to map segment from shared object: Cannot allocate memory"),
            "Memory is",
        ),
        (ImportError("cannot import name 'x' from 'y'"), "A package .* cannot be loaded"),
        (PermissionError(errno.EACCES, "Permission denied"), "chmod u"),
        (RuntimeError("LanceError(IO): Permission denied (os error 13), at x.rs:3:4"), "chmod u"),
        (OSError("IOError: Too many open files (os error 24)"), "ulimit -n"),
        (OSError(errno.EIO, "Input/output error"), "The disk does not give it"),
    ],
)
def test_what_is_no_damage_is_not_said_to_be(error: Exception, advice: str) -> None:
    said = str(unreadable("FILE", error, "Remove it."))
    assert said.startswith("FILE cannot be read (")
    assert re.search(advice, said)
    assert "Remove" not in said
    assert "damaged" not in said


def test_what_is_damage_is_said_to_be() -> None:
    assert hindrance(ValueError("not a NumPy file")) is None
    assert (
        str(unreadable("FILE", ValueError("no\nfile."), "Remove it.")) == "FILE is damaged (no). Remove it."
    )
    assert str(unreadable("FILE", FileNotFoundError(), "Make it.")) == "FILE is not there. Make it."


def test_a_package_that_is_there_is_not_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def short(name: str, *rest: Any) -> Any:
        if name == "lance":
            raise ImportError("lance.so: failed to map segment: Cannot allocate memory")
        return real(name, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "__import__", short)
        with pytest.raises(
            PairJEPAError, match=r"'pylance' is installed and cannot be loaded .*Memory is short"
        ):
            lance_module()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "lance", None)  # as if it were not installed
        with pytest.raises(PairJEPAError, match=r"'pylance', which is not installed.*pairjepa\[search\]"):
            lance_module()
    assert lance_module() is not None


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    pairjepa.train(recipe("tiny", SETTINGS), None, path)
    pairjepa.evaluate(path)
    return path


READ = """
import os, resource, sys
import numpy
from pathlib import Path
from pairjepa.run.folder import RunFolder
from pairjepa.util.errors import PairJEPAError
run, before = RunFolder(Path(sys.argv[1])), sys.argv[2]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
exec(before)
try:
    print(run.weights)
except PairJEPAError as error:
    print(error)
"""


def read(run: Path, before: str = "") -> str:
    """What a process says that reads a run's weights after something was done to itself."""
    command = [sys.executable, "-c", READ, str(run), before]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def test_descriptors_that_lack_are_no_damage(run: Path) -> None:
    every = """
try:
    while True: os.open(os.devnull, 0)
except OSError: pass
"""
    said = read(run, every)
    assert "Too many files are open: raise the limit (ulimit -n" in said
    assert "damaged" not in said
    raised = (
        "resource.setrlimit(resource.RLIMIT_NOFILE, (512, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))"
    )
    assert read(run, f"{every}\n{raised}") == read(run) == RunFolder(run).weights


def test_a_right_that_lacks_is_no_damage(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    made_by_pytest = [path for path in tmp_path.parents if path.name.startswith(("pytest-", "popen-"))]
    for path in (*made_by_pytest, tmp_path, copy):
        path.chmod(0o755)
    as_nobody = "os.getuid() or os.setuid(65534)"  # whoever is root may read everything
    (copy / "model.safetensors").chmod(0o000)
    said = read(copy, as_nobody)
    assert "The right to read is missing: give it (chmod u+rX)" in said
    assert "damaged" not in said
    (copy / "model.safetensors").chmod(0o644)
    assert read(copy, as_nobody) == RunFolder(run).weights


def test_memory_that_is_short_is_no_damage(tmp_path: Path) -> None:
    program = """
import resource, sys, torch
from pathlib import Path
from pairjepa.model.weights import read_tensors, write_tensors
from pairjepa.util.errors import PairJEPAError
path = Path(sys.argv[1])
write_tensors({"weight": torch.zeros(50_000_000)}, path)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 50_000_000, resource.RLIM_INFINITY))
try:
    read_tensors(path)
except PairJEPAError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(len(read_tensors(path)[0]["weight"]))
"""
    command = [sys.executable, "-c", program, str(tmp_path / "weights")]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=120
    ).stdout.splitlines()
    assert "Memory is short: close other programs, and run the same command again" in done[0]
    assert "damaged" not in done[0]
    assert done[1] == "50000000"


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("PAIRJEPA_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)

    def nobody(*_: Any) -> Any:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr("pwd.getpwuid", nobody)
    with pytest.raises(PairJEPAError, match=r"got a user without a home. Set PAIRJEPA_CACHE"):
        cache_folder()
    assert main(["inspect", "~/photos"]) == 1
    assert "Write the whole path in the place of ~" in capsys.readouterr().err


def test_deep_json_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(PairJEPAError, match=r"deep\.json is not valid JSON \(nested too deep\)"):
        read_json(tmp_path / "deep.json", "It")


@pytest.mark.parametrize("seed", ["-1", str(2**32)])
def test_a_seed_that_cannot_be(
    seed: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["train", "tiny", "--data", "shapes:9", "--run", str(tmp_path / "run"), "--training.seed", seed])
        == 2
    )
    assert f"training.seed must be between 0 and 4294967295, got {seed}" in capsys.readouterr().err
    assert main(["report", str(run), "--out", str(tmp_path / "r.html"), "--seed", seed]) == 2
    assert f"seed must be between 0 and 4294967295, got {seed}" in capsys.readouterr().err


def verified(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    status = main(["verify", str(folder), "--json"])
    return status, json.loads(capsys.readouterr().out)


def unlink(path: Path) -> None:
    path.unlink()


def change(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [unlink, change])
@pytest.mark.parametrize(
    "file",
    [
        "model.safetensors",
        "metrics.jsonl",
        "text/tokenizer.json",
        "image/model.safetensors",
        "embeddings/test/image.npy",
        "illustrations/test/saliency.json",
        "image/checksums.json",
    ],
)
def test_verify_a_run(
    run: Path, tmp_path: Path, file: str, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    status, found = verified(copy, capsys)
    assert (status, found["damaged"], found["unchecked"]) == (0, {}, [])
    files = sum(path.is_file() and path.name != ".lock" for path in copy.rglob("*"))
    assert found["sound"] == files
    damage(copy / file)
    status, found = verified(copy.parent, capsys)
    assert status == 1
    assert any(name.startswith(f"run/{Path(file).parent}".removesuffix("/.")) for name in found["damaged"])
    assert len(found["damaged"]) in (1, 2)
    assert main(["verify", str(copy)]) == 1
    said = capsys.readouterr()
    assert Path(file).name in said.out
    assert "damaged or missing. Put them back." in said.err


def test_verify_the_cache(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = Path(shutil.copytree(os.environ["PAIRJEPA_CACHE"], tmp_path / "cache"))
    status, found = verified(cache, capsys)
    assert (status, found["damaged"]) == (0, {})
    for file in (next(cache.glob("features/*/*.npy")), next(cache.glob("images/*.parquet"))):
        change(file)
        status, found = verified(cache, capsys)
        assert status == 1
        assert str(file.relative_to(cache)) in found["damaged"]


@pytest.mark.parametrize("name", ["manifest.json", "*[0-9a-f].json"])
def test_verify_misses_what_names_features(
    run: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = Path(shutil.copytree(os.environ["PAIRJEPA_CACHE"], tmp_path / "cache"))
    file = next(path for path in cache.glob(f"features/*/{name}") if (path.name == name) != ("*" in name))
    file.unlink()
    status, found = verified(cache, capsys)
    wrong = file if name == "manifest.json" else file.with_suffix(".npy")
    assert (status, list(found["damaged"])) == (1, [str(wrong.relative_to(cache))])


@pytest.mark.parametrize("file", ["summary.json", "evaluation/test.json"])
def test_verify_finds_other_json(
    run: Path, tmp_path: Path, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    (copy / file).write_text('{"format": 1}')
    status, found = verified(copy, capsys)
    assert (status, list(found["damaged"])) == (1, [file])


def test_a_complete_run_without_its_metrics_says_so(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = RunFolder(Path(shutil.copytree(run, tmp_path / "run")))
    copy.metrics_file.unlink()
    assert copy.metrics() == []
    assert "metrics.jsonl is not there: the course of the training is left out" in capsys.readouterr().err


def test_a_list_of_checksums_has_one_itself(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    seal(tmp_path)
    listed = tmp_path / "checksums.json"
    listed.write_text(listed.read_text("utf-8").replace('"checksum"', '"checksul"'))
    with pytest.raises(PairJEPAError, match=r"checksums\.json must hold checksum, got none"):
        check(tmp_path, "Make it again.")


def test_verify_what_is_no_artefact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path / "nix")]) == 1
    assert "nix must be a folder" in capsys.readouterr().err
    (tmp_path / "photo.jpg").write_bytes(b"photo")
    assert main(["verify", str(tmp_path)]) == 1
    assert "must hold files with checksums, got none" in capsys.readouterr().err


def test_arrays_come_back_however_they_lie_in_memory(tmp_path):
    """`save_file` of safetensors writes the memory behind an array: a transpose came back scrambled."""
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    arrays = {
        "plain": values,
        "transpose": values.T,
        "Fortran order": np.asfortranarray(values),
        "every second column": values[:, ::2],
        "single number": np.float32(7).reshape(()),
    }
    write_arrays(arrays, tmp_path / "arrays.safetensors", {"made_of": "a test"})
    read, about = read_arrays(tmp_path / "arrays.safetensors", "Make it again.")
    assert about["made_of"] == "a test"
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array, err_msg=name, strict=True)
