"""What an index holds after each kind of change, and that nothing is embedded twice."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

import pairjepa
from pairjepa.apps.search import Hit, Index
from pairjepa.apps.search import build as build_module
from pairjepa.apps.search.build import build
from pairjepa.apps.search.embedding import Embedding
from pairjepa.apps.search.meta import CAPTIONS, IMAGES
from pairjepa.apps.search.vectors import lance_module
from pairjepa.config.settings import DataConfig
from pairjepa.model.weights import write_tensors
from pairjepa.util.errors import PairJEPAError, UsageError
from pairjepa.util.lock import exclusive

from . import photos

ANY = np.eye(16, dtype=np.float32)[0]

pytestmark = pytest.mark.usefixtures("without_onnx")


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each call of the encoder was given."""
    counts: list[int] = []
    embed = Embedding.images

    def counting(self: Embedding, images: list) -> np.ndarray:
        counts.append(len(images))
        return embed(self, images)

    monkeypatch.setattr(Embedding, "images", counting)
    return counts


def everything(index: Index) -> dict[str, Hit]:
    return {hit.name: hit for hit in index.search(ANY, 1000, words=False)}


def test_only_what_is_new_or_changed_is_embedded(run: Path, tmp_path: Path, embedded: list[int]) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    photos.write(folder, range(20))
    build(run, [folder], out)
    assert sum(embedded) == 20

    embedded.clear()
    before = everything(build(run, [folder], out))
    assert embedded == []

    photos.write(folder / "deeper", [30, 31])  # new
    (folder / "00.png").write_bytes(photos.data(40))  # changed
    os.utime(folder / "01.png", ns=(1, 1))  # touched
    (folder / "02.png").rename(folder / "moved.png")
    (folder / "03.png").unlink()
    shutil.copy(folder / "04.png", folder / "again.png")
    after = everything(build(run, [folder], out))
    assert sum(embedded) == 3
    assert after.keys() == before.keys() - {"02.png", "03.png"} | {
        "deeper/30.png",
        "deeper/31.png",
        "moved.png",
    }, "again.png is the picture 04.png"
    assert after["moved.png"].score == before["02.png"].score
    assert after["00.png"].score != before["00.png"].score
    assert after["05.png"] == before["05.png"]
    fresh = everything(build(run, [folder], tmp_path / "fresh"))
    assert {name: hit.score for name, hit in fresh.items()} == pytest.approx(
        {name: hit.score for name, hit in after.items()}, abs=1e-6
    )
    assert {hit.id: hit.name for hit in fresh.values()} == {hit.id: hit.name for hit in after.values()}


def test_content_that_changes_its_place(run: Path, tmp_path: Path) -> None:
    """The bytes of one file go to another while it gets new ones itself, in more commits than one."""
    folder, out = tmp_path / "photos", tmp_path / "out"
    photos.write(folder, range(6))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_module, "COMMIT", 1)
        patch.setattr("pairjepa.apps.search.loading.BATCH", 2)
        before = everything(build(run, [folder], out))
        (folder / "05.png").write_bytes(photos.data(0))
        (folder / "00.png").write_bytes(photos.data(50))
        after = everything(build(run, [folder], out))
    assert after["05.png"].score == before["00.png"].score
    fresh = everything(build(run, [folder], tmp_path / "fresh"))
    assert after["00.png"].score == pytest.approx(fresh["00.png"].score, abs=1e-6)


def test_captions_and_columns_follow_the_table(run: Path, tmp_path: Path, embedded: list[int]) -> None:
    photos.write(tmp_path, range(4))
    table, out = tmp_path / "pairs.csv", tmp_path / "out"
    table.write_text(
        "image,caption,place,id\n00.png,a square,here,7\n00.png,a circle,here,7\n01.png,a star,there,8\n"
    )
    index = build(run, [table], out)
    hit = everything(index)["00.png"]
    assert hit.captions == ("a square", "a circle")
    assert [h.name for h in index.search(ANY, where="place = 'there' AND id_ = '8'")] == ["01.png"]
    item = index.get(hit.id)
    assert item is not None
    assert item.metadata == {"place": "here", "id_": "7"}
    assert len(index.search(ANY, 9, of="captions")) == 3

    embedded.clear()
    table.write_text("image,caption,place,id,more\n00.png,a ring,here,7,x\n")
    index = build(run, [table], out)
    assert embedded == []  # the picture is the same
    assert {h.captions for h in index.search(ANY, 9, of="captions")} == {("a ring",)}
    assert [h.name for h in index.search(ANY, where="more = 'x'")] == ["00.png"]

    # the folder itself: its table gives captions to one, the other three have none
    index = build(run, [tmp_path], out)
    assert {
        name: len(hit.captions) for name, hit in everything(build(run, [tmp_path], tmp_path / "all")).items()
    } == {
        "00.png": 1,
        "01.png": 0,
        "02.png": 0,
        "03.png": 0,
    }
    assert len(index) == 4  # the table's one is the same picture


