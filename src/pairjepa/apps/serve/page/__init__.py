"""The search page and the list of operations: files beside this one, with the look of all our pages."""

from collections.abc import Awaitable, Callable
from importlib import resources

from fastapi import FastAPI, Response

from pairjepa.apps.pages import style, theme_script
from pairjepa.util.errors import needs


def add_page(app: FastAPI) -> None:
    """Give the application, whose operations are all there, its page, what that loads, and a list of operations.

    Raises:
        PairJEPAError: Jinja is not installed.
    """
    with needs("jinja2", "serve"):
        import jinja2
    operations = jinja2.Environment(autoescape=True).from_string(_text("docs.html"))
    css = style() + _text("page.css")
    for path, kind, text in (
        ("/", "text/html", _text("index.html")),
        ("/docs", "text/html", operations.render(api=app.openapi())),
        ("/assets/page.css", "text/css", css),
        ("/assets/page.js", "text/javascript", _text("page.js")),
        ("/assets/theme.js", "text/javascript", theme_script()),
        ("/assets/icon.svg", "image/svg+xml", _text("icon.svg")),
    ):
        app.add_api_route(path, _answering(text, kind), methods=["GET"], include_in_schema=False)


def _answering(text: str, kind: str) -> Callable[[], Awaitable[Response]]:
    async def answer() -> Response:
        return Response(text, media_type=kind, headers={"Cache-Control": "no-cache"})

    return answer


def _text(file: str) -> str:
    return (resources.files(__name__) / file).read_text(encoding="utf-8")
