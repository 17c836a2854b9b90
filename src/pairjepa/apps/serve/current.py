"""The index that is served, as it is now: what was indexed since is taken up beside the requests."""

import asyncio
from math import inf
from typing import TYPE_CHECKING

from anyio import to_thread
from starlette.exceptions import HTTPException

from pairjepa.util.errors import PairJEPAError
from pairjepa.util.progress import say

if TYPE_CHECKING:
    from pairjepa.apps.search import Index

LOOK = 1.0
"""Seconds after which the index is looked at again, if someone asks; on object storage each look costs a request."""


class Current:
    """The newest state of an index that could be read."""

    def __init__(self, index: "Index") -> None:
        self._index = index
        self._looking: asyncio.Task[None] | None = None
        self._looked = -inf
        self._lost = ""
        self._replaced = False

    def look(self) -> "Index":
        """The index; what was indexed since is looked for meanwhile, and found by the requests after this one.

        An index that cannot be read any more is said once, and the one that is in memory goes on answering.

        Raises:
            HTTPException: another run's index lies there now, whose vectors do not compare with the encoder's.
        """
        idle = self._looking is None or self._looking.done()
        if idle and asyncio.get_running_loop().time() >= self._looked + LOOK:
            self._looking = asyncio.create_task(self._look())
        if self._replaced:
            raise HTTPException(
                503, "The index was replaced by that of another run. The server must be started again."
            )
        return self._index

    async def settled(self) -> None:
        """Wait until nothing is looked for."""
        if self._looking is not None:
            await self._looking

    async def _look(self) -> None:
        try:
            found = await to_thread.run_sync(self._index.refreshed)
            if replaced := found.meta.digest != self._index.meta.digest:
                if not self._replaced:
                    say(f"{found.path} was replaced by the index of another run. Start the server again.")
            else:
                self._index = found
            self._replaced, self._lost = replaced, ""
        except PairJEPAError as error:
            if self._lost != (lost := str(error)):
                say(f"What was indexed since cannot be read: {lost}")
            self._lost = lost
        finally:
            self._looked = asyncio.get_running_loop().time()
