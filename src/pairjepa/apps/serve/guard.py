"""What stands before every request: who asks, how much is sent, and what a browser may do with the answer."""

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""On every answer: the page loads nothing from elsewhere, and no other page can show or read what is here."""


class Guard:
    """ASGI middleware: refuses other hosts, other sites and bodies over `max_body` bytes, and adds `HEADERS`.

    A page elsewhere can have its own name resolve to this machine (DNS rebinding) and would then read the answers
    as its own; the browser still sends that name as the Host. A numeric address cannot be rebound. A page elsewhere
    can also ask without reading, by a picture or a form; the browser says so in Sec-Fetch-Site and Origin.
    """

    def __init__(self, app: ASGIApp, host: str, max_body: int) -> None:
        self.app, self._names, self._max_body = app, {"localhost", host.lower()}, max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_body:
                raise HTTPException(413, self._too_large)
            return message

        headers = Headers(scope=scope)
        length = headers.get("content-length", "")
        refusal = None
        if not self._trusts(headers.get("host", "")):
            refusal = 400, "The Host header must be localhost or a numeric address. Open the page by one."
        elif _from_another_site(headers, scope["path"]):
            refusal = 403, "The request must come from this server's own page. Open that in the browser."
        elif length.isdecimal() and int(length) > self._max_body:
            refusal = 413, self._too_large
        answer = self.app if refusal is None else JSONResponse({"detail": refusal[1]}, refusal[0])
        await answer(scope, receive_counted, send_guarded)

    @property
    def _too_large(self) -> str:
        return f"A request must have at most {self._max_body / 1e6:g} MB. Send a smaller copy of the picture."

    def _trusts(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
            return name in self._names or bool(ipaddress.ip_address(name))
        except ValueError:
            return False


def _from_another_site(headers: Headers, path: str) -> bool:
    """Whether a browser asks for a page of another site; to follow a link to our page is no such thing."""
    site, origin = headers.get("sec-fetch-site", "none"), headers.get("origin")
    if origin is not None and origin.partition("://")[2] != headers.get("host"):
        return True
    to_our_page = path == "/" and headers.get("sec-fetch-dest") == "document"
    return site not in ("none", "same-origin") and not to_our_page
