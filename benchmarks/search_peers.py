"""A text query beside clip-retrieval's and sentence-transformers' over the same vectors, with the same text model.

    python benchmarks/search_peers.py INDEX --scratch FOLDER --sentence-transformers ST [--rows 100000] [--clients 16]

INDEX is a real one with captions and an ONNX model: it gives the words that are asked, and what a made-up index of
--rows images lies between (made_index.py). ST is what `pairjepa export RUN --to sentence-transformers` wrote of the
same run.

In a process, one query after another: `Index.search`; clip-retrieval's `KnnService.query` over a faiss index of the
same vectors with Arrow metadata, its quickest, and with our ONNX encoder in its place for a text encoder of one's own
(use_mclip), since its loader demands torchvision and a CLIP; and `SentenceTransformer.encode` and
`util.semantic_search` over a tensor, with the hit's name and captions from a list. All three are exact. Over HTTP, from
1 and from --clients clients at once: `pairjepa serve`, and clip-retrieval's service in the server that it starts.
"""

import argparse
import importlib
import importlib.util
import re
import subprocess
import sys
import tempfile
import threading
import time
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
from made_index import made_index, real_captions
from sides import Measured, main, needs, ratio

from pairjepa.apps.search import Index
from pairjepa.apps.search.meta import IMAGES
from pairjepa.apps.search.stored import vectors_of
from pairjepa.apps.search.vectors import lance_module

