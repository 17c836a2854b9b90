"""A run without PyTorch: the same vectors, the same errors."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import pairjepa
from pairjepa.apps.export.folder import check_equal
from pairjepa.apps.export.onnx import export_onnx
from pairjepa.embedder.embedder import Embedder
from pairjepa.embedder.onnx_embedder import SETTINGS, OnnxEmbedder
from pairjepa.model import tokens
from pairjepa.pairs.images import decode
from pairjepa.pairs.pictures import Picture
from pairjepa.util.checksums import unsigned
from pairjepa.util.errors import PairJEPAError, UsageError

from .conftest import CAPTIONS, FROZEN, SMALL


@pytest.fixture(scope="module")
def folder(masked_embedder: Embedder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "masked"
    export_onnx(masked_embedder, path)
    return path


def same(ours: Embedder, theirs: OnnxEmbedder, pictures: Sequence[Picture]) -> None:
    captions = CAPTIONS * 7
    for one, other in (
        (ours.encode_image(pictures), theirs.encode_image(pictures)),
        (ours.encode_image(pictures[0]), theirs.encode_image(pictures[0])),
        (ours.encode_text(captions), theirs.encode_text(captions)),
        (ours.encode_text("a circle"), theirs.encode_text("a circle")),
        (ours.predict(pictures, captions), theirs.predict(pictures, captions)),
    ):
        assert (other.shape, other.dtype) == (one.shape, np.float32)
        np.testing.assert_allclose(other, one, atol=1e-5)
    assert not np.allclose(ours.predict(pictures, captions), ours.predict(pictures), atol=1e-3)
    np.testing.assert_array_equal(theirs.predict(pictures), theirs.encode_image(pictures))


def test_the_same_vectors_as_the_run(
    masked_embedder: Embedder, folder: Path, pictures: Sequence[Picture]
) -> None:
    theirs = OnnxEmbedder.load(folder)
    same(masked_embedder, theirs, pictures)
    assert (theirs.dim, theirs.sees_captions) == (16, True)
    assert theirs.temperature == pytest.approx(masked_embedder.temperature)
    assert theirs.weights == masked_embedder.weights == masked_embedder.run.weights
    assert theirs.encode_image([]).shape == theirs.encode_text([]).shape == (0, 16)
    with pytest.raises(UsageError, match="one for each image, got 1 for 2"):
        theirs.predict(pictures[:2], "a circle")


def test_a_large_jpeg_is_decoded_smaller_as_the_run_does(
    masked_embedder: Embedder, folder: Path, tmp_path: Path, pictures: Sequence[Picture]
) -> None:
    path, theirs = tmp_path / "large.jpg", OnnxEmbedder.load(folder)
    pictures[0].resize((1600, 1200)).save(path)
    assert theirs.min_decode_size == masked_embedder.min_decode_size
    smaller = decode(path.read_bytes(), draft=theirs.min_decode_size)
    np.testing.assert_array_equal(theirs.encode_image(path), theirs.encode_image(smaller))
    np.testing.assert_allclose(theirs.encode_image(path), masked_embedder.encode_image(path), atol=1e-5)


def test_a_predictor_over_tokens(
    tmp_path: Path,
    pictures: Sequence[Picture],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tokens, "LAYERS", 1)  # the graph of each takes ten seconds
    values = SMALL | FROZEN | {"model.predictor.kind": "transformer", "model.predictor.hidden_dim": 64}
    config = pairjepa.recipe("masked", values | {"model.image_grid": 2, "model.image_views": ["whole"]})
    embedder = Embedder.load(pairjepa.train(config, None, tmp_path / "run"))
    export_onnx(embedder, tmp_path / "onnx")
    assert "exporting image.onnx\nexporting text.onnx\n" in capsys.readouterr().err
    same(embedder, OnnxEmbedder.load(tmp_path / "onnx"), pictures)


def test_it_needs_no_torch_and_loads_what_it_needs(folder: Path, tmp_path: Path) -> None:
    """Words alone must not wait for PyTorch, Transformers or the graph of the images."""
    words_only = tmp_path / "words"
    shutil.copytree(folder, words_only, ignore=shutil.ignore_patterns("image.onnx*", "joint.onnx*"))
    program = (
        "import sys; from pairjepa.embedder.onnx_embedder import OnnxEmbedder\n"
        f"print(OnnxEmbedder.load({str(words_only)!r}).encode_text('a red circle').shape)\n"
        "print(sorted({'torch', 'transformers', 'scipy', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "(1, 16)\n[]\n"


def test_what_is_said_beside_the_graphs(folder: Path) -> None:
    settings = json.loads((folder / SETTINGS).read_text())
    assert settings["views"] == ["whole", "whole-mirrored"]
    assert settings["preprocessing"]["size"] == 64
    for file in folder.iterdir():  # no path of the machine that it was made on
        assert str(Path(pairjepa.__file__).parent).encode() not in file.read_bytes()


@pytest.mark.parametrize(
    "file", ["text.onnx", "text.onnx.data", "tokenizer.json", SETTINGS, "checksums.json"]
)
def test_one_changed_byte_is_found(folder: Path, tmp_path: Path, file: str) -> None:
    broken = Path(shutil.copytree(folder, tmp_path / "broken"))
    data = bytearray((broken / file).read_bytes())
    data[len(data) // 2] ^= 1
    (broken / file).write_bytes(data)
    with pytest.raises(
        PairJEPAError, match=f"{file}.* (must be as it was written|must list|is not valid JSON)"
    ):
        OnnxEmbedder.load(broken).encode_text("a circle")


def test_what_cannot_be_loaded(folder: Path, tmp_path: Path, pictures: Sequence[Picture]) -> None:
    with pytest.raises(PairJEPAError, match=f"must be a folder with {SETTINGS}.*export RUN --to onnx"):
        OnnxEmbedder.load(tmp_path)
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "checksums.json").unlink()  # as of 0.1
    (broken / "text.onnx").write_bytes(b"no graph")
    (broken / "image.onnx.data").write_bytes(b"")
    with pytest.raises(PairJEPAError, match=r"text\.onnx is damaged.*Export the run again"):
        OnnxEmbedder.load(broken).encode_text("a circle")
    with pytest.raises(PairJEPAError, match=r"image\.onnx is damaged"):
        OnnxEmbedder.load(broken).encode_image(pictures[0])
    shutil.copy(folder / "text.onnx", broken)
    (broken / "tokenizer.json").write_text("{}")
    with pytest.raises(PairJEPAError, match=r"tokenizer\.json is damaged"):
        OnnxEmbedder.load(broken).encode_text("a circle")
    settings, _ = unsigned(json.loads((broken / SETTINGS).read_text()))
    for changed, words in (
        (settings | {"format": 99}, "must have format 1, got 99"),
        (["a list"], "must hold a table, got a list"),
        ({"format": 1}, "must hold run, got none"),
        (settings | {"preprocessing": {"size": 64}}, "must hold preprocessing.resize, got none"),
    ):
        (broken / SETTINGS).write_text(json.dumps(changed))
        with pytest.raises(PairJEPAError, match=words):
            OnnxEmbedder.load(broken)
    (broken / SETTINGS).write_text(json.dumps(settings | {"sees_captions": False}))
    with pytest.raises(UsageError, match="Train the recipe masked"):
        OnnxEmbedder.load(broken).predict(pictures[:1], ["a circle"])


def test_a_tokenizer_of_python_alone_is_refused_before_any_graph(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run: Any = SimpleNamespace(weights="0" * 32, text=SimpleNamespace(tokenizer=object()))
    with pytest.raises(PairJEPAError, match=r"must have a fast tokenizer to be exported, got object"):
        export_onnx(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert "exporting" not in capsys.readouterr().err


def test_another_model_is_not_taken_for_equal(embedder: Embedder, folder: Path) -> None:
    theirs = OnnxEmbedder.load(folder)
    with pytest.raises(PairJEPAError, match="must give the run's vectors to 1e-05, got a difference"):
        check_equal(embedder, theirs.encode_image, theirs.encode_text)
