"""What the server answers: the same as the library, and a sentence where it cannot."""

import importlib
import io
import json
import shutil
import struct
import zlib
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import pairjepa
from pairjepa.apps.labels.labels import Labels
from pairjepa.apps.search import Index
from pairjepa.apps.search.build import build
from pairjepa.apps.search.query import Query, encode
from pairjepa.apps.serve.app import read_picture
from pairjepa.embedder.encoder import Encoder
from pairjepa.pairs import Pairs

from .conftest import DATA, client_of

WORDS = "a large red circle"


def asked(client: TestClient, path: str, **parameters: object) -> list[dict[str, object]]:
    answer = client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def refused(answer: object, status: int) -> str:
    assert answer.status_code == status, answer.text  # type: ignore[attr-defined]
    body = answer.json()  # type: ignore[attr-defined]
    assert list(body) == ["detail"]
    assert isinstance(body["detail"], str)
    return body["detail"]


@pytest.mark.parametrize("of", ["images", "captions"])
def test_words_find_what_the_library_finds(
    client: TestClient, index: Index, encoder: Encoder, of: str
) -> None:
    hits = index.search(encoder.encode_text(WORDS)[0], 7, of=of, words=True)  # type: ignore[arg-type]
    found = asked(client, "/api/search", q=WORDS, k=7, **{"in": of})
    assert [(r["id"], r["name"], r["captions"]) for r in found] == [
        (hit.id, hit.name, list(hit.captions)) for hit in hits
    ]
    assert [np.float32(r["score"]) for r in found] == [np.float32(hit.score) for hit in hits]
    assert set(found[0]) == {"id", "name", "score", "probability", "captions"}


def test_a_picture_and_words_are_the_query_of_the_run(
    client: TestClient, index: Index, encoder: Encoder, photo: bytes
) -> None:
    picture = Image.open(io.BytesIO(photo))
    for words in (None, WORDS):
        (vector,) = encode(encoder, [Query(words, picture)])
        answer = client.post(
            "/api/search", files={"image": photo}, data={"k": 5} | ({"q": words} if words else {})
        )
        expected = [hit.id for hit in index.search(vector, 5, by="image", words=False)]
        assert [r["id"] for r in answer.json()["results"]] == expected
    only_words = client.post("/api/search", data={"q": WORDS, "in": "captions"}).json()
    assert only_words["results"] == asked(client, "/api/search", q=WORDS, **{"in": "captions"})


def test_what_is_compared_and_words_that_are_taken_away(
    client: TestClient, index: Index, encoder: Encoder
) -> None:
    minus = "a circle"
    (vector,) = encode(encoder, [Query(WORDS, minus=minus)])
    found = [asked(client, "/api/search", q=WORDS, minus=minus, by=by) for by in ("image", "caption", "both")]
    for by, results in zip(("image", "caption", "both"), found, strict=True):
        hits = index.search(vector, 10, by=by, words=False)  # type: ignore[arg-type]
        assert [r["id"] for r in results] == [hit.id for hit in hits]
    assert found[2] == client.post("/api/search", data={"q": WORDS, "minus": minus}).json()["results"]
    assert found[0] != found[1]
    same = refused(client.get("/api/search", params={"q": WORDS, "minus": WORDS}), 422)
    assert same.startswith("minus must be other words than the query")


def test_a_threshold_is_of_images_that_words_alone_are_searched_for(client: TestClient) -> None:
    every = asked(client, "/api/search", q=WORDS, k=100)
    least = every[3]["probability"]
    assert asked(client, "/api/search", q=WORDS, k=100, threshold=least) == every[:4]
    for more in ({"in": "captions"}, {"minus": "a circle"}):
        found = asked(client, "/api/search", q=WORDS, threshold=1, **more)
        assert {r["probability"] for r in found} == {None}


def test_the_same_picture_is_found_first(client: TestClient, photo: bytes) -> None:
    first = client.post("/api/search", files={"image": photo}).json()["results"][0]
    assert first["name"] == Pairs.open(DATA).split("test").table["name"][0].as_py()
    assert first["score"] == pytest.approx(1, abs=1e-5)


