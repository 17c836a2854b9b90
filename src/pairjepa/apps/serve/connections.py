"""Connections that are closed where the client is slow: uvicorn waits for ever for requests and readers."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADERS, BODY, ANSWER = 10.0, 60.0, 30.0
"""Seconds that a client has to send the headers of a request, its body, and to take an answer that waits for it."""


_CLOSING = object()  # what is written is on its way, and no more is to come


class PromptConnection(H11Protocol):
    """An HTTP/1.1 connection with a deadline for each thing that the client is waited for.

    A byte now and then does not put it off: it is set when the client's turn begins.
    """

    _turn: Any = None
    _deadline: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The headers of the first request are to come."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Some of a request."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """The next request may come; until something of it does, uvicorn's shorter deadline for idle ones holds."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """More of an answer waits than the system takes: the client does not read."""
        super().pause_writing()
        self._unread = self.loop.call_later(ANSWER, self.transport.abort)

    def resume_writing(self) -> None:
        """It has read on."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        super().connection_lost(exc)
        for timer in (self._deadline, self._unread):
            if timer is not None:
                timer.cancel()

    def _watch(self) -> None:
        turn = _CLOSING if self.transport.is_closing() else self.conn.their_state
        if turn is self._turn:
            return
        self._turn = turn
        if self._deadline is not None:
            self._deadline.cancel()
        seconds = {h11.IDLE: HEADERS, h11.SEND_BODY: BODY, _CLOSING: ANSWER}.get(turn)
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self.transport.abort)
