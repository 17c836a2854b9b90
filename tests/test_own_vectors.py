"""Vectors that a user brings, in the place of both encoders: train, evaluate, index and search, and what is refused."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pairjepa
from pairjepa.apps.export import export
from pairjepa.apps.inspect import inspect
from pairjepa.apps.search.build import build
from pairjepa.config.recipes import recipe
from pairjepa.evaluation.evaluate import evaluate
from pairjepa.evaluation.without_run import evaluate_pair
from pairjepa.pairs import Pairs
from pairjepa.util.errors import PairJEPAError, UsageError

IMAGES, WIDTHS = 120, (24, 20)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two texts an image; both sides are linear in eight numbers that they share."""
    rng = np.random.default_rng(0)
    shared, owner = rng.normal(size=(IMAGES, 8)), np.repeat(np.arange(IMAGES), 2)
    image, text = (shared @ rng.normal(size=(8, width)) for width in WIDTHS)
    columns = {
        "image": [f"{row}.jpg" for row in owner],
        "caption": [f"text {row}" for row in range(len(owner))],
        "image_embedding": image[owner].tolist(),
        "text_embedding": (text[owner] + 0.1 * rng.normal(size=(len(owner), WIDTHS[1]))).tolist(),
    }
    path = tmp_path_factory.mktemp("vectors") / "t.parquet"
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture(scope="module")
def run(table: Path) -> Path:
    path = table.parent / "run"
    pairjepa.train(recipe("closed-form", {"data.source": str(table)}), None, path)
    return path


def test_a_closed_form_finds_what_both_sides_share(run: Path, table: Path) -> None:
    result = evaluate(run)
    assert result["image_to_text"]["R@1"] > 90
    assert result["hard_negatives"] is None
    assert not any("collapse" in note for note in result["notes"]), "8 directions of 512 are none"
    pairs = Pairs.open(table).split("test")
    embedder = pairjepa.Embedder.load(run)
    assert pairs.text_vectors is not None
    vectors = np.stack([pairs.image(row).info["vector"] for row in range(pairs.n_images)])
    np.testing.assert_allclose(
        embedder.encode_image(vectors), np.load(run / "embeddings/test/image.npy"), atol=1e-5
    )
    np.testing.assert_allclose(
        embedder.encode_text(pairs.text_vectors), np.load(run / "embeddings/test/text.npy"), atol=1e-5
    )
    assert embedder.encode_text(pairs.text_vectors[0]).shape == (1, embedder.dim)


def test_heads_learn_on_vectors(table: Path, tmp_path: Path) -> None:
    small = {"training.epochs": 2, "model.dim": 32, "data.source": str(table)}
    run = pairjepa.train(recipe("contrastive", small), None, tmp_path / "run")
    assert run.config.model.image == f"vectors:{WIDTHS[0]}"
    assert run.config.model.text == f"vectors:{WIDTHS[1]}"
    pairjepa.train(recipe("contrastive", small), Pairs.open(table), tmp_path / "run")  # it is complete


