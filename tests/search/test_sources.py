"""What is to be indexed, before anything of it is read."""

import io
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from pairjepa.apps.search.sources import open_source, relative_names
from pairjepa.config.settings import DataConfig
from pairjepa.pairs import Pairs


def shard(path: Path, colour: str) -> None:
    """Two images with a caption each."""
    with tarfile.open(path, "w") as tar:
        for number in range(2):
            file = io.BytesIO()
            Image.new("RGB", (9, 9), colour).save(file, "PNG")
            for name, data in ((f"{number}.png", file.getvalue()), (f"{number}.txt", b"a square")):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def test_an_image_in_a_shard_is_known_without_being_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAIRJEPA_CACHE", str(tmp_path / "cache"))
    (tmp_path / "shards").mkdir()
    shard(tmp_path / "shards" / "0.tar", "red")

    def stamps() -> list[str]:
        with monkeypatch.context() as patch:
            patch.setattr(Pairs, "read_bytes", lambda *_: pytest.fail("it was read"))
            entries = open_source(str(tmp_path / "shards"), DataConfig()).entries
            return [entry.stamp for entry in entries]

    first = stamps()
    assert len(set(first)) == 2
    assert stamps() == first
    shard(tmp_path / "shards" / "0.tar", "chartreuse")
    assert not set(stamps()) & set(first)


@pytest.mark.parametrize(
    ("names", "folder", "shown"),
    [
        (["a.jpg", "b/c.jpg"], "/data", ["a.jpg", "b/c.jpg"]),
        (["/data/b/c.jpg", "a.jpg"], "/data", ["b/c.jpg", "a.jpg"]),
        (["/home/me/x/1.jpg", "/home/me/y/1.jpg"], "/data", ["x/1.jpg", "y/1.jpg"]),
        (["../photos/1.jpg", "../photos/x/2.jpg"], "/data", ["1.jpg", "x/2.jpg"]),
        (["C:\\Users\\me\\1.jpg", "C:\\Users\\me\\x\\2.jpg"], "user/name", ["1.jpg", "x/2.jpg"]),
        (["/home/me/1.jpg", "/mnt/2.jpg", "\\\\host\\share\\3.jpg"], "/data", ["1.jpg", "2.jpg", "3.jpg"]),
        (["file:///home/me/1.jpg"], "user/name", ["1.jpg"]),
    ],
)
def test_no_name_is_an_absolute_path(names: list[str], folder: str, shown: list[str]) -> None:
    assert relative_names(names, folder) == shown


def test_names_that_become_the_same_are_told_apart() -> None:
    shown = relative_names(["1.jpg", "/home/me/1.jpg", "/mnt/1.jpg"], "/data")
    assert shown[0] == "1.jpg"
    assert len(set(shown)) == 3
    assert not any("home" in name or "mnt" in name for name in shown)


def test_a_column_of_absolute_paths_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "1.png")
    (tmp_path / "pairs.csv").write_text(
        f"image,caption,where,forum,disk\n1.png,a square,{tmp_path}/1.png,/s,C:\\x\n", "utf-8"
    )
    assert open_source(str(tmp_path), DataConfig()).columns.names == ["forum"]
    assert "The column 'where' holds absolute paths, and is left out" in capsys.readouterr().err
