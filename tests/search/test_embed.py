"""Vectors in a file: those of `encode_image`, in the order of the images, with what could not be read left out."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import pairjepa
from pairjepa.apps.embed import embed
from pairjepa.apps.search import Index
from pairjepa.cli import main
from pairjepa.util.errors import PairJEPAError, UsageError

from . import photos


def test_vectors_in_a_file(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "photos"
    photos.write(folder, range(5))
    (folder / "broken.jpg").write_bytes(b"no picture")
    out = tmp_path / "made" / "vectors.parquet"
    assert main(["embed", str(run), str(folder), "--out", str(out)]) == 0
    said = capsys.readouterr().err
    assert "1 of 6 images cannot be read" in said
    assert said.endswith(f"wrote {out}\n")
    table = pq.read_table(out)
    names, paths = table["name"].to_pylist(), table["path"].to_pylist()
    assert "broken.jpg" not in names
    vectors = np.stack(table["vector"].to_numpy())
    embedder = pairjepa.Embedder.load(run)
    assert table.schema.metadata[b"weights"].decode() == embedder.weights
    np.testing.assert_allclose(vectors, embedder.encode_image(paths), atol=1e-5)

    plain, about = embed(run, [folder], tmp_path / "vectors.npy")
    np.testing.assert_array_equal(np.load(plain), vectors)
    assert json.loads(about.read_text())["names"] == names


def test_features_in_the_cache_are_not_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: Index
) -> None:
    frozen = {"data.source": "shapes:80", "training.epochs": 1, "model.dim": 16, "model.image_lr_scale": None}
    pairjepa.train(pairjepa.recipe("tiny", frozen), None, tmp_path / "run")

    def never(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr("pairjepa.apps.search.embedding.compute_shard", never)
    (written,) = embed(tmp_path / "run", ["shapes:80"], tmp_path / "vectors.parquet")
    assert pq.read_table(written).num_rows == 80


def test_the_matrix_of_an_index_is_in_the_order_of_its_ids(index: Index) -> None:
    ids, matrix = index.ids, index.matrix()
    assert matrix.shape == (len(index), index.dim)
    for row in (0, 7, 79):
        np.testing.assert_array_equal(matrix[row], index.vector(ids[row]))


def test_what_cannot_be_embedded(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--out must end in .parquet or .npy, got 'vectors.csv'"):
        embed(run, ["shapes:3"], "vectors.csv")
    with pytest.raises(UsageError, match="IMAGES must name at least one"):
        embed(run, [], tmp_path / "vectors.npy")
    with pytest.raises(UsageError, match=r"got 'ray'\. `pairjepa index` takes it"):
        embed(run, ["shapes:3"], tmp_path / "vectors.npy", engine="ray")
    (tmp_path / "pairs.json").write_text('{"images": []}')
    with pytest.raises(
        PairJEPAError, match=r"pairs.json must hold weights, got none. The names of pairs.npy would"
    ):
        embed(run, ["shapes:3"], tmp_path / "pairs.npy")
    assert (tmp_path / "pairs.json").read_text() == '{"images": []}'
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(PairJEPAError, match="At least one image must be readable, got none"):
        embed(run, [tmp_path / "broken.jpg"], tmp_path / "vectors.npy")


@pytest.mark.parametrize(
    "command",
    [
        ["embed", "RUN", "IMAGES", "--out", "{}.npy"],
        ["label", "RUN", "IMAGES", "--labels", "a,b", "--out", "{}.csv"],
        ["report", "RUN", "--out", "{}.html"],
    ],
    ids=lambda command: command[0],
)
def test_that_nothing_can_be_written_is_said_before_the_work(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    *given, out = command
    assert main([*given, out.format(tmp_path / "file" / "made")]) == 1  # though there is no RUN
    assert f"{out.format(tmp_path / 'file' / 'made')} cannot be written: " in capsys.readouterr().err
    folder = Path(out.format(tmp_path / "folder"))
    folder.mkdir()
    assert main([*given, str(folder)]) == 1
    assert f"The output must be a file, got the folder {folder}." in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["embed", "RUN", "{}", "--out", "{}"],
        ["label", "RUN", "{}", "--labels", "a,b", "--out", "{}"],
        ["inspect", "{}", "--leaks", "{}"],
    ],
    ids=lambda command: command[0],
)
def test_the_pairs_are_not_written_over(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = tmp_path / ("pairs.parquet" if command[0] == "embed" else "pairs.csv")
    if command[0] == "inspect":
        Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    pairs.write_text("image,caption\na.png,a dog\n")
    assert main([part.format(pairs) for part in command]) == 1
    assert f"The output must be another file than the pairs, got {pairs}." in capsys.readouterr().err
    assert pairs.read_text() == "image,caption\na.png,a dog\n"