@pytest.fixture(scope="module")
def of_one_space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text an image, whose vectors are alike."""
    rng = np.random.default_rng(0)
    image = rng.normal(size=(IMAGES, 16)).astype(np.float32)
    text = image + 1.5 * rng.normal(size=image.shape).astype(np.float32)
    path = tmp_path_factory.mktemp("pair") / "t.parquet"
    pq.write_table(pa.table({"image_embedding": image.tolist(), "text_embedding": text.tolist()}), path)
    return path


def test_vectors_of_a_pretrained_pair_are_adapted_from_where_they_are(
    of_one_space: Path, tmp_path: Path
) -> None:
    config = recipe(
        "adapt", {"model.pair": "vectors", "data.source": str(of_one_space), "training.epochs": 2}
    )
    run = pairjepa.train(config, None, tmp_path / "run")
    assert (run.config.model.pair, run.config.model.image) == ("vectors:16", None)
    pairs = Pairs.open(of_one_space).split("test")
    image = np.stack([pairs.image(row).info["vector"] for row in range(pairs.n_images)])
    text = pairs.text_vectors
    assert text is not None
    scores = image @ text.T / np.linalg.norm(image, axis=1)[:, None] / np.linalg.norm(text, axis=1)
    first = 100 * (scores.argmax(axis=1) == np.arange(len(image))).mean()
    assert 0 < first < 100
    found, zero_shot = evaluate(run.path), evaluate_pair(config)
    assert found["baselines"]["pretrained"]["image_to_text"]["R@1"] == pytest.approx(first)
    assert zero_shot["image_to_text"]["R@1"] == pytest.approx(first)
    assert "beats_pretrained" in found
    assert inspect(config.data, pair="vectors")["splits"]["test"]["images"] == len(image)
    index = build(run.path, [of_one_space], tmp_path / "index")
    assert len(index.search(pairjepa.Embedder.load(run).encode_text(text[0])[0], 3)) == 3


def test_a_pair_of_vectors_needs_vectors_of_one_width(table: Path) -> None:
    with pytest.raises(UsageError, match="vectors of 24 numbers and texts of 20: they are not of one space"):
        evaluate_pair(recipe("adapt", {"model.pair": "vectors", "data.source": str(table)}))
    with pytest.raises(UsageError, match="must be a folder or hub id where the data are images and captions"):
        evaluate_pair(recipe("adapt", {"model.pair": "vectors", "data.source": "shapes:40"}))


def test_an_index_of_vectors_is_asked_by_vectors(run: Path, table: Path, tmp_path: Path) -> None:
    index = build(run, [table], tmp_path / "index")
    pairs, encoder = Pairs.open(table), index.encoder()
    assert len(index) == IMAGES
    assert pairs.text_vectors is not None
    hits = index.search(encoder.encode_text(pairs.text_vectors[7])[0], 5)  # type: ignore[arg-type]
    assert pairs.names[3] in [hit.name for hit in hits]
    (tmp_path / "query.npy").write_bytes(pairs.read_bytes(3))
    found = index.search(encoder.encode_image(tmp_path / "query.npy")[0], 3, of="captions")
    assert {hit.name for hit in found} & {pairs.names[3]}
    with pytest.raises(
        UsageError, match=r"must be a vector of 20 numbers .* got 'a dog'\. .* no text encoder"
    ):
        encoder.encode_text("a dog")
    with pytest.raises(UsageError, match=r"must be a vector of 20 numbers for this run, got \(7,\)"):
        encoder.encode_text([np.ones(20), np.ones(7)])  # type: ignore[arg-type, list-item]
    with pytest.raises(UsageError, match="must be a vector of 24 numbers for this run, got one of 7"):
        encoder.encode_image(np.ones(7, np.float32))
    with pytest.raises(PairJEPAError, match="must be a vector of 24 numbers for this run, got a picture"):
        encoder.encode_image(Pairs.open("shapes:1").image(0))


@pytest.mark.parametrize(
    ("name", "settings", "match"),
    [
        ("masked", {}, "a partly hidden caption needs words"),
        (
            "contrastive",
            {"model.image": "tiny-resnet"},
            "model.image must be left out where the data are vectors",
        ),
        ("adapt", {"model.pair": "openai/clip-vit-base-patch32"}, "model.pair must be left out"),
    ],
)
def test_what_needs_an_encoder_is_refused(
    name: str, settings: dict[str, str], match: str, table: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=match):
        pairjepa.train(recipe(name, settings | {"data.source": str(table)}), None, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_encoder_is_not_given_vectors(table: Path, tmp_path: Path) -> None:
    small = {"data.source": "shapes:40", "training.epochs": 1, "model.dim": 16}
    run = pairjepa.train(recipe("tiny", small), None, tmp_path / "run")
    with pytest.raises(PairJEPAError, match="An image must be a picture for this run, got a vector"):
        evaluate(run.path, data=table)
    with pytest.raises(PairJEPAError, match="has no encoders to export"):
        export(table.parent / "run", "hub", tmp_path / "hub")


def test_captions_of_the_same_words_and_other_vectors_are_said(
    run: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = pq.read_table(table).slice(0, 8)
    same = rows.set_column(1, "caption", pa.array(["the same words"] * 8))
    pq.write_table(same, tmp_path / "same.parquet")
    index = build(run, [tmp_path / "same.parquet"], tmp_path / "index")
    assert (
        "warning: captions with the words of another and a vector of their own: 7" in capsys.readouterr().err
    )
    first = index.encoder().encode_text(np.asarray(rows["text_embedding"][0].as_py(), np.float32))[0]
    hits = index.search(first, 8, of="captions")
    np.testing.assert_allclose([hit.score for hit in hits], hits[0].score, atol=1e-6)
