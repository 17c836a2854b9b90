"""Serve an index to 1 and to 16 clients at once, and compute the recalls of `evaluate` over HTTP.

    python benchmarks/serve_clients.py INDEX DATA [--run RUN] [--clients 16] [--requests 400] [--out FILE]

DATA is what INDEX was made of: its test split has the queries. With --run, the recalls over HTTP are set beside those
that `pairjepa evaluate RUN --split test` has written; the exit status is 1 if one differs in any digit. Prints JSON.
"""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from sides import finish, machine, parser_of

from pairjepa.metrics.retrieval import RECALLS, TIE_TOLERANCE, recall_at
from pairjepa.pairs import Pairs


def main() -> int:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("index")
    parser.add_argument("data")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--requests", type=int, default=400)
    given = parser.parse_args()
    pairs = Pairs.open(given.data).split("test")
    result: dict[str, Any] = {**machine(), "test_images": pairs.n_images}
    with served(given.index) as (url, _), httpx.Client(base_url=url, timeout=60) as client:
        result["images"] = client.get("/healthz").json()["images"]
        for name, asks in {"words": words(pairs), "photo": photos(pairs)}.items():
            one = load(client, asks[: given.requests], 1)
            many = load(client, asks[: given.requests], given.clients)
            result[name] = {
                "1 client": one,
                f"{given.clients} clients": many,
                "throughput_ratio": round(many["per_second"] / one["per_second"], 2),
                "p95_ratio": round(many["p95_ms"] / one["p95_ms"], 2),
            }
        result["recalls"] = recalls(client, pairs, "split = 'test'", given.clients)
    same = True
    if given.run is not None:
        expected = json.loads((given.run / "evaluation" / "test.json").read_text("utf-8"))
        result["evaluate"] = {
            way: {k: expected[way][k] for k in one} for way, one in result["recalls"].items()
        }
        same = result["same"] = result["evaluate"] == result["recalls"]
    finish(result, given.out)
    return 0 if same else 1


@contextmanager
def served(index: str) -> Any:
    """`pairjepa serve` as a process of its own; its address and process id."""
    command = [sys.executable, "-m", "pairjepa", "serve", index, "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = ""
        while not (found := re.search(r"http://\S+", said)):
            line = process.stderr.readline()
            if not line:
                sys.exit(said)
            said += line
        yield found[0], process.pid
    finally:
        process.terminate()
        process.wait()


Ask = Callable[[httpx.Client], httpx.Response]


def words(pairs: Pairs, **parameters: Any) -> list[Ask]:
    """A search by each caption."""
    return [
        lambda client, q=caption: client.get("/api/search", params={"q": q, **parameters})
        for caption in pairs.captions.to_pylist()
    ]


def photos(pairs: Pairs, **parameters: Any) -> list[Ask]:
    """A search by each image, as its file or, if it is drawn, as PNG."""
    return [
        lambda client, row=row: client.post(
            "/api/search", data=parameters, files={"image": pairs.read_bytes(row)}
        )
        for row in range(pairs.n_images)
    ]


def load(client: httpx.Client, asks: Sequence[Ask], clients: int) -> dict[str, float]:
    """Time of each answer, and answers a second, while that many clients ask one after another."""
    start = time.perf_counter()
    seconds = [taken for taken, _ in _answers(client, asks, clients)]
    elapsed = time.perf_counter() - start
    return {
        "requests": len(asks),
        "per_second": round(len(asks) / elapsed, 1),
        "p50_ms": round(float(np.percentile(seconds, 50)) * 1000, 1),
        "p95_ms": round(float(np.percentile(seconds, 95)) * 1000, 1),
    }


def recalls(client: httpx.Client, pairs: Pairs, where: str, clients: int = 1) -> dict[str, dict[str, float]]:
    """Recall@K both ways in percent, from the results of one request a query; ties count against the model.

    So many results are asked for that whatever lies beyond them cannot bring a rank to 10 or below.
    """
    names = pairs.names
    owner = [names[row] for row in pairs.owner.tolist()]
    k = max(RECALLS) + 1 + int(np.bincount(pairs.owner).max())
    by_words = _answers(client, words(pairs, where=where, k=k, by="image"), clients)
    by_photo = _answers(client, photos(pairs, where=where, k=k, **{"in": "captions"}), clients)
    ways = {"image_to_text": (by_photo, names), "text_to_image": (by_words, owner)}
    return {way: _recalls(answers, own) for way, (answers, own) in ways.items()}


def _recalls(answers: Sequence[tuple[float, Any]], own: Sequence[str]) -> dict[str, float]:
    ranks = np.array([_rank(results, name) for (_, results), name in zip(answers, own, strict=True)])
    return {f"R@{k}": recall_at(ranks, k) for k in RECALLS}


def _rank(results: Sequence[dict[str, Any]], own: str) -> int:
    best = max((np.float32(r["score"]) for r in results if r["name"] == own), default=np.float32("inf"))
    if np.isinf(best):
        return len(results)
    floor = best - np.float32(TIE_TOLERANCE)
    return 1 + sum(r["name"] != own and np.float32(r["score"]) >= floor for r in results)


def _answers(client: httpx.Client, asks: Sequence[Ask], clients: int) -> list[tuple[float, Any]]:
    def timed(ask: Ask) -> tuple[float, Any]:
        start = time.perf_counter()
        answer = ask(client)
        seconds = time.perf_counter() - start
        answer.raise_for_status()
        return seconds, answer.json()["results"]

    if clients == 1:
        return [timed(ask) for ask in asks]
    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(timed, asks))


if __name__ == "__main__":
    sys.exit(main())