def test_sources_are_kept_apart(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, out = tmp_path / "first", tmp_path / "second", tmp_path / "out"
    photos.write(first, [0, 1])
    [single] = photos.write(second, [2])
    assert len(build(run, [first, single], out)) == 3
    (first / "00.png").unlink()
    assert len(build(run, [single], out)) == 3, "first was not given"
    shutil.rmtree(first)
    capsys.readouterr()
    build(run, [single], out)
    assert (
        f"warning: {first} is not there any more, and its images are still in the index. To take them out, add "
        f"--remove {first}." in capsys.readouterr().err
    )


def test_an_index_is_a_set_of_pictures(
    run: Path, tmp_path: Path, embedded: list[int], without_onnx: None, capsys: pytest.CaptureFixture[str]
) -> None:
    photos.write(tmp_path / "bare", range(4))
    photos.write(tmp_path / "told", range(2, 6))
    table = tmp_path / "told" / "pairs.csv"
    table.write_text("image,caption\n02.png,two\n03.png,three\n04.png,four\n05.png,five\n05.png,five\n")
    index = build(run, [tmp_path / "bare"], tmp_path / "i")
    index = build(run, [table], tmp_path / "i")
    assert "6 images under 8 names" in capsys.readouterr().err
    assert sum(embedded) == 6
    assert len(index) == 6
    assert index.matrix().shape == (6, index.dim)
    assert len(set(index.ids)) == 6
    hits = index.search(index.matrix()[0], 100)
    assert len(hits) == 6
    captions = {hit.name: hit.captions for hit in hits}
    words = [(), (), ("two",), ("three",), ("four",), ("five", "five")]
    assert captions == {f"0{row}.png": said for row, said in enumerate(words)}
    assert len(index.search(index.matrix()[0], 100, of="captions")) == 4
    two = next(hit.id for hit in hits if hit.name == "02.png")
    assert {hit.name for hit in index.search(index.matrix()[0], 100, exclude=two)} == set(captions) - {
        "02.png"
    }

    index = build(run, [], tmp_path / "i", remove=[str(table)])
    assert [len(index), index.has_captions] == [4, False]
    index = build(run, [table], tmp_path / "i", only=True)
    assert len(index) == 4
    assert sum(embedded) == 6 + 2, "pictures that had left"
    with pytest.raises(
        UsageError, match=r"--remove must name a source of the index, got 'nosuch'\. There are: /"
    ):
        build(run, [], tmp_path / "i", remove=["nosuch"])


def test_images_without_captions(run: Path, tmp_path: Path) -> None:
    photos.write(tmp_path / "photos", range(3))
    (tmp_path / "photos" / "notes.csv").write_text("what,when\nholiday,2011\n")  # no table of pairs
    index = build(run, [tmp_path / "photos"], tmp_path / "out")
    assert {hit.captions for hit in index.search(ANY)} == {()}
    with pytest.raises(PairJEPAError, match="its images came without any"):
        index.search(ANY, of="captions")


def test_what_cannot_be_read_is_left_out_and_said(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    photos.write(folder, range(3))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (folder / "empty.png").write_bytes(b"")
    (folder / os.fsdecode(b"\xff.png")).write_bytes(photos.data(5))
    assert len(build(run, [folder], out)) == 3
    said = capsys.readouterr().err
    assert "left out, since names must be UTF-8: 1 image, such as '\\udcff.png'" in said
    assert "2 of 5 images cannot be read, left out:\n  broken.jpg: " in said
    assert "empty.png: the file is empty" in said
    (folder / "00.png").write_bytes(b"no picture any more")
    assert everything(build(run, [folder], out)).keys() == {"01.png", "02.png"}
    photos.write(folder, [0])
    assert len(build(run, [folder], out)) == 3
    for path in folder.glob("0*.png"):
        path.unlink()
    with pytest.raises(
        PairJEPAError, match=r"At least one image must be readable, got none of 2.*\n  broken"
    ):
        build(run, [folder], tmp_path / "none")


def test_what_cannot_be_indexed(run: Path, other_run: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    photos.write(folder, [0])
    (tmp_path / "nothing").mkdir()
    with pytest.raises(PairJEPAError, match="nothing must hold images, got none"):
        build(run, [tmp_path / "nothing"], out)
    with pytest.raises(PairJEPAError, match=r"must be pairs that are there, but .*nix"):
        build(run, [tmp_path / "nix"], out)
    with pytest.raises(PairJEPAError, match="must hold pairs, but nothing in it is known"):
        build(run, [folder], out, data=DataConfig(caption_column=("words",)))
    with pytest.raises(PairJEPAError, match="is no run folder"):
        build(folder, [folder], out)
    with pytest.raises(PairJEPAError, match=r"--out must be a new or empty folder or an index, got .*photos"):
        build(run, [folder], folder)
    with pytest.raises(UsageError, match="IMAGES must name at least one"):
        build(run, [], out)
    assert not out.exists()

    build(run, [folder], out)
    with pytest.raises(
        PairJEPAError, match=r"out was made with the run .*contrastive .* and .*masked is another"
    ):
        build(other_run, [folder], out)


def test_a_damaged_table_and_another_type(run: Path, tmp_path: Path) -> None:
    photos.write(tmp_path, range(2))
    for number, cell in enumerate(("1", '"one"')):
        (tmp_path / f"{number}.jsonl").write_text(
            f'{{"image": "0{number}.png", "caption": "a star", "size": {cell}}}\n'
        )
    first, second, out = tmp_path / "0.jsonl", tmp_path / "1.jsonl", tmp_path / "out"
    with pytest.raises(PairJEPAError, match="columns of the sources must be of the same types"):
        build(run, [first, second], out)
    shutil.rmtree(out)
    build(run, [first], out)
    with pytest.raises(PairJEPAError, match="column 'size' must be int64 as in the index, got string"):
        build(run, [second], out)
    for file in (out / "images.lance" / "_versions").iterdir():
        file.write_bytes(b"")
    with pytest.raises(PairJEPAError, match=r"images\.lance is damaged or not all there"):
        build(run, [first], out)


def test_a_run_that_moved(run: Path, tmp_path: Path) -> None:
    folder, out, place = tmp_path / "photos", tmp_path / "out", tmp_path / "run"
    photos.write(folder, [0])
    shutil.copytree(run, place)
    assert build(place, [folder], out).meta.model == "run"
    vector = Index.open(out).encoder().encode_text("a red circle")
    np.testing.assert_array_equal(vector, pairjepa.Embedder.load(run).encode_text("a red circle"))
    place.rename(tmp_path / "moved")
    with pytest.raises(
        PairJEPAError, match=r"run .*/run that .* is not there any more.*pairjepa index RUN IMAGES"
    ):
        Index.open(out).encoder()
    build(tmp_path / "moved", [folder], out)
    assert Index.open(out).encoder().dim == 16
    weights = tmp_path / "moved" / "model.safetensors"
    tensors = load_file(weights)
    tensors["objective.log_temperature"] += 0.1
    write_tensors(tensors, weights)
    with pytest.raises(PairJEPAError, match="has been trained again since"):
        Index.open(out).encoder()


BUILD = """
import sys
from pairjepa.apps.search import build, loading
build.COMMIT = loading.BATCH = 4
build._Build._keep_model = lambda self: None
build.build(*sys.argv[1:2], sys.argv[2:3], sys.argv[3])
"""


def test_killed_at_any_moment_it_goes_on(run: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    photos.write(folder, range(60))
    for row in range(60):
        (folder / f"{row:02}.txt").write_text(f"picture number {row}\nanother line\n")
    command = [sys.executable, "-c", BUILD, str(run), str(folder), str(out)]
    kept = 0
    for commits in (1, 6):
        _kill(command, lambda least=commits: len(list(out.glob("images.lance/data/*.lance"))) >= least)
        killed = Index.open(out)
        assert not killed.meta.complete
        assert len(killed) >= kept
        kept = len(killed)
    assert 0 < kept < 60
    index = build(run, [folder], out)
    fresh = build(run, [folder], tmp_path / "fresh")
    assert index.meta.complete
    scores = {hit.name: hit.score for hit in fresh.search(ANY, 99)}
    assert {hit.name: hit.score for hit in index.search(ANY, 99)} == pytest.approx(scores, abs=1e-6)
    captions = sorted(hit.captions[0] for hit in fresh.search(ANY, 200, of="captions"))
    assert sorted(hit.captions[0] for hit in index.search(ANY, 200, of="captions")) == captions
    assert len(captions) == 120


def test_killed_or_out_of_disk_as_it_makes_its_first_files(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    photos.write(folder, range(4))
    commit = lance_module().LanceDataset.commit
    for table in ("images.lance", "captions.lance"):

        def full(uri: str, *arguments: object, table: str = table, **options: object) -> object:
            if uri.endswith(table):
                Path(uri, "_versions").mkdir(parents=True)
                Path(uri, "_versions", "1.manifest").write_bytes(b"half")
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return commit(uri, *arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(lance_module().LanceDataset, "commit", full)
            with pytest.raises(PairJEPAError, match="cannot be written: No space left on device"):
                build(run, [folder], out)
    for left in (".meta.json.x1.tmp", ".images.lance.x2.tmp/images.lance/_versions", ".model.x3.tmp/model"):
        (out / left).mkdir(parents=True)  # as SIGKILL leaves them
    index = build(run, [folder], out)
    assert index.meta.complete
    assert len(index) == 4
    assert sorted(path.name for path in out.iterdir()) == [
        ".lock", "captions.lance", "checksums.json", "images.lance", "meta.json"
    ]  # fmt: skip


def test_what_a_killed_commit_leaves_is_removed(run: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    photos.write(folder, range(4))
    build(run, [folder], out)
    before = sorted(path for path in out.rglob("*"))
    for left in (
        "images.lance/data/0123.lance",
        "images.lance/data/.tmpAb12",
        "captions.lance/_indices/0123/.tmpAb12",
        "captions.lance/_indices/0123/page.lance",
    ):
        (out / left).parent.mkdir(exist_ok=True)
        (out / left).write_bytes(b"half")
    index = build(run, [folder], out)
    assert sorted(path for path in out.rglob("*") if path.name != "0123") == before
    assert len(index.search(ANY, 99)) == 4


def _kill(command: list[str], when: Callable[[], bool]) -> None:
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not when():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL


@pytest.fixture
def small_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_module, "COMMIT", 4)
    monkeypatch.setattr("pairjepa.apps.search.loading.BATCH", 4)


def _at_once(run: Path, folders: list[Path], out: str) -> None:
    with ThreadPoolExecutor(len(folders)) as pool:
        list(pool.map(lambda folder: build(run, [folder], out), folders))


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_two_writers_lose_nothing(
    run: Path, tmp_path: Path, scheme: str, small_commits: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a disk the second waits for the first; a URL has no lock, as on object storage, and both commit."""
    out = f"{scheme}{tmp_path / 'out'}"
    folders = [tmp_path / "first", tmp_path / "second"]
    for number, folder in enumerate(folders):
        photos.write(folder, range(40 * number, 40 * number + 40))
        for path in folder.iterdir():
            path.with_suffix(".txt").write_text(f"{path.stem} in {folder.name}\nanother line\n")
    _at_once(run, folders, out)
    assert ("out is being written by" in capsys.readouterr().err) is not bool(scheme)
    index = Index.open(out)
    assert index.meta.complete
    hits = index.search(ANY, 1000)
    assert sorted(hit.name for hit in hits) == [f"{row:02}.png" for row in range(80)]
    captions = sorted(hit.captions[0] for hit in index.search(ANY, 1000, of="captions"))
    assert len(captions) == 160
    assert captions == sorted(caption for hit in hits for caption in hit.captions)


def test_what_two_writers_put_in_at_the_same_moment_is_found_once(
    run: Path, tmp_path: Path, small_commits: None
) -> None:
    folder, out = tmp_path / "photos", f"file://{tmp_path / 'out'}"
    photos.write(folder, range(30))
    for path in list(folder.iterdir()):
        path.with_suffix(".txt").write_text(f"{path.stem}\nthe same words twice\nthe same words twice\n")
    _at_once(run, [folder, folder], out)
    fresh = build(run, [folder], tmp_path / "fresh")
    rows = []
    for index in (Index.open(out), build(run, [folder], out)):
        assert everything(index).keys() == everything(fresh).keys()
        assert len(index) == len(index.search(ANY, 999)) == 30
        found = [sorted(h.captions[0] for h in i.search(ANY, 999, of="captions")) for i in (index, fresh)]
        assert found[0] == found[1]
        rows.append([lance_module().dataset(f"{out}/{t}").count_rows() for t in (IMAGES, CAPTIONS)])
    assert rows[1] == [30, 90], f"of {rows[0]} that both have written"


def test_a_writer_waits_for_another(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    photos.write(tmp_path / "photos", [0])
    with exclusive(out, wait=True):
        command = [sys.executable, "-c", BUILD, str(run), str(tmp_path / "photos"), str(out)]
        writer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert writer.stderr is not None
        said = ""
        while f"out is being written by process {os.getpid()} on " not in said:
            line = writer.stderr.readline()
            assert line, said
            said += line
        assert not (out / "images.lance").exists()
    assert "1 image: 1 new or changed" in writer.communicate(timeout=60)[1]
    assert len(Index.open(out)) == 1