def test_similar_leaves_out_the_image_itself(client: TestClient, index: Index) -> None:
    id = asked(client, "/api/search", q=WORDS, k=1)[0]["id"]
    found = asked(client, f"/api/similar/{id}", k=5)
    vector = index.vector(str(id))
    assert vector is not None
    assert [r["id"] for r in found] == [
        hit.id for hit in index.search(vector, 6, by="image", exclude=str(id), words=False)
    ][:5]
    captions = asked(client, f"/api/similar/{id}", k=5, **{"in": "captions"})
    assert [r["captions"] for r in captions] == [
        list(hit.captions) for hit in index.search(vector, 5, of="captions")
    ]


def test_a_condition_chooses(client: TestClient) -> None:
    found = asked(client, "/api/search", q=WORDS, k=100, where="split = 'test' AND width > 10")
    names = set(Pairs.open(DATA).split("test").table["name"].to_pylist())
    assert {r["name"] for r in found} == names
    assert asked(client, "/api/search", q=WORDS, where="width > 100000") == []


@pytest.mark.parametrize(
    "where",
    [
        "path LIKE '/%'",
        "source = ''",
        "stamp > ''",
        "nosuch = 1",
        "split =",
        "width",
        "1 / 0 = 1",
        "",
        "repeat(name, 9) = ''",
    ],
)
def test_a_condition_that_cannot_be_is_refused(client: TestClient, where: str) -> None:
    said = refused(client.get("/api/search", params={"q": WORDS, "where": where}), 422)
    assert "where" in said
    assert "split = 'test'" in said


def test_there_is_no_raw_condition_over_http(client: TestClient) -> None:
    answer = client.get("/api/search", params={"q": WORDS, "raw_where": "split = 'none'"})
    assert refused(answer, 422).startswith("raw_where is no parameter of this address.")


@pytest.mark.parametrize(
    "path",
    [
        "/api/search?q=dog&thresold=0.5",
        "/api/images?thresold=9",
        f"/api/label/{'0' * 32}?labels=a,b&thresold=1",
        f"/api/similar/{'0' * 32}?thresold=1",
    ],
)
def test_a_misspelt_parameter_is_refused(client: TestClient, path: str) -> None:
    assert "thresold is no parameter" in refused(client.get(path), 422)


def test_a_misspelt_field_of_a_form_is_refused(client: TestClient, photo: bytes) -> None:
    for path, fields in (
        ("/api/search", {"thresold": "1"}),
        ("/api/label", {"labels": "a,b", "thresold": "1"}),
    ):
        answer = client.post(path, files={"image": photo}, data=fields)
        assert "thresold is no parameter" in refused(answer, 422)


def test_what_is_not_there_is_refused_in_a_sentence(client: TestClient) -> None:
    assert refused(client.get("/api/serch"), 404).startswith("Nothing is at this address.")
    answer = client.delete("/api/search")
    assert refused(answer, 405).startswith("This address is asked by another method.")
    assert answer.headers["allow"]


WORDS_OF_CONDITIONS = [
    *("name", "split", "width", "id", "(", ")", "=", "<", "AND", "OR", "NOT", "IN", "LIKE", "IS", "NULL"),
    *("'test'", "'%'", "1", "0", "/", "*", "+", ",", "CASE", "CAST"),
]
CONDITIONS = st.text(max_size=30) | st.lists(st.sampled_from(WORDS_OF_CONDITIONS), max_size=8).map(" ".join)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(where=CONDITIONS)
def test_any_condition_is_answered_or_refused(client: TestClient, where: str) -> None:
    assert client.get("/api/search", params={"q": WORDS, "where": where}).status_code in (200, 422)


def test_a_condition_may_quote_the_word_path(client: TestClient) -> None:
    assert asked(client, "/api/search", q=WORDS, where="name != 'a path''s source'")


def test_labels(client: TestClient, index: Index, encoder: Encoder, photo: bytes) -> None:
    names = ["red circle", "blue square", "green star"]
    picture = Image.open(io.BytesIO(photo))
    (likely,) = Labels(encoder, names).probabilities(encoder.encode_image(picture))
    found = client.post("/api/label", files={"image": photo}, data={"labels": ",\n".join(names)}).json()[
        "labels"
    ]
    assert [entry["label"] for entry in found] == [names[at] for at in np.argsort(-likely)]
    assert {e["label"]: e["probability"] for e in found} == pytest.approx(
        dict(zip(names, likely.tolist(), strict=True)), abs=1e-5
    )
    id = client.post("/api/search", files={"image": photo}).json()["results"][0]["id"]
    of_index = client.get(f"/api/label/{id}", params={"labels": ",".join(names)}).json()["labels"]
    assert [e["label"] for e in of_index] == [e["label"] for e in found]


