"""A server while its index is written: what was indexed is found without a restart, and nothing fails meanwhile."""

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

import pairjepa
from pairjepa.apps.search import Index
from pairjepa.apps.search.build import build
from pairjepa.apps.serve import current

from .conftest import client_of

PAIRS = pairjepa.Pairs.open("shapes:200")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    _add(tmp_path / "photos", range(3))
    return tmp_path / "photos"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch, without_onnx: None) -> None:
    monkeypatch.setattr(current, "LOOK", 0.0)


def _add(folder: Path, rows: range, words: str = "") -> None:
    folder.mkdir(exist_ok=True)
    for row in rows:
        (folder / f"{row}.png").write_bytes(PAIRS.read_bytes(row))
        if words:
            (folder / f"{row}.txt").write_text(f"{words}\n")


def _names(client: TestClient, **parameters: str) -> set[str]:
    answer = client.get("/api/search", params={"q": "a red circle", "k": 100} | parameters)
    assert answer.status_code == 200, answer.text
    return {result["name"] for result in answer.json()["results"]}


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_new_images_are_found_while_it_serves(run: Path, folder: Path, tmp_path: Path) -> None:
    index = build(run, [folder], tmp_path / "out")
    index.warm()
    failed: list[str] = []
    done = threading.Event()

    with client_of(index, index.encoder()) as client:
        first = client.get("/api/search", params={"q": "a red circle"}).json()["results"]
        assert client.get("/healthz").json()["captions"] is False

        def ask() -> None:
            while not done.is_set():
                for path in ("/api/search?q=a+red+circle", f"/api/images/{first[0]['id']}"):
                    if (status := client.get(path).status_code) != 200:
                        failed.append(f"{path}: {status}")

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            _add(folder, range(3, 6), "a red circle")
            build(run, [folder], tmp_path / "out")
            _until(lambda: _names(client) == {f"{row}.png" for row in range(6)})
            assert _names(client, **{"in": "captions"}) == {"3.png", "4.png", "5.png"}
            assert client.get("/healthz").json()["captions"] is True
            (folder / "0.png").unlink()
            build(run, [folder], tmp_path / "out")
            _until(lambda: "0.png" not in _names(client))
        finally:
            done.set()
            asking.join()
    gone = next(hit["id"] for hit in first if hit["name"] == "0.png")
    assert set(failed) <= {f"/api/images/{gone}: 404"}


def test_an_index_that_is_gone_is_said_once_and_still_answers(
    run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = build(run, [folder], tmp_path / "out")
    index.warm()
    with client_of(index, index.encoder()) as client:
        assert len(_names(client)) == 3
        (tmp_path / "out" / "meta.json").rename(tmp_path / "meta.json")
        capsys.readouterr()
        for _ in range(20):
            assert len(_names(client)) == 3
            time.sleep(0.01)
        said = capsys.readouterr().err
        assert said.count("What was indexed since cannot be read") == 1
        assert "out is no index (no meta.json" in said
        (tmp_path / "meta.json").rename(tmp_path / "out" / "meta.json")
        _add(folder, range(3, 4))
        build(run, [folder], tmp_path / "out")
        _until(lambda: len(_names(client)) == 4)
        shutil.rmtree(tmp_path / "out")
        assert len(_names(client)) == 4
    assert isinstance(index, Index)


def test_another_run_s_index_of_the_same_width_is_not_searched(
    run: Path, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = {"data.source": "shapes:60", "training.epochs": 1, "training.seed": 1}
    pairjepa.train(pairjepa.recipe("tiny-masked", settings), None, tmp_path / "other")
    index, other = (
        build(run, [folder], tmp_path / "out"),
        build(tmp_path / "other", [folder], tmp_path / "new"),
    )
    assert index.dim == other.dim
    index.warm()
    with client_of(index, index.encoder()) as client:
        asked = {"q": "a red circle"}
        right = client.get("/api/search", params=asked).json()
        id = right["results"][0]["id"]
        (tmp_path / "out").rename(tmp_path / "old")
        (tmp_path / "new").rename(tmp_path / "out")

        def refused() -> bool:
            answer = client.get("/api/search", params=asked)
            assert answer.status_code == 503 or answer.json() == right
            return answer.status_code == 503

        _until(refused)
        for path in ("/healthz", f"/api/similar/{id}", f"/api/images/{id}", "/api/search?q=a"):
            answer = client.get(path)
            assert answer.status_code == 503
            assert (
                "replaced by that of another run. The server must be started again" in answer.json()["detail"]
            )
        (tmp_path / "out").rename(tmp_path / "new")  # and back
        (tmp_path / "old").rename(tmp_path / "out")
        _until(lambda: client.get("/healthz").status_code == 200)
        assert client.get("/api/search", params=asked).json() == right
    assert capfd.readouterr().err.count("was replaced by the index of another run") == 1
