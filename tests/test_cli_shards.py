"""`pairjepa shards`: from the command line to shards and back, and what it says on the way."""

import json
from pathlib import Path

import pytest

from pairjepa.cli import main
from pairjepa.pairs import Pairs


def run(*arguments: str) -> None:
    assert main(["shards", *arguments]) == 0


def test_shards_of_drawn_pairs_are_the_same_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    run("shapes:40", "--out", out, "--images-per-shard", "10")
    said = capsys.readouterr()
    assert "shards written: 40 images" in said.out
    assert f"wrote {out}" in said.err
    assert said.err.rstrip().endswith(f"next: pairjepa inspect {out}")
    there, here = Pairs.open("shapes:40"), Pairs.open(out)
    assert here.splits == there.splits
    place = {f"{name}.bmp": row for row, name in enumerate(there.names)}  # a key has a suffix
    assert sorted(here.names) == sorted(place)
    for row, name in enumerate(here.names):
        assert here.read_bytes(row) == there.read_bytes(place[name])
        assert here.table["captions"][row] == there.table["captions"][place[name]]

    run("shapes:40", "--out", out, "--images-per-shard", "10")
    assert "0 shards written: 0 images" in capsys.readouterr().out
    run("shapes:40", "--out", out, "--images-per-shard", "10", "--json")
    result = json.loads(capsys.readouterr().out)
    assert result["kept"] == len(list(Path(out).glob("*.tar")))
    assert result["images"] == result["shards"] == 0


def test_a_choice_of_the_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("shapes:60", "--out", str(tmp_path), "--data.pairs", "40", "--json")
    chosen = Pairs.open("shapes:60", pairs=40)
    assert json.loads(capsys.readouterr().out)["images"] == chosen.n_images < 60
    assert sorted(Pairs.open(tmp_path).names) == sorted(f"{name}.bmp" for name in chosen.names)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["nowhere", "--out", "out"], 1, "'nowhere' must be pairs that are there"),
        (
            ["shapes:40", "--out", "out", "--images-per-shard", "-1"],
            2,
            "--images-per-shard must be at least 1, got -1",
        ),
        (["shapes:40", "--out", "nope://x"], 2, "A URL must be of a scheme that fsspec knows, got nope://x"),
        (["shapes:40", "--out", "out", "--data.pairs", "0"], 2, "data.pairs must be at least 2, got 0"),
    ],
)
def test_mistakes(
    arguments: list[str],
    status: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["shards", *arguments]) == status
    said = capsys.readouterr()
    assert f"error: {words}" in said.err
    assert not said.out
    assert not list(tmp_path.iterdir())


def test_other_pairs_are_not_mixed_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("shapes:40", "--out", str(tmp_path))
    assert main(["shards", "shapes:40", "--out", str(tmp_path), "--data.seed", "1"]) == 1
    assert "which holds others. Name another folder." in capsys.readouterr().err