@pytest.mark.parametrize(
    ("labels", "said"),
    [("dog", "labels"), ("dog,dog", "dog"), (",", "label"), (",".join(map(str, range(101))), "at most 100")],
)
def test_labels_that_cannot_be(client: TestClient, photo: bytes, labels: str, said: str) -> None:
    answer = client.post("/api/label", files={"image": photo}, data={"labels": labels})
    assert said in refused(answer, 422)


def test_some_images_before_anything_is_asked(client: TestClient, index: Index) -> None:
    some = client.get("/api/images", params={"k": 10}).json()["results"]
    assert len({image["id"] for image in some}) == 10
    assert {image["id"] for image in some} <= set(index.ids)
    assert some[0]["captions"] == list(index.get(some[0]["id"]).captions)
    assert len(client.get("/api/images", params={"k": 100}).json()["results"]) == 100
    assert "k" in refused(client.get("/api/images", params={"k": 0}), 422)


@pytest.mark.usefixtures("without_onnx")
def test_the_original_is_the_file_or_else_the_small_picture(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for color in ("red", "blue"):
        Image.new("RGB", (640, 320), color).save(folder / f"{color}.png")
    shutil.copy(folder / "red.png", folder / "again.png")
    index = build(run, [str(folder)], tmp_path / "my.index")
    assert len(index.spread()) == 2  # the same picture is shown once
    with client_of(index, index.encoder()) as client:
        ids = {image["name"]: image["id"] for image in client.get("/api/images").json()["results"]}
        answer = client.get(f"/api/images/{ids['blue.png']}/original")
        assert answer.headers["content-type"] == "image/png"
        assert answer.content == (folder / "blue.png").read_bytes()
        small = index.thumbnail(ids["blue.png"])
        for spoil in (partial(shutil.copy, folder / "red.png"), Path.unlink):  # another picture; none
            spoil(folder / "blue.png")
            answer = client.get(f"/api/images/{ids['blue.png']}/original")
            assert (answer.headers["content-type"], answer.content) == ("image/jpeg", small)
        assert refused(client.get(f"/api/images/{'0' * 32}/original"), 404)


def test_pictures_are_served_by_id_alone(client: TestClient, index: Index) -> None:
    id = asked(client, "/api/search", q=WORDS, k=1)[0]["id"]
    answer = client.get(f"/api/images/{id}")
    assert answer.headers["content-type"] == "image/jpeg"
    assert max(Image.open(io.BytesIO(answer.content)).size) <= 256
    assert answer.content == index.thumbnail(str(id))
    for other in ("0" * 32, "nosuch", "..%2f..%2fmeta.json", "%2fetc%2fpasswd", "x' OR '1'='1"):
        assert refused(client.get(f"/api/images/{other}"), 404)
    for path in (f"/api/similar/{'0' * 32}", f"/api/label/{'0' * 32}?labels=a,b"):
        assert (
            refused(client.get(path), 404)
            == "No image of the index has this id. Ids are what a search gives."
        )


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({}, "q must be given."),
        ({"q": "  \t"}, "q must hold at least one word."),
        ({"q": "x" * 10_000}, "q must have at most 1000 characters, got 10,002 characters."),
        ({"q": WORDS, "k": 0}, "k must be greater than or equal to 1, got '0'."),
        ({"q": WORDS, "k": 101}, "k must be less than or equal to 100, got '101'."),
        ({"q": WORDS, "k": "many"}, "k must be a valid integer"),
        ({"q": WORDS, "by": "words"}, "by must be 'image', 'caption' or 'both', got 'words'."),
        ({"q": WORDS, "threshold": 2}, "threshold must be less than or equal to 1, got '2'."),
        ({"q": WORDS, "minus": " "}, "minus must hold at least one word."),
        ({"q": WORDS, "in": "texts"}, "in must be 'images' or 'captions', got 'texts'."),
    ],
)
def test_parameters_that_cannot_be(client: TestClient, parameters: dict[str, object], said: str) -> None:
    assert refused(client.get("/api/search", params=parameters), 422).startswith(said)


