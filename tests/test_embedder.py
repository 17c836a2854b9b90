"""A trained run in use: what it takes, what it gives, and what it says of what it cannot take."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pairjepa
from pairjepa.config.recipes import recipe
from pairjepa.embedder.embedder import BATCH
from pairjepa.pairs import Pairs
from pairjepa.pairs.images import BadImage, decode
from pairjepa.pairs.pictures import listed, opened, strings
from pairjepa.util.errors import PairJEPAError, UsageError


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    small = {
        "data.source": "shapes:100",
        "model.image": "tiny-resnet",
        "model.text": "tiny-bert",
        "model.dim": 16,
    }
    path = tmp_path_factory.mktemp("runs") / "run"
    pairjepa.train(recipe("masked", small | {"training.epochs": 1}), None, path)
    return path


@pytest.fixture(scope="module")
def embedder(run: Path) -> pairjepa.Embedder:
    return pairjepa.Embedder.load(run)


def test_unit_float32_rows_in_the_order_given(embedder: pairjepa.Embedder) -> None:
    pairs = Pairs.open("shapes:100")
    pictures = [pairs.image(row) for row in range(BATCH + 3)]
    rows = embedder.encode_image(pictures)
    assert (rows.shape, rows.dtype) == ((BATCH + 3, embedder.dim), np.float32)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(embedder.encode_image(pictures[BATCH + 1])[0], rows[BATCH + 1], atol=1e-5)
    np.testing.assert_allclose(embedder.predict(pictures[:2]), rows[:2], atol=1e-5)

    captions = pairs.captions.to_pylist()[: BATCH + 3]
    texts = embedder.encode_text(captions)
    assert (texts.shape, texts.dtype) == ((BATCH + 3, embedder.dim), np.float32)
    np.testing.assert_allclose(embedder.encode_text(captions[-1])[0], texts[-1], atol=1e-5)


def test_bfloat16_where_it_is_asked_for(run: Path) -> None:
    one = pairjepa.Embedder.load(run)
    picture, captions = Pairs.open("shapes:100").image(0), ["a red circle", "a blue square"]
    exact = [one.encode_image(picture), one.encode_text(captions), one.predict(picture, captions[:1])]
    one.autocast = torch.bfloat16
    near = [one.encode_image(picture), one.encode_text(captions), one.predict(picture, captions[:1])]
    for plain, fast in zip(exact, near, strict=True):
        assert fast.dtype == np.float32
        assert (plain != fast).any()
        assert (plain * fast).sum(1).min() > 0.99


def test_an_image_is_its_pixels_not_its_file(embedder: pairjepa.Embedder, tmp_path: Path) -> None:
    """A path, a picture, a palette, and a picture that its camera laid on the side are the same."""
    picture = Pairs.open("shapes:10").image(0)
    picture.save(tmp_path / "plain.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # shown a quarter turn clockwise
    picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as turned:
        rows = embedder.encode_image([picture, tmp_path / "plain.png", str(tmp_path / "turned.png"), turned])
    np.testing.assert_allclose(rows, np.tile(rows[0], (4, 1)), atol=1e-5)


def test_batches_threads_and_a_bar_change_no_vector(
    embedder: pairjepa.Embedder, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = [Image.new("RGB", (40 + row, 50), (row * 9, 40, 200 - row * 9)) for row in range(9)]
    captions = ["a red circle " * (1 + row * 5 % 4) for row in range(9)]
    images, texts = embedder.encode_image(pictures), embedder.encode_text(captions)
    capsys.readouterr()
    np.testing.assert_allclose(
        embedder.encode_image(pictures, batch_size=2, threads=1, progress=True), images, atol=1e-5
    )
    assert "encode: 9 images" in capsys.readouterr().err
    np.testing.assert_allclose(embedder.encode_text(captions, batch_size=2, progress=True), texts, atol=1e-5)
    assert "encode: 9 captions" in capsys.readouterr().err
    np.testing.assert_allclose(embedder.encode_text(captions[4]), texts[4:5], atol=1e-5)
    assert not capsys.readouterr().err
    for wrong, said in (
        (0, "at least 1, got 0"),
        (-1, "at least 1, got -1"),
        (1.5, "a whole number, got 1.5"),
    ):
        with pytest.raises(UsageError, match=f"batch_size must be {said}"):
            embedder.encode_image(pictures, batch_size=wrong)
        with pytest.raises(UsageError, match=f"batch_size must be {said}"):
            embedder.encode_text(captions, batch_size=wrong)
    with pytest.raises(UsageError, match="threads must be at least 1, got -1"):
        embedder.encode_image(pictures, threads=-1)


def test_a_generator_of_images_is_read_as_its_rows_are_taken(embedder: pairjepa.Embedder) -> None:
    pictures = [Image.new("RGB", (40 + row, 50), (row * 9, 40, 200 - row * 9)) for row in range(12)]
    read: list[int] = []

    def reading() -> Iterator[Image.Image]:
        for row, one in enumerate(pictures):
            read.append(row)
            yield one

    batches = embedder.encode_image_batches(reading(), batch_size=2)
    first = next(batches)
    assert first.shape == (2, embedder.dim)
    assert len(read) < len(pictures)
    rest = list(batches)
    assert [len(rows) for rows in rest] == [2] * 5
    np.testing.assert_allclose(np.concatenate([first, *rest]), embedder.encode_image(pictures), atol=1e-5)
    assert not list(embedder.encode_image_batches([]))
    (alone,) = embedder.encode_image_batches(pictures[0])
    np.testing.assert_allclose(alone, embedder.encode_image(pictures[0]), atol=1e-5)
    with pytest.raises(UsageError, match="images must be paths"):
        next(embedder.encode_image_batches(None))


def test_nothing_gives_no_rows(embedder: pairjepa.Embedder) -> None:
    assert embedder.encode_image([]).shape == embedder.encode_text([]).shape == (0, embedder.dim)


def test_the_global_random_state_is_left_alone(run: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    pairjepa.Embedder.load(run).encode_text("a red circle")
    assert torch.equal(before, torch.get_rng_state())


def test_what_cannot_be_read_is_named(embedder: pairjepa.Embedder, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(PairJEPAError, match=r"nosuch\.jpg"):
        embedder.encode_image(tmp_path / "nosuch.jpg")
    with pytest.raises(PairJEPAError, match=r"broken\.jpg"):
        embedder.encode_image([tmp_path / "broken.jpg"])
    with pytest.raises(UsageError, match="captions must be strings, got int"):
        embedder.encode_text(["a circle", 3])  # type: ignore[list-item]


def test_a_run_that_is_not_whole(run: Path, tmp_path: Path) -> None:
    with pytest.raises(PairJEPAError, match="is no run folder"):
        pairjepa.Embedder.load(tmp_path)
    half = tmp_path / "half"
    shutil.copytree(run, half)
    (half / "model.safetensors").write_bytes(b"")
    with pytest.raises(PairJEPAError, match=r"model\.safetensors is damaged"):
        pairjepa.Embedder.load(half)
    (half / "model.safetensors").unlink()
    with pytest.raises(PairJEPAError, match=r"a complete run without its model\.safetensors"):
        pairjepa.Embedder.load(half)


def test_a_backbone_that_has_changed_is_refused(run: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    changed = tmp_path / "changed"
    shutil.copytree(run, changed)
    file = changed / "image" / "model.safetensors"
    weights = load_file(file)
    name = next(iter(weights))
    save_file(weights | {name: weights[name] + 1}, file, {"format": "pt"})
    with pytest.raises(PairJEPAError, match=r"image/model\.safetensors must be as it was written"):
        pairjepa.Embedder.load(changed)
    with pytest.raises(PairJEPAError, match=r"image/model\.safetensors must be as it was written"):
        pairjepa.evaluate(changed)


@pytest.mark.parametrize("predictor", ["residual", "transformer"])
def test_image_and_words_are_the_queries_of_evaluate(tmp_path: Path, predictor: str) -> None:
    """`predict(image, caption)` gives what evaluation ranks in its row of nothing hidden."""
    from pairjepa.backbones.encoders import load_backbones
    from pairjepa.backbones.masking import Masking
    from pairjepa.pairs.data import read_data
    from pairjepa.training.material import Material
    from pairjepa.training.monitor import embed_partial

    grid = {"model.image_grid": 2, "model.predictor.hidden_dim": 64} if predictor == "transformer" else {}
    values = {
        "data.source": "shapes:60",
        "model.image": "tiny-resnet",
        "model.text": "tiny-bert",
        "model.predictor.kind": predictor,
        "training.epochs": 1,
        **grid,
    }
    config = pairjepa.recipe("masked", values)
    run = pairjepa.train(config, None, tmp_path / "run")
    embedder = pairjepa.Embedder.load(run)
    pairs = pairjepa.Pairs.open("shapes:60")
    material = Material(config, read_data(pairs, 1.0), *load_backbones(config, (), run.path))
    _, captions, owner = material.rows("test")
    test = pairs.split("test")
    expected = embed_partial(
        embedder.joint,
        material.split("test").images,
        material.masked(captions, Masking("tokens", 0.0, 0.0), 1),
        owner,
        embedder._device,
    )
    pictures = [test.image(row) for row in owner.tolist()]
    texts = test.captions.to_pylist()
    np.testing.assert_allclose(embedder.predict(pictures, texts), expected, atol=1e-5)
    assert not np.allclose(embedder.predict(pictures, texts), embedder.predict(pictures), atol=1e-3)
    with pytest.raises(UsageError, match="one for each image, got 1 for 2"):
        embedder.predict(pictures[:2], texts[:1])


def test_a_contrastive_run_takes_no_words(tmp_path: Path) -> None:
    run = pairjepa.train(
        recipe("tiny", {"data.source": "shapes:60", "training.epochs": 1}), None, tmp_path / "run"
    )
    with pytest.raises(UsageError, match="Train the recipe masked"):
        pairjepa.Embedder.load(run).predict([], [])


def test_a_large_jpeg_is_decoded_smaller(embedder: pairjepa.Embedder, tmp_path: Path) -> None:
    """As the features that the run was trained on are."""
    path = tmp_path / "large.jpg"
    Pairs.open("shapes:10").image(0).resize((1600, 1200)).save(path, quality=90)
    assert min(embedder.min_decode_size) < 600
    smaller = decode(path.read_bytes(), draft=embedder.min_decode_size)
    assert smaller.size in ((400, 300), (800, 600))
    row = embedder.encode_image(path)
    np.testing.assert_array_equal(row, embedder.encode_image(smaller))
    with Image.open(path) as whole:
        assert (row * embedder.encode_image(whole)).sum() > 0.999


def test_arrays_bytes_and_files_are_pictures_too(tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))
    picture.save(tmp_path / "a.png")
    pixels = np.asarray(picture)
    data = (tmp_path / "a.png").read_bytes()
    ways = [
        pixels,
        torch.from_numpy(pixels.copy()).permute(2, 0, 1),
        data,
        bytearray(data),
        memoryview(data),
        io.BytesIO(data),
        tmp_path / "a.png",
        np.array([str(tmp_path / "a.png")] * 2),
        np.array(str(tmp_path / "a.png")),
    ]
    for found in [opened(one) for way in ways for one in listed(way)]:
        np.testing.assert_array_equal(np.asarray(found), pixels)
    assert len(listed(np.stack([pixels, pixels]))) == len(listed([pixels, data])) == 2
    assert np.asarray(opened(pixels[:, :, :1])).tolist() == np.asarray(opened(pixels[:, :, 0])).tolist()
    for wrong in (None, 3, [None], [object()]):
        with pytest.raises(UsageError, match="images must be paths, PIL images, bytes"):
            [opened(one) for one in listed(wrong)]
    for array in (
        pixels / 255,
        pixels.astype(int),
        np.zeros((5, 5, 2), np.uint8),
        np.zeros(3, int),
        pixels[:0],
    ):
        with pytest.raises(UsageError, match=r"must hold 0 to 255 as uint8 .* Scale values of 0 to 1 by 255"):
            opened(array)
    with pytest.raises(BadImage, match="given as bytes"):
        opened(b"no image")
    with pytest.raises(BadImage, match="it has no pixels: 0 x 5"):
        opened(Image.new("RGB", (0, 5)))
    with pytest.raises(BadImage, match=r"Image 'a\\ud800.png': cannot be read: .* surrogates"):
        opened("a\ud800.png")
    closed = Image.open(tmp_path / "a.png")
    closed.close()
    with pytest.raises(BadImage, match="damaged: Operation on closed image"):
        opened(closed)
    with (tmp_path / "a.png").open() as text, pytest.raises(UsageError, match="that is open for bytes, got"):
        opened(text)
    for text, kind in ((None, "NoneType"), (b"a dog", "bytes"), ([b"a dog"], "bytes")):
        with pytest.raises(UsageError, match=f"captions must be strings, got {kind}"):
            strings(text)
    assert strings(np.array("a dog")) == ["a dog"]


def test_half_a_character_is_no_caption():
    with pytest.raises(UsageError, match=r"must be whole characters, got half of one in 'a \\ud800'"):
        strings(["a \ud800"])
