"""The search page and the list of operations: files beside this one, with the look of all our pages."""

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Response

from pairjepa.apps import pages
from pairjepa.apps.pages import page_text
from pairjepa.util.errors import needs


def add_page(app: FastAPI) -> None:
    """Give the application, whose operations are all there, its page, what that loads, and a list of operations.

    Raises:
        PairJEPAError: Jinja is not installed.
    """
    with needs("jinja2", "serve"):
        import jinja2
    operations = jinja2.Environment(autoescape=True).from_string(page_text(__name__, "docs.html"))
    css = page_text(pages.__name__, "base.css") + page_text(__name__, "page.css")
    for path, kind, text in (
        ("/", "text/html", page_text(__name__, "index.html")),
        ("/docs", "text/html", operations.render(api=app.openapi())),
        ("/assets/page.css", "text/css", css),
        ("/assets/page.js", "text/javascript", page_text(__name__, "page.js")),
        ("/assets/theme.js", "text/javascript", page_text(pages.__name__, "theme.js")),
        ("/assets/icon.svg", "image/svg+xml", page_text(__name__, "icon.svg")),
    ):
        app.add_api_route(path, _answering(text, kind), methods=["GET"], include_in_schema=False)


def _answering(text: str, kind: str) -> Callable[[], Awaitable[Response]]:
    async def answer() -> Response:
        return Response(text, media_type=kind, headers={"Cache-Control": "no-cache"})

    return answer
