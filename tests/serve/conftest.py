"""A trained run, an index of its pairs, and the server over it."""

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from fastapi.testclient import TestClient

import pairjepa
from pairjepa.apps.search import Index
from pairjepa.apps.search.build import build
from pairjepa.apps.serve.app import create_app
from pairjepa.apps.serve.connections import PromptConnection
from pairjepa.embedder.encoder import Encoder
from pairjepa.util.errors import PairJEPAError

DATA = "shapes:200"
HERE = "http://127.0.0.1"  # a Host that the server trusts


def client_of(index: Index, encoder: Encoder, **limits: int) -> TestClient:
    return TestClient(create_app(index, encoder, **limits), base_url=HERE)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "masked"
    pairjepa.train(pairjepa.recipe("tiny-masked", {"data.source": DATA, "training.epochs": 2}), None, path)
    return path


@pytest.fixture(scope="session")
def index(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Index:
    return build(run, [DATA], tmp_path_factory.mktemp("indexes") / "shapes.index")


@pytest.fixture(scope="session")
def encoder(index: Index) -> Encoder:
    return index.encoder()


@pytest.fixture(scope="session")
def client(index: Index, encoder: Encoder) -> Iterator[TestClient]:
    with client_of(index, encoder) as client:
        yield client


@contextmanager
def serving(index: Index, encoder: Encoder) -> Iterator[str]:
    """The address of a server that listens while the block runs."""
    config = uvicorn.Config(create_app(index, encoder), http=PromptConnection, log_level="warning")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"{HERE}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def url(index: Index, encoder: Encoder) -> Iterator[str]:
    with serving(index, encoder) as url:
        yield url


@pytest.fixture
def without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index is then made without its ONNX graphs, which take longer than all else."""

    def refuse(*_: object) -> None:
        raise PairJEPAError("no ONNX here.")

    monkeypatch.setattr("pairjepa.apps.export.onnx.export_onnx", refuse)


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A picture that the index holds: the first of the test split."""
    file = io.BytesIO()
    pairjepa.Pairs.open(DATA).split("test").image(0).save(file, "PNG")
    return file.getvalue()