K = 10
WARM_UP = 10
SHOWN = ["id", "name", "path", "captions"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Of this benchmark."""
    parser.add_argument("index", type=Path)
    parser.add_argument("--scratch", type=Path, required=True, help="where the made-up index is kept")
    parser.add_argument("--sentence-transformers", type=Path, required=True, metavar="ST")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--clients", type=int, default=16)


def _index(given: argparse.Namespace) -> Index:
    return Index.open(made_index(given.scratch / f"{given.rows}-exact", given.rows, given.index, "off"))


def _material(index: Index) -> tuple[np.ndarray, pa.Table]:
    """All vectors, and what is shown of each."""
    rows = lance_module().dataset(index.place / IMAGES).to_table(columns=[*SHOWN, "vector"])
    return vectors_of(rows["vector"], index.dim), rows.select(SHOWN)


def _asked(given: argparse.Namespace, ask: Callable[[str], list[Any]]) -> Measured:
    seconds = []
    for words in real_captions(given.index, given.queries + WARM_UP)[0]:
        start = time.perf_counter()
        hits = ask(words)
        seconds.append(time.perf_counter() - start)
        assert len(hits) == K
    return {
        "seconds": float(np.median(seconds[WARM_UP:])),
        "p95_seconds": float(np.percentile(seconds[WARM_UP:], 95)),
    }


def pairjepa(given: argparse.Namespace) -> Measured:
    """In a process."""
    index = _index(given)
    encoder = index.encoder()
    index.warm()
    return _asked(given, lambda words: index.search(encoder.encode_text(words)[0], K))


def clip_retrieval(given: argparse.Namespace) -> Measured:
    """In a process."""
    service = _clip_service(_index(given))
    return _asked(
        given,
        lambda words: service.query(words, num_images=K, num_result_ids=K, use_mclip=True, deduplicate=False),
    )


def sentence_transformers(given: argparse.Namespace) -> Measured:
    """In a process."""
    import torch
    from sentence_transformers import SentenceTransformer, util

    vectors, shown = _material(_index(given))
    rows, corpus = shown.to_pylist(), torch.from_numpy(vectors)
    model = SentenceTransformer(str(given.sentence_transformers), device="cpu")

    def ask(words: str) -> list[Any]:
        query = model.encode(words, convert_to_tensor=True)
        found = util.semantic_search(query, corpus, top_k=K, score_function=util.dot_score)[0]
        return [(rows[hit["corpus_id"]], hit["score"]) for hit in found]

    return _asked(given, ask)


def pairjepa_server(given: argparse.Namespace) -> Measured:
    """Over HTTP."""
    index = _index(given)
    command = [sys.executable, "-m", "pairjepa", "serve", str(index.path), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        address = next(found[0] for line in process.stderr if (found := re.search(r"http://\S+", line)))
        return _loaded(given, address, partial(_get, "/api/search"))
    finally:
        process.terminate()
        process.wait()


def clip_retrieval_server(given: argparse.Namespace) -> Measured:
    """Over HTTP."""
    needs("clip_retrieval", "faiss", "flask")
    command = [sys.executable, __file__, *sys.argv[1:-2], "--side", "clip-retrieval's server itself"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        return _loaded(given, process.stdout.readline().strip(), _post)
    finally:
        process.terminate()
        process.wait()


def clip_server_itself(given: argparse.Namespace) -> Measured:
    """Serve until it is ended, as `clip_retrieval.clip_back.clip_back` does once it has loaded its CLIP."""
    resources = _clip_service(_index(given)).clip_resources
    from flask import Flask
    from flask_restful import Api
    from werkzeug.serving import make_server

    app = Flask(__name__)
    Api(app).add_resource(
        _clip_back().KnnService, "/knn-service", resource_class_kwargs={"clip_resources": resources}
    )
    server = make_server("127.0.0.1", 0, app, threaded=True)  # what app.run makes
    print(f"http://127.0.0.1:{server.port}", flush=True)
    server.serve_forever()
    return {}


def _clip_service(index: Index) -> Any:
    needs("clip_retrieval", "faiss", "flask_restful", "flask_cors", "h5py", "fire", "prometheus_client")
    import faiss

    back = _clip_back()
    vectors, shown = _material(index)
    flat = faiss.IndexFlatIP(index.dim)
    flat.add(vectors)
    with tempfile.TemporaryDirectory() as folder:  # mapped into memory, so that it may be gone
        with pa.OSFile(f"{folder}/0.arrow", "wb") as file, pa.ipc.new_file(file, shown.schema) as writer:
            writer.write_table(shown)
        metadata = back.ArrowMetadataProvider(folder)
    resource = back.ClipResource(
        device="cpu",
        model=None,
        preprocess=None,
        tokenizer=None,
        model_txt_mclip=index.encoder().encode_text,
        safety_model=None,
        violence_detector=None,
        metadata_provider=metadata,
        image_index=flat,
        text_index=flat,
        ivf_old_to_new_mapping=None,
        columns_to_return=SHOWN,
        metadata_is_ordered_by_ivf=False,
        aesthetic_embeddings=None,
    )
    return back.KnnService(clip_resources={"made": resource})


@cache
def _clip_back() -> Any:
    """`clip_retrieval.clip_back` without its package, which imports all that it embeds and downloads with."""
    found = importlib.util.find_spec("clip_retrieval")
    assert found is not None
    package = types.ModuleType("clip_retrieval")
    package.__path__ = list(found.submodule_search_locations or [])
    sys.modules["clip_retrieval"] = package
    return importlib.import_module("clip_retrieval.clip_back")


def _loaded(given: argparse.Namespace, address: str, ask: Callable[[httpx.Client, str], None]) -> Measured:
    """One client, then many: answers a second, and the 95th percentile of their times."""
    words = real_captions(given.index, given.queries)[0]
    local = threading.local()

    def timed(one: str) -> float:
        if not hasattr(local, "client"):  # a connection each, as clients have
            local.client = httpx.Client(base_url=address, timeout=60)
        start = time.perf_counter()
        ask(local.client, one)
        return time.perf_counter() - start

    measured: Measured = {}
    for clients in (1, given.clients):
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(timed, words[: 2 * clients]))
            start = time.perf_counter()
            seconds = list(pool.map(timed, words))
            elapsed = time.perf_counter() - start
        measured |= {
            f"per_second_{clients}": len(words) / elapsed,
            f"p50_seconds_{clients}": float(np.percentile(seconds, 50)),
            f"p95_seconds_{clients}": float(np.percentile(seconds, 95)),
        }
    return measured | {"seconds": measured["p50_seconds_1"]}


def _get(path: str, client: httpx.Client, words: str) -> None:
    answer = client.get(path, params={"q": words, "k": K}).raise_for_status()
    assert len(answer.json()["results"]) == K


def _post(client: httpx.Client, words: str) -> None:
    query = {"text": words, "modality": "image", "num_images": K, "indice_name": "made", "use_mclip": True}
    assert len(client.post("/knn-service", json=query).raise_for_status().json()) == K


SIDES = {
    "pairjepa": pairjepa,
    "clip-retrieval": clip_retrieval,
    "sentence-transformers": sentence_transformers,
    "pairjepa serve": pairjepa_server,
    "clip-retrieval's server": clip_retrieval_server,
}


def summary(medians: dict[str, Measured], given: argparse.Namespace) -> dict[str, Any]:
    """How many times as long the others take, and what many clients do to a server."""
    ratios: dict[str, float] = {}
    for other in ("clip-retrieval", "sentence-transformers"):
        if other in medians:
            ratios[f"{other} / pairjepa"] = ratio(medians[other], medians["pairjepa"])
    many = given.clients
    for side in ("pairjepa serve", "clip-retrieval's server"):
        if side in medians:
            for what in ("p95_seconds", "per_second"):
                one, more = (medians[side][f"{what}_{clients}"] for clients in (1, many))
                ratios[f"{side}: {what} of {many} clients / 1"] = round(more / one, 2)
    if "clip-retrieval's server" in medians:
        for what in (f"p95_seconds_{many}", f"per_second_{many}"):
            ratios[f"clip-retrieval's server / pairjepa serve: {what}"] = ratio(
                medians["clip-retrieval's server"], medians["pairjepa serve"], what
            )
    return {
        "what": "words to ten hits with names and captions, all vectors compared; the peers have the same text model",
        "rows": given.rows,
        "queries": given.queries,
        "clients": given.clients,
        "ratios": ratios,
    }


if __name__ == "__main__":
    if sys.argv[-1] == "clip-retrieval's server itself":
        SIDES[sys.argv[-1]] = clip_server_itself
    sys.exit(main(__doc__, SIDES, arguments, summary))