def _png(width: int, height: int) -> bytes:
    """A PNG of that size by its header, with almost nothing in it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the file is empty"),
        (b"no picture" * 100, "not an image that can be read (JPEG, PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not an image that can be read (JPEG, PNG"),
        (_png(30_000, 30_000), "at most 200 megapixels"),
        (_png(9_000, 8_000), "decoding takes 288 MB, at most 256 are given to it. Send a smaller copy"),
        (_png(10, 10), "damaged"),
    ],
)
def test_uploads_that_are_no_picture(client: TestClient, data: bytes, said: str) -> None:
    for path, form in (("/api/search", {}), ("/api/label", {"labels": "a,b"})):
        answer = client.post(path, files={"image": ("x.jpg", data)}, data=form)
        assert said in refused(answer, 422)


@pytest.mark.parametrize("kind", ["PPM", "JPEG2000", "WEBP"])
def test_uploads_of_all_kinds_that_are_read(client: TestClient, kind: str) -> None:
    data = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(data, kind)
    assert client.post("/api/search", files={"image": data.getvalue()}).status_code == 200


def test_one_label_is_refused_in_words_that_fit_a_request(client: TestClient, photo: bytes) -> None:
    answer = client.post("/api/label", files={"image": photo}, data={"labels": "dog"})
    said = (
        "labels must be at least two, got 1 ('dog'). Give all that an image may show, such as dog,cat,street."
    )
    assert refused(answer, 422) == said


def test_a_truncated_picture(client: TestClient, photo: bytes) -> None:
    assert "damaged" in refused(client.post("/api/search", files={"image": photo[:-40]}), 422)


def test_a_form_without_a_query(client: TestClient) -> None:
    assert "got neither" in refused(client.post("/api/search", data={"k": 3}), 422)
    assert refused(client.post("/api/label", data={"labels": "a,b"}), 422) == "image must be given."


def test_uploads_are_counted(index: Index, encoder: Encoder) -> None:
    with client_of(index, encoder, max_upload=20_000) as client:
        sent = 0

        def endless() -> object:  # no Content-Length: counted as it comes
            nonlocal sent
            yield b'--b\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
            for _ in range(100):
                sent += 1
                yield b"x" * 1000

        kind = {"content-type": "multipart/form-data; boundary=b"}
        declared = client.post("/api/search", files={"image": b"x" * 20_000})
        streamed = client.post("/api/search", content=endless(), headers=kind)  # type: ignore[arg-type]
        for answer in (declared, streamed):
            assert refused(answer, 413).startswith("A request must have at most 0.02 MB.")
        small = io.BytesIO()
        Image.new("RGB", (20, 20)).save(small, "PNG")
        assert client.post("/api/search", files={"image": small.getvalue()}).status_code == 200


def test_a_large_picture_is_reduced_and_a_small_one_is_not() -> None:
    for size, kept in (
        ((3000, 4000), (1500, 2000)),
        ((2000, 2000), (2000, 2000)),
        ((5000, 6000), (1667, 2000)),
    ):
        file = io.BytesIO()
        Image.new("L", size).save(file, "PNG")
        file.seek(0)
        assert read_picture(file, (224, 224)).size == kept


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[::1", "a b"]
)
def test_foreign_hosts_are_refused(client: TestClient, host: str) -> None:
    assert "Host header" in refused(client.get("/healthz", headers={"host": host}), 400)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:81", "127.0.0.1:8000", "[::1]:8000", "192.168.1.2"])
def test_own_hosts_are_not(client: TestClient, host: str) -> None:
    assert client.get("/healthz", headers={"host": host}).json()["images"] == 200


def test_every_answer_has_the_headers(client: TestClient) -> None:
    for path in (
        "/",
        "/docs",
        "/openapi.json",
        "/assets/page.js",
        "/api/search?q=x",
        "/nosuch",
        "/api/images/1",
    ):
        headers = client.get(path, headers={"origin": "http://evil.example"}).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert not [name for name in headers if name.startswith("access-control")]


def test_no_page_names_another_host(client: TestClient) -> None:
    for path in ("/", "/docs", "/assets/page.js", "/assets/page.css", "/assets/theme.js"):
        text = client.get(path).text
        assert "//" not in text.replace("// ", "").replace("http://www.w3.org", ""), path
        assert "innerHTML" not in text


def test_the_docs_list_every_operation(client: TestClient) -> None:
    page, document = client.get("/docs").text, client.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert f"<code>{method.upper()} {path}</code>" in page
            assert operation["description"] in page


@pytest.mark.usefixtures("without_onnx")
def test_no_path_of_the_disk_is_told(run: Path, tmp_path: Path) -> None:
    """A table with absolute paths; every answer and every refusal is searched for them."""
    folder = tmp_path / "private"
    folder.mkdir()
    table = folder / "pairs.jsonl"
    with table.open("w") as file:
        for color in ("red", "blue"):
            Image.new("RGB", (32, 32), color).save(folder / f"{color}.png")
            file.write(json.dumps({"image": str(folder / f"{color}.png"), "captions": [color]}) + "\n")
    index = build(run, [str(table)], tmp_path / "my.index")
    with client_of(index, index.encoder()) as client:
        results = asked(client, "/api/search", q="red")
        assert sorted(str(r["name"]) for r in results) == ["blue.png", "red.png"]
        id = results[0]["id"]
        answers = [client.get(f"/api/similar/{id}"), client.get(f"/api/images/{id}"), client.get("/healthz")]
        answers += [client.get("/api/search", params={"q": "red", "where": w}) for w in ("path", "width >")]
        answers += [
            client.get("/openapi.json"),
            client.get("/docs"),
            client.get("/api/search?q=red&in=captions"),
        ]
        for answer in answers:
            assert str(tmp_path).encode() not in answer.content


@pytest.mark.usefixtures("without_onnx")
def test_an_index_without_captions(run: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (32, 32), "red").save(tmp_path / "photos" / "<script>alert(1)<script>.png")
    index = build(run, [str(tmp_path / "photos")], tmp_path / "my.index")
    with client_of(index, index.encoder()) as client:
        assert client.get("/healthz").json()["captions"] is False
        said = refused(client.get("/api/search?q=red&in=captions"), 422)
        assert said == "in must be images for this index, got captions: its images came without any."


def test_a_damaged_index_is_not_explained_to_clients(
    index: Index, encoder: Encoder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(index.path, tmp_path / "my.index")
    with client_of(Index.open(tmp_path / "my.index"), encoder) as client:
        id = asked(client, "/api/search", q=WORDS, k=1)[0]["id"]
        shutil.rmtree(tmp_path / "my.index" / "images.lance" / "data")
        said = refused(client.get(f"/api/images/{id}"), 500)
    assert said == "The index cannot be read. What is wrong stands where the server was started."
    assert "images.lance" in capsys.readouterr().err


def test_recalls_over_http_are_those_of_evaluate(client: TestClient, run: Path) -> None:
    """Both directions, each query a request, to the last digit."""
    measured = pairjepa.evaluate(run, "test")
    measured = measured["corrected"] or measured
    recalls = benchmark().recalls(client, Pairs.open(DATA).split("test"), "split = 'test'")
    for way in ("text_to_image", "image_to_text"):
        assert recalls[way] == {name: measured[way][name] for name in ("R@1", "R@5", "R@10")}
        assert 0 < recalls[way]["R@10"] < 100


def benchmark() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
        return importlib.import_module("serve_clients")


CROSS = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},  # another port of this machine
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"origin": "http://127.0.0.1:8000"},
    {"origin": "http://[::1"},
    {"origin": "http://127.0.0.1", "sec-fetch-site": "cross-site"},
]


@pytest.mark.parametrize("headers", CROSS)
def test_pages_of_other_sites_cannot_ask(client: TestClient, photo: bytes, headers: dict[str, str]) -> None:
    said = "The request must come from this server's own page. Open that in the browser."
    for path in ("/", "/healthz", "/api/search?q=x", "/openapi.json", f"/api/images/{'0' * 32}"):
        assert refused(client.get(path, headers=headers), 403) == said
    assert refused(client.post("/api/search", files={"image": photo}, headers=headers), 403) == said


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "same-origin", "origin": "http://127.0.0.1"},
        {"origin": "https://127.0.0.1"},  # behind a server with TLS
    ],
)
def test_our_own_page_and_programs_can(client: TestClient, photo: bytes, headers: dict[str, str]) -> None:
    assert client.get("/api/search?q=x", headers=headers).status_code == 200
    assert client.post("/api/search", files={"image": photo}, headers=headers).status_code == 200


def test_a_link_to_the_page_may_be_followed_and_none_to_an_answer(client: TestClient) -> None:
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert client.get("/?q=x", headers=link).status_code == 200
    assert client.get("/api/search?q=x", headers=link).status_code == 403
