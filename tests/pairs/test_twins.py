"""What counts as a near copy, and splits that keep near copies together."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pairjepa.apps.inspect import inspect
from pairjepa.config.settings import DataConfig
from pairjepa.pairs import Pairs
from pairjepa.pairs.data import read_data
from pairjepa.pairs.scan import scan
from pairjepa.pairs.twins import twin_groups, twin_images
from pairjepa.util.errors import PairJEPAError, UsageError
from pairjepa.util.files import cache_folder


def noise(seed: int) -> Image.Image:
    """A picture that is near to no other."""
    small = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((96, 96), Image.Resampling.BICUBIC)


def test_twins_are_copies_and_near_copies(tmp_path: Path) -> None:
    for seed in range(6):
        noise(seed).save(tmp_path / f"{seed}.png")
    (tmp_path / "copy.png").write_bytes((tmp_path / "2.png").read_bytes())
    noise(4).resize((60, 60)).save(tmp_path / "small.jpg", quality=80)
    (tmp_path / "small2.jpg").write_bytes((tmp_path / "small.jpg").read_bytes())
    for path in list(tmp_path.iterdir()):
        path.with_suffix(".txt").write_text(f"caption of {path.stem}\n")
    pairs = Pairs.open(tmp_path)
    row = pairs.names.index
    twins = twin_images(pairs, scan(pairs, cache_folder()), cache_folder())
    expected = [("2.png", "copy.png"), ("4.png", "small.jpg"), ("small.jpg", "small2.jpg")]
    assert {frozenset(pair) for pair in twins.tolist()} == {frozenset(map(row, pair)) for pair in expected}
    groups = twin_groups(twins, pairs.n_images)
    assert groups[row("4.png")] == groups[row("small.jpg")] == groups[row("small2.jpg")]
    assert groups[row("2.png")] == groups[row("copy.png")]
    assert len(set(groups)) == 6


def test_no_twins() -> None:
    assert twin_groups(np.empty((0, 2), np.int64), 3).tolist() == [0, 1, 2]


def splits(pairs: Pairs) -> dict[str, str]:
    return dict(zip(pairs.names, pairs.table["split"].to_pylist(), strict=True))


def leaked(record: dict) -> int:
    return sum(count["same_bytes"] + count["near"] for count in record["leaks"]["counts"])


def copies(folder: Path, header: str = "image,caption", cells: str = "") -> Path:
    """Forty pictures, of which the first ten stand there three times: as they are, as a copy and smaller."""
    rows = []
    for seed in range(40):
        noise(seed).save(folder / f"{seed}.png")
        names = [f"{seed}.png"]
        if seed < 10:
            (folder / f"{seed}-copy.png").write_bytes((folder / f"{seed}.png").read_bytes())
            noise(seed).resize((60, 60)).save(folder / f"{seed}-small.jpg", quality=85)
            names += [f"{seed}-copy.png", f"{seed}-small.jpg"]
        rows += [f"{name},picture {seed}{cells.format(seed=seed, name=name)}" for name in names]
    (folder / "pairs.csv").write_text("\n".join([header, *rows]))
    return folder / "pairs.csv"


def test_a_hash_puts_near_copies_into_one_split(tmp_path: Path) -> None:
    pairs = Pairs.open(copies(tmp_path))
    torn = [seed for seed in range(10) if len({s for n, s in splits(pairs).items() if n[0] == str(seed)}) > 1]
    assert torn, "else this tests nothing"
    data = read_data(pairs, 0.05)
    now = splits(data.pairs)
    for seed in range(10):
        assert now[f"{seed}.png"] == now[f"{seed}-copy.png"] == now[f"{seed}-small.jpg"]
    assert {name: now[name] for name in (f"{n}.png" for n in range(40))} == {
        f"{n}.png": splits(pairs)[f"{n}.png"] for n in range(40)
    }, "the first of a group stays where it is, and so does who has no copy"
    assert leaked(data.record) == 0
    assert read_data(Pairs.open(tmp_path / "pairs.csv"), 0.05).record == data.record


def test_inspect_counts_what_a_training_takes(tmp_path: Path) -> None:
    """Without unreadable images, and with near copies together, the first of which may be unreadable."""
    table = copies(tmp_path, "image,caption,scene", ",{seed}")
    for seed in range(0, 10, 2):
        (tmp_path / f"{seed}.png").write_bytes(b"no picture")
    pairs = Pairs.open(table, group_column="scene")
    report = inspect(DataConfig(source=str(table), group_column="scene"))
    assert report["unreadable_images"]["count"] == 5
    record = read_data(pairs, 1.0).record
    assert {name: report[name] for name in ("images", "captions", "splits")} == {
        name: record[name] for name in ("images", "captions", "splits")
    }
    assert report["images"] == sum(split["images"] for split in report["splits"].values()) == 55
    for path in tmp_path.glob("*.*g"):
        path.write_bytes(b"no picture")
    with pytest.raises(
        PairJEPAError, match=r"must hold an image that can be read, got none, such as 0\.png \("
    ):
        inspect(DataConfig(source=str(table)))


def test_given_splits_stay_and_drop_leaks_leaves_out_what_a_later_split_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"": "train", "-copy": "dev", "-small": "test"}
    table = copies(tmp_path, "image,caption,split", ",{name}")
    text = table.read_text()
    for ending, split in names.items():
        for suffix in (".png", ".jpg"):
            for seed in range(40):
                text = text.replace(f",{seed}{ending}{suffix}\n", f",{split}\n")
    table.write_text(text.removesuffix(",39.png") + ",train")
    data = read_data(Pairs.open(table), 0.05)
    assert splits(data.pairs) == splits(Pairs.open(table))
    assert leaked(data.record) == 10 + 10 + 10
    dropped = read_data(Pairs.open(table, drop_leaks=True), 0.05)
    assert dropped.record["splits"]["train"]["images"] == 30
    assert "dev" not in dropped.record["splits"]
    assert dropped.record["splits"]["test"]["images"] == 10
    assert leaked(dropped.record) == 0
    assert "near copies: 20 images" in capsys.readouterr().err
    inspect(DataConfig(source=str(table)), leaks=tmp_path / "leaks.csv")
    rows = list(csv.reader((tmp_path / "leaks.csv").open()))
    assert rows[0] == ["group", "split", "image"]
    assert len(rows) == 31
    assert [row for row in rows if row[0] == "1"] == [
        ["1", "train", "0.png"], ["1", "dev", "0-copy.png"], ["1", "test", "0-small.jpg"],
    ]  # fmt: skip


def test_a_group_column_keeps_its_images_in_one_split(tmp_path: Path) -> None:
    table = copies(tmp_path, "image,caption,scene", ",scene {seed}")
    text = table.read_text()
    table.write_text(
        "\n".join(f"{line[:-1]}" if " 3" in line.split(",")[-1] else line for line in text.split("\n"))
    )
    pairs = Pairs.open(table, group_column="scene")
    assert "split by a hash of the column scene" in pairs.description
    now = splits(read_data(pairs, 0.05).pairs)
    by_scene: dict[str, set[str]] = {}
    for name, scene in zip(pairs.names, pairs.table["scene"].to_pylist(), strict=True):
        by_scene.setdefault(scene, set()).add(now[name])
    assert len(by_scene) > 10
    assert all(len(found) == 1 for found in by_scene.values())
    with pytest.raises(
        UsageError, match=r"data\.group_column must be a column of the pairs, got 'scen'.*: scene"
    ):
        Pairs.open(table, group_column="scen")
    (tmp_path / "given.csv").write_text(
        "image,caption,split,scene\n1.png,a,train,1\n2.png,b,dev,2\n3.png,c,test,3"
    )
    with pytest.raises(UsageError, match=r"data\.group_column must be left out where all splits are given"):
        Pairs.open(tmp_path / "given.csv", group_column="scene")


def test_where_nearly_all_are_alike_the_splits_stay(tmp_path: Path) -> None:
    for seed in range(60):
        noise(0).resize((90 + seed, 90 + seed)).save(tmp_path / f"{seed}.png")
        (tmp_path / f"{seed}.txt").write_text(f"caption {seed}")
    data = read_data(Pairs.open(tmp_path), 0.05)
    assert splits(data.pairs) == splits(Pairs.open(tmp_path))
    assert leaked(data.record) > 0
