"""An index by its URL: the same as in a folder, with what object storage has in place of files and locks."""

import json
from pathlib import Path

import numpy as np
import pytest

from pairjepa.apps.search import Index
from pairjepa.apps.search.build import build
from pairjepa.apps.search.place import Place
from pairjepa.cli import main
from pairjepa.pairs.shards import places
from pairjepa.util.errors import PairJEPAError, UsageError
from pairjepa.util.files import cache_folder, digest

from . import photos

ANY = np.eye(16, dtype=np.float32)[0]


def test_an_index_by_its_url(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, url = tmp_path / "photos", f"file://{tmp_path}/out"
    photos.write(folder, range(4))
    (folder / "00.txt").write_text("a red circle\n")
    assert main(["index", str(run), str(folder), "--out", url]) == 0
    said = capsys.readouterr().err
    assert f"wrote {url}" in said
    assert f"search {url}" in said
    assert not (tmp_path / "out" / ".lock").exists()

    local, far = Index.open(tmp_path / "out"), Index.open(url)
    assert far.search(ANY, 9) == local.search(ANY, 9)
    assert (far.path, local.path) == (url, tmp_path / "out")
    words = ["a red circle"]
    np.testing.assert_array_equal(far.encoder().encode_text(words), local.encoder().encode_text(words))
    assert main(["search", url, "a red circle", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["results"]) == 4

    photos.write(folder, [4])
    build(run, [folder], url)
    assert "1 new or changed, 4 as they were" in capsys.readouterr().err
    later = far.refreshed()
    assert (len(far), len(later)) == (4, 5)
    assert later.refreshed() is later
    assert len(later.search(ANY, 9, of="captions")) == 1


def test_captions_that_came_before_their_image_are_written_once(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_onnx: None
) -> None:
    from pairjepa.apps.search.tables import Tables

    folder, url = tmp_path / "photos", f"file://{tmp_path}/out"
    photos.write(folder, [0])
    (folder / "00.txt").write_text("a red circle\n")

    def killed(self: Tables, name: str, *rest: object) -> None:
        if name == "images.lance":
            raise KeyboardInterrupt
        append(self, name, *rest)

    append = Tables._append
    with monkeypatch.context() as patch:
        patch.setattr(Tables, "_append", killed)
        with pytest.raises(KeyboardInterrupt):
            build(run, [folder], url)
    assert len(Index.open(url).search(ANY, 9, of="captions")) == 1
    index = build(run, [folder], url)
    assert len(index.search(ANY, 9, of="captions")) == len(index) == 1


def test_what_is_no_index_at_a_url(run: Path, tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "file").write_text("x")
    with pytest.raises(PairJEPAError, match=r"some is no index \(no meta.json; it holds file\)"):
        Index.open(f"file://{tmp_path}/some")
    with pytest.raises(PairJEPAError, match=r"nix is no index \(no meta.json; it is not there\)"):
        Index.open(f"file://{tmp_path}/nix")
    with pytest.raises(PairJEPAError, match="must be a new or empty folder or an index"):
        build(run, ["shapes:5"], f"file://{tmp_path}/some")
    with pytest.raises(UsageError, match=r"A URL must be of a scheme .*Did you mean 's3'"):
        Index.open("s3x://bucket/my.index")


def test_storage_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    monkeypatch.setattr(places, "WAITS", ())
    broken = fsspec.filesystem("memory")
    monkeypatch.setattr(
        type(broken), "exists", lambda *_: (_ for _ in ()).throw(ConnectionError("no route to host"))
    )
    with pytest.raises(PairJEPAError, match=r"memory://bucket/my\.index must be within reach.*no route"):
        Index.open("memory://bucket/my.index")


def _model(path: Path) -> None:
    path.mkdir()
    for name in "abc":
        (path / name).write_text("1")


def test_a_part_of_a_folder_behind_a_url_is_not_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    memory = type(fsspec.filesystem("memory"))
    place, put, sent = Place("memory://bucket/parts"), memory.put_file, []

    def killed(self: object, source: str, target: str, **options: object) -> None:
        if len(sent) == 1:
            raise KeyboardInterrupt
        sent.append(target)
        put(self, source, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(memory, "put_file", killed)
        with pytest.raises(KeyboardInterrupt):
            place.keep("model", _model, last="a")
    assert len(sent) == 1
    assert "model" in (place.names() or [])
    assert not place.holds("model/a")
    place.keep("model", _model, last="a")
    assert place.holds("model/a")


def test_files_of_object_storage() -> None:
    place = Place("memory://bucket/place-of-files/")
    assert str(place) == "memory://bucket/place-of-files"
    assert place.names() is None
    assert not place.exists()
    assert place.read("meta.json") is None
    place.write("meta.json", b"{}")
    place.keep("model", _model, last="a")
    assert place.names() == ["meta.json", "model"]
    assert place.read("meta.json") == b"{}"
    here = place.here("model", "digest-of-test-files")
    assert (here / "a").read_text() == "1"
    place.write("model/a", b"2")
    assert place.here("model", "digest-of-test-files") == here, "it is fetched once"
    assert (here / "a").read_text() == "1"


@pytest.mark.parametrize(
    "digest", ["../../../elsewhere", "/tmp/elsewhere", "", "0" * 31, "A" * 32, 7, None, ["0"]]
)
def test_a_digest_that_is_none_names_no_folder(tmp_path: Path, digest: object) -> None:
    record = {"format": 2, "run": "r", "digest": digest, "dim": 16, "model": "onnx", "pairjepa": "1"}
    place = Place("memory://bucket/stranger.index")
    place.write("meta.json", json.dumps(record | {"complete": True, "approximate": {}}).encode())
    place.write("model/pairjepa_onnx.json", b"{}")
    with pytest.raises(PairJEPAError, match=r"stranger\.index/meta\.json must hold"):
        Index.open("memory://bucket/stranger.index")


@pytest.mark.parametrize("name", ["..\\..\\elsewhere", "..", ".hidden", "C:elsewhere"])
def test_an_object_whose_name_leads_elsewhere_is_not_fetched(name: str) -> None:
    import fsspec

    place = Place("memory://bucket/named-by-a-stranger.index")
    place.write("model/image.onnx", b"1")
    files = fsspec.filesystem("memory")
    file = files.store["/bucket/named-by-a-stranger.index/model/image.onnx"]
    files.store[f"/bucket/named-by-a-stranger.index/model/{name}"] = file
    with pytest.raises(PairJEPAError, match="must hold files with plain names, got"):
        place.here("model", digest(name))
    assert not (cache_folder() / "models" / digest(name)).exists()
    del files.store[f"/bucket/named-by-a-stranger.index/model/{name}"]
    assert (place.here("model", digest(name)) / "image.onnx").read_bytes() == b"1"
