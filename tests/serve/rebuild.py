"""Ask a server from many clients while its index is rebuilt; check every answer, and the server's memory.

    PYTHONPATH=benchmarks python tests/serve/rebuild.py RUN [--data shapes:600] [--clients 64] [--seconds 30]

Half of the images of DATA stay in the index; the other half is taken out of their folder and put back, over and over,
each time with `pairjepa index`. Whatever the moment, a right answer has the true scores in falling order, and of the
images that stay the best ones and no gap. Prints JSON; the exit status is 1 if an answer was wrong or of a status other
than 200 and 503, or if the server's memory grew by more than a tenth after its first third.
"""

import io
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from pairjepa.apps.search.build import build
from pairjepa.pairs import Pairs

K, QUERIES = 20, 32
CLOSE = 1e-4  # of scores: images that come back are embedded in other batches
GROWTH = 1.1
STEADY, PASSING = "steady", "passing"


@dataclass(frozen=True)
class Truth:
    """What can be asked, and what is right."""

    names: dict[str, str]
    """Image id → name."""
    scores: list[dict[str, float]]
    """For each query, image id → cosine."""
    words: list[str]
    thumbnails: dict[str, bytes]
    """Of the images that stay."""

    def wrong(self, query: int, results: list[dict[str, Any]], steady_alone: bool) -> str:
        """What is wrong with the answer to a query; nothing if it is right."""
        true, found = self.scores[query], [result["id"] for result in results]
        scores = [result["score"] for result in results]
        if len(found) != K or len(set(found)) != K:
            return f"{len(found)} results, {len(set(found))} different"
        if any(self.names.get(result["id"]) != result["name"] for result in results):
            return "a name of another image"
        if any(abs(true[id] - score) > CLOSE for id, score in zip(found, scores, strict=True)):
            return "a score of another image"
        if scores != sorted(scores, reverse=True):
            return "not the best first"
        steady = [score for id, score in zip(found, scores, strict=True) if id in self.thumbnails]
        best = sorted((true[id] for id in self.thumbnails), reverse=True)[: len(steady)]
        if steady_alone and len(steady) < K:
            return "an image that the condition leaves out"
        return "" if np.allclose(steady, best, atol=CLOSE) else "one of the best is missing"


def prepared(run: Path, data: str, folder: Path) -> Truth:
    """Pictures in `folder / "photos"`, an index of them in `folder / "index"`, and what is right to answer from it."""
    pairs = Pairs.open(data)
    for row in range(pairs.n_images):
        path = folder / "photos" / (STEADY if row % 2 else PASSING) / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pairs.image(row).save(path)
    index = build(run, [folder / "photos"], folder / "index")
    words = list(dict.fromkeys(pairs.captions.to_pylist()))[:QUERIES]
    hits = [index.search(vector, len(index)) for vector in index.encoder().encode_text(words)]
    names = {hit.id: hit.name for hit in hits[0]}
    thumbnails = {id: index.thumbnail(id) or b"" for id, name in names.items() if name.startswith(STEADY)}
    return Truth(names, [{hit.id: hit.score for hit in some} for some in hits], words, thumbnails)


def ask(client: httpx.Client, truth: Truth, random: random.Random) -> tuple[int, str]:
    """One request: its status, and what is wrong with the answer."""
    query, kind = random.randrange(len(truth.words)), random.random()
    if kind < 0.1:
        id = random.choice(list(truth.thumbnails))
        answer = client.get(f"/api/images/{id}")
        return answer.status_code, "" if answer.content == truth.thumbnails[id] else "another picture"
    if kind < 0.2:
        id = random.choice(list(truth.thumbnails))
        upload = io.BytesIO()
        Image.open(io.BytesIO(truth.thumbnails[id])).save(upload, "PNG")
        answer = client.post("/api/search", files={"image": upload.getvalue()}, data={"k": K})
        first = answer.json()["results"][0] if answer.status_code == 200 else {"score": 1}
        like = first["score"] > 0.9
        return answer.status_code, "" if like else "a picture does not find what looks like it"
    where = {"where": f"name LIKE '{STEADY}/%'"} if kind < 0.5 else {}
    answer = client.get("/api/search", params={"q": truth.words[query], "k": K, **where})
    if answer.status_code != 200:
        return answer.status_code, ""
    return 200, truth.wrong(query, answer.json()["results"], bool(where))


def stress(
    url: str,
    truth: Truth,
    rebuild: Callable[[bool], object],
    memory: Callable[[], int],
    clients: int,
    seconds: float,
) -> dict[str, Any]:
    """Ask for so long from so many clients while `rebuild` is called, with and without the images that come and go."""
    until, done = time.monotonic() + seconds, threading.Event()
    used: list[int] = []

    def client(number: int) -> Counter[tuple[int, str]]:
        seen, drawn = Counter[tuple[int, str]](), random.Random(number)
        with httpx.Client(base_url=url, timeout=60) as http:
            while not done.is_set():
                try:
                    status, wrong = ask(http, truth, drawn)
                except httpx.HTTPError as error:
                    status, wrong = 0, type(error).__name__
                seen[status, wrong if status == 200 else ""] += 1
                if status == 503:
                    time.sleep(1)
        return seen

    def watch() -> None:
        while not done.is_set():
            used.append(memory())
            time.sleep(0.2)

    watching = threading.Thread(target=watch)
    watching.start()
    rebuilt = 0
    with ThreadPoolExecutor(clients) as pool:
        asked = [pool.submit(client, number) for number in range(clients)]
        try:
            while rebuilt < 2 or time.monotonic() < until:  # gone and back, however slow the machine is
                rebuild(rebuilt % 2 == 1)
                rebuilt += 1
        finally:
            done.set()
        seen = sum((one.result() for one in asked), Counter())
    watching.join()
    third = max(1, len(used) // 3)
    return {
        "requests": sum(seen.values()),
        "statuses": {str(status): sum(n for (s, _), n in seen.items() if s == status) for status, _ in seen},
        "wrong": {wrong: count for (_, wrong), count in seen.items() if wrong},
        "rebuilt": rebuilt,
        "memory_mb": {
            "first_third": max(used[:third]) // 10**6,
            "later": max(used[third:], default=0) // 10**6,
        },
    }


def moved(folder: Path, there: bool) -> None:
    """Put the images that come and go into the photographs, or beside them."""
    inside, outside = folder / "photos" / PASSING, folder / PASSING
    if there != inside.exists():
        (outside if there else inside).rename(inside if there else outside)


def main() -> int:
    """Measure and print."""
    from serve_clients import served
    from sides import finish, machine, memory_of, parser_of

    parser = parser_of(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", default="shapes:600")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=30)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        truth = prepared(given.run, given.data, folder)
        index = [sys.executable, "-m", "pairjepa", "index", str(given.run), str(folder / "photos"), "--out"]

        def rebuild(there: bool) -> None:
            moved(folder, there)
            subprocess.run([*index, str(folder / "index")], check=True, capture_output=True)

        with served(str(folder / "index")) as (url, pid):
            result = {**machine(), "images": len(truth.names), "clients": given.clients}
            result |= stress(url, truth, rebuild, lambda: memory_of(pid), given.clients, given.seconds)
    finish(result, given.out)
    memory = result["memory_mb"]
    flat = memory["later"] <= GROWTH * memory["first_third"]
    return 0 if flat and not result["wrong"] and set(result["statuses"]) <= {"200", "503"} else 1


if __name__ == "__main__":
    sys.exit(main())
