"""A page and an API over an index: serve."""

from typing import Annotated

from cyclopts import Parameter

from pairjepa.util.errors import missing_extra

EXTRA = ("fastapi", "jinja2", "python_multipart", "uvicorn")
"""Packages that a server needs and nothing else does."""


def serve(
    index: Annotated[str, Parameter(help="Folder or URL that `pairjepa index` wrote.")],
    /,
    *,
    port: Annotated[int, Parameter(help="Where to listen; 0 takes any free port.")] = 8000,
    host: Annotated[
        str, Parameter(help="Address to listen at; any but the default lets other machines in.")
    ] = "127.0.0.1",
    queue: Annotated[
        int, Parameter(help="Requests that may wait; beyond it clients are told to come again.")
    ] = 64,
    max_upload: Annotated[str, Parameter(help="Size of the largest upload.")] = "10MB",
) -> None:
    """Serve a search page and an API over an index, to this machine alone."""
    from importlib.util import find_spec

    if missing := [package for package in EXTRA if find_spec(package) is None]:
        raise missing_extra(missing[0], "serve")
    from pairjepa.apps.serve.run import serve

    serve(index, host=host, port=port, queue=queue, max_upload=max_upload)
