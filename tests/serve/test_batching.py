"""Many clients at once: what they wait for, when one is refused, and that none spoils it for the others."""

import asyncio
import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing

import httpx
import numpy as np
import pytest

from pairjepa.apps.search import Index
from pairjepa.apps.search.query import Query
from pairjepa.apps.serve.batching import BATCH, Batcher, Busy
from pairjepa.embedder.encoder import Encoder

from .conftest import client_of


class Stub:
    """Encodes words as their length, one batch at a time, each when it is let."""

    dim, temperature, sees_captions, min_decode_size = 2, 0.1, False, (64, 64)

    def __init__(self, open_gate: bool = True) -> None:
        self.batches: list[list[str]] = []
        self.threads: set[int] = set()
        self.gate = threading.Event()
        if open_gate:
            self.gate.set()

    def encode_text(self, captions: str | Sequence[str]) -> np.ndarray:
        self.gate.wait(10)
        texts = [captions] if isinstance(captions, str) else list(captions)
        self.batches.append(texts)
        self.threads.add(threading.get_ident())
        if "bad" in texts:
            raise RuntimeError("cannot encode")
        return np.array([[len(text), 0] for text in texts], np.float32)


def run(stub: Stub, words: Sequence[str], queue: int = 100) -> list[object]:
    async def ask() -> list[object]:
        with closing(Batcher(stub, queue)) as batcher:  # type: ignore[arg-type]

            async def one(text: str) -> np.ndarray:
                async with batcher.place():
                    return await batcher.encode(Query(text))

            return await asyncio.gather(*(one(text) for text in words), return_exceptions=True)

    return asyncio.run(ask())


def test_queries_that_come_together_are_encoded_together_and_each_gets_its_own() -> None:
    stub = Stub()
    words = ["x" * length for length in range(1, 2 * BATCH + 4)]
    vectors = run(stub, words)
    assert [int(vector[0]) for vector in vectors] == [len(text) for text in words]  # type: ignore[index]
    assert [len(batch) for batch in stub.batches] == [BATCH, BATCH, 3]
    assert len(stub.threads) == 1
    assert threading.get_ident() not in stub.threads


def test_a_failure_is_that_of_its_batch_alone() -> None:
    stub = Stub()
    answers = run(stub, ["bad", *["x"] * (BATCH - 1), "after"])
    assert all(isinstance(answer, RuntimeError) for answer in answers[:BATCH])
    assert answers[BATCH][0] == 5  # type: ignore[index]


def test_one_more_than_the_queue_is_refused_and_has_its_place_when_there_is_room() -> None:
    async def ask() -> None:
        stub = Stub(open_gate=False)
        with closing(Batcher(stub, 3)) as batcher:  # type: ignore[arg-type]

            async def one() -> np.ndarray:
                async with batcher.place():
                    return await batcher.encode(Query("words"))

            waiting = [asyncio.create_task(one()) for _ in range(3)]
            await asyncio.sleep(0.05)
            with pytest.raises(Busy, match=r"Try again in 1 s\."):
                await one()
            waiting[0].cancel()  # a client goes away
            await asyncio.sleep(0)
            waiting.append(asyncio.create_task(one()))
            await asyncio.sleep(0.02)
            stub.gate.set()
            assert [int((await task)[0]) for task in waiting[1:]] == [5, 5, 5]
            assert int((await one())[0]) == 5

    asyncio.run(ask())


def test_sixteen_clients_and_none_refused(url: str, photo: bytes) -> None:
    def ask(number: int) -> int:
        with httpx.Client(base_url=url, timeout=60) as client:
            if number % 4:
                answers = [client.get("/api/search", params={"q": f"{number} circles"}) for _ in range(5)]
            else:
                answers = [client.post("/api/search", files={"image": photo}) for _ in range(5)]
        return sum(answer.status_code == 200 and len(answer.json()["results"]) == 10 for answer in answers)

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(16))) == [5] * 16


def test_beyond_the_queue_clients_are_told_when_to_come_again(
    index: Index, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, vector = threading.Event(), encoder.encode_text("circle")

    def slow(captions: Sequence[str]) -> np.ndarray:
        gate.wait(10)
        return np.repeat(vector, len(captions), axis=0)

    monkeypatch.setattr(encoder, "encode_text", slow)
    with client_of(index, encoder, queue=2) as client, ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(client.get, "/api/search?q=circle") for _ in range(8)]
        refused = [future.result() for future in itertools.islice(as_completed(asked), 6)]
        for answer in refused:
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.json() == {"detail": "The server is busy. Try again in 1 s."}
        assert client.get("/healthz").status_code == 200  # what needs no encoder is answered
        gate.set()
        assert sorted(future.result().status_code for future in asked) == [200] * 2 + [503] * 6
        assert client.get("/api/search?q=circle").status_code == 200
