"""Inference beside the event loop: what several clients ask for at once is encoded together, in one thread."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from starlette.exceptions import HTTPException

from pairjepa.apps.search.query import Query, encode

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float32

    from pairjepa.embedder.encoder import Encoder

T = TypeVar("T")
Waiting = tuple[Query, "asyncio.Future[np.ndarray]"]

WAIT = 0.003
"""Seconds that the first query waits for others to come with it, where there are others."""

BATCH = 16
"""Queries encoded at once."""


class Busy(HTTPException):
    """The queue is full; in `retry_after` whole seconds it probably has room."""

    def __init__(self, retry_after: int) -> None:
        detail = f"The server is busy. Try again in {retry_after} s."
        super().__init__(503, detail, {"Retry-After": str(retry_after)})


class Batcher:
    """Collects queries for a moment and encodes those of a kind together, in one thread.

    Args:
        encoder: what encodes them.
        queue: how many requests may wait or be worked on; one more is refused.
    """

    def __init__(self, encoder: "Encoder", queue: int) -> None:
        self._encoder, self._limit = encoder, queue
        self._held = 0
        self._seconds = 0.0  # that the last batch took
        self._thread = ThreadPoolExecutor(1, "inference")
        self._waiting: list[Waiting] = []
        self._collecting: asyncio.Task[None] | None = None

    def close(self) -> None:
        """Wait until nothing is encoded any more."""
        self._thread.shutdown()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place in the queue, from before a picture is decoded until it is encoded.

        Raises:
            Busy: there is none.
        """
        if self._held >= self._limit:
            raise Busy(max(1, round(self._seconds * self._held / BATCH)))
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    async def encode(self, query: Query) -> "Float32[np.ndarray, ' dim']":
        """The unit vector of a query, encoded with those that come at the same time."""
        answer: asyncio.Future[np.ndarray] = asyncio.get_running_loop().create_future()
        self._waiting.append((query, answer))
        if self._collecting is None or self._collecting.done():
            self._collecting = asyncio.create_task(self._collect())
        return await answer

    async def run(self, work: Callable[[], T]) -> T:
        """Do other work in the thread of the inference, so that there are never two at once."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _collect(self) -> None:
        while self._waiting:
            if self._held > 1:
                await asyncio.sleep(WAIT)
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            start = asyncio.get_running_loop().time()
            # words alone go first: they take a tenth of the time of a picture, and someone types them
            await self._answer([waiting for waiting in batch if waiting[0].image is None])
            await self._answer([waiting for waiting in batch if waiting[0].image is not None])
            self._seconds = asyncio.get_running_loop().time() - start

    async def _answer(self, group: list[Waiting]) -> None:
        if not group:
            return
        try:
            vectors = await self.run(lambda: encode(self._encoder, [query for query, _ in group]))
        except Exception as error:  # is for everyone who waits for this batch; the next one is another matter
            for _, answer in group:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), vector in zip(group, vectors, strict=True):
            if not answer.done():  # it is cancelled where a client has gone away
                answer.set_result(vector)
