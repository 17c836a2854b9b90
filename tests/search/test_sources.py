"""What is to be indexed, before anything of it is read."""

import io
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from pairjepa.apps.search.sources import open_source
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
