"""From an index on disk to a server that answers."""

import contextlib
import errno
import ipaddress
import socket
from pathlib import Path

import uvicorn
from PIL import Image
from pydantic import ByteSize, TypeAdapter, ValidationError

from pairjepa.apps.search import Index
from pairjepa.apps.serve.app import create_app
from pairjepa.apps.serve.connections import PromptConnection
from pairjepa.embedder.encoder import Encoder
from pairjepa.util.errors import PairJEPAError, UsageError
from pairjepa.util.progress import say
from pairjepa.util.words import counted

GRACE = 5
"""Seconds that open requests have to end after Ctrl-C."""


def serve(path: str | Path, *, host: str, port: int, queue: int, max_upload: str) -> None:
    """Serve an index until the process is told to stop (Ctrl-C or SIGTERM).

    Args:
        path: folder of the index, or its URL on object storage.
        host: address or name to listen at.
        port: 0 takes any that is free.
        queue: how many requests may wait for the encoder.
        max_upload: size of the largest request, such as 10MB.

    Raises:
        UsageError: a setting cannot be.
        PairJEPAError: there is no such index, its run has moved, or the port is in use.
    """
    limit = _bytes(max_upload)
    if queue < 1:
        raise UsageError(f"--queue must be at least 1, got {queue}.")
    index = Index.open(path)
    if not index.meta.complete:
        say(f"{path} is not complete. What its `pairjepa index` command adds is found while this serves.")
    with _listening(host, port) as listener:
        encoder = index.encoder()
        _warm(encoder)
        index.warm()
        app = create_app(index, encoder, host=host, queue=queue, max_upload=limit)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=PromptConnection,
                ws="none",  # another protocol, which nothing here speaks
                log_level="warning",
                access_log=False,  # what is searched for is no one else's business
                server_header=False,
                timeout_graceful_shutdown=GRACE,
            )
        )
        shown, at = (f"[{host}]" if ":" in host else host), listener.getsockname()[1]
        if not _is_loopback(host):
            say(f"Whoever reaches {shown}:{at} can search these images: there is no password.")
        say(f"{counted(len(index), 'image')} at http://{shown}:{at} (Ctrl-C stops)")
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again when all requests have ended
            server.run(sockets=[listener])
    say("stopped")


def _bytes(size: str) -> int:
    try:
        limit = int(TypeAdapter(ByteSize).validate_python(size))
    except ValidationError:
        limit = 0
    if limit < 1:
        raise UsageError(f"--max-upload must be a size such as 10MB or 512KB, got {size!r}.")
    return limit


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens, so that a port in use is known before a model is loaded."""
    if not 0 <= port <= 65535:
        raise UsageError(f"--port must be from 0 to 65535, got {port}.")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PairJEPAError(
                f"--port must be free, got {port}, which another program listens on. "
                f"Stop that one, or give another: --port {port + 1 if port < 65535 else 0}."
            ) from None
        if error.errno == errno.EACCES:
            raise PairJEPAError(
                f"--port must be one that you may open, got {port}. Give one from 1024 on."
            ) from None
        raise PairJEPAError(
            f"--host must be an address of this machine, got {host!r} ({error.strerror or error}). "
            "Leave it out to serve this machine alone."
        ) from None
    # Connections inherit it. asyncio sets it on those of its own sockets alone, and an answer would wait 40 ms for the
    # acknowledgement of its headers.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _warm(encoder: Encoder) -> None:
    """Load now what the first query needs, and find now what is wrong with it."""
    with contextlib.suppress(UsageError):  # of a run on vectors, which has no encoders
        encoder.encode_text("a photo")
        encoder.encode_image(Image.new("RGB", (64, 64)))
