"""A page and an API over an index: serve."""

from pairjepa.util.errors import missing_extra

EXTRA = ("fastapi", "jinja2", "python_multipart", "uvicorn")
"""Packages that a server needs and nothing else does."""


def serve(
    index: str,
    /,
    *,
    port: int = 8000,
    host: str = "127.0.0.1",
    queue: int = 64,
    max_upload: str = "10MB",
) -> None:
    """Serve a search page and an API over an index, to this machine alone.

    Args:
        index: Folder or URL that `pairjepa index` wrote.
        port: Where to listen; 0 takes any free port.
        host: Address to listen at; any but the default lets other machines in.
        queue: Requests that may wait; beyond it clients are told to come again.
        max_upload: Size of the largest upload.
    """
    from importlib.util import find_spec

    if missing := [package for package in EXTRA if find_spec(package) is None]:
        raise missing_extra(missing[0], "serve")
    from pairjepa.apps.serve.run import serve

    serve(index, host=host, port=port, queue=queue, max_upload=max_upload)
