"""Slow clients, by their sockets: each is closed when its time is up, and the others are answered meanwhile."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import uvicorn

from pairjepa.apps.serve import connections
from pairjepa.apps.serve.app import create_app

SOON = 0.6
"""Seconds that a client has here."""
WAITED = 5.0
"""After so many the server has not done it."""


class Stub:
    min_decode_size = (64, 64)


class Images:
    """As much of an index as the routes without an encoder need."""

    has_captions = False

    def __len__(self) -> int:
        return 3

    def refreshed(self) -> "Images":
        return self

    def thumbnail(self, id: str) -> bytes:
        return bytes(20_000_000)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[uvicorn.Server]:
    for name in ("HEADERS", "BODY", "ANSWER"):
        monkeypatch.setattr(connections, name, SOON)
    app = create_app(Images(), Stub())  # type: ignore[arg-type]
    config = uvicorn.Config(
        app, http=connections.PromptConnection, ws="none", log_level="error", timeout_keep_alive=1
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        server.address = listener.getsockname()  # type: ignore[attr-defined]
        try:
            yield server
        finally:
            server.should_exit = True
            thread.join()


def connected(server: uvicorn.Server, sent: bytes) -> socket.socket:
    connection = socket.create_connection(server.address, timeout=WAITED)  # type: ignore[attr-defined]
    connection.sendall(sent)
    return connection


def ended(connection: socket.socket) -> bytes:
    """What comes until the server closes; fails where it does not."""
    received = b""
    with connection, contextlib.suppress(ConnectionError):
        while part := connection.recv(1 << 16):
            received += part
    return received


def answer(connection: socket.socket) -> bytes:
    """One answer of /healthz."""
    received = b""
    while not received.endswith(b"}"):
        part = connection.recv(4096)
        assert part, received
        received += part
    return received


GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = (
    b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
)


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HT", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", POST]
)
def test_who_does_not_send_a_whole_request_is_closed(server: uvicorn.Server, sent: bytes) -> None:
    start = time.monotonic()
    assert b"200 OK" not in ended(connected(server, sent))
    assert SOON * 0.9 <= time.monotonic() - start < WAITED


@pytest.mark.parametrize("sent", [b"GET /healthz HTTP/1.1\r\nX-Slow: ", POST])
def test_a_byte_now_and_then_puts_nothing_off(server: uvicorn.Server, sent: bytes) -> None:
    connection, start = connected(server, sent), time.monotonic()
    with connection, contextlib.suppress(ConnectionError):
        while time.monotonic() - start < WAITED:
            connection.sendall(b"x")
            time.sleep(SOON / 8)
    assert time.monotonic() - start < WAITED


def test_who_does_not_read_the_answer_is_closed(server: uvicorn.Server) -> None:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(server.address)  # type: ignore[attr-defined]
    connection.sendall(GET.replace(b"/healthz", b"/api/images/" + b"0" * 32))
    _until(lambda: len(server.server_state.connections) == 1)
    _until(lambda: not server.server_state.connections)
    connection.close()


def test_who_is_quick_is_answered_again_and_again(server: uvicorn.Server) -> None:
    slow = connected(server, POST)
    with connected(server, GET) as connection:
        for _ in range(6):  # longer in all than a client has for one
            assert answer(connection).startswith(b"HTTP/1.1 200 OK")
            time.sleep(SOON / 3)
            connection.sendall(GET)
        assert answer(connection).startswith(b"HTTP/1.1 200 OK")
        start = time.monotonic()
        assert ended(connection) == b""  # idle
        assert time.monotonic() - start < WAITED
    ended(slow)
    _until(lambda: not server.server_state.connections)


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAITED
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
