"""Thumbnails, partial queries word by word, and saliency maps: made by `evaluate`, and `saliency` by hand."""

import io
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import pairjepa
from pairjepa.backbones.image import ImageBackbone
from pairjepa.backbones.masking import Masking
from pairjepa.backbones.text import TextBackbone
from pairjepa.backbones.tiny import tiny_bert
from pairjepa.config.recipes import recipe
from pairjepa.embedder.embedder import Embedder
from pairjepa.evaluation import evaluate as stages
from pairjepa.evaluation import illustrate
from pairjepa.evaluation.embedding_set import EmbeddingSet
from pairjepa.evaluation.illustrate import content_words, hidden_words, saliency, thumbnails
from pairjepa.evaluation.illustrations import Illustrations
from pairjepa.pairs.table import Pairs
from pairjepa.util.errors import PairJEPAError, UsageError

SMALL = {
    "data.source": "shapes:100",
    "model.image": "tiny-resnet",
    "model.text": "tiny-bert",
    "model.dim": 16,
    "training.epochs": 1,
}


def trained(path: Path, name: str, settings: dict[str, Any] | None = None) -> Path:
    pairjepa.train(recipe(name, SMALL | (settings or {})), None, path)
    return path


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A masked run on frozen backbones and two views, evaluated with every caption as an example."""
    path = trained(tmp_path_factory.mktemp("runs") / "masked", "masked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "PARTIAL_EXAMPLES", 1000)
        pairjepa.evaluate(path)
    return path


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    """One view, pooled by the mean, and heads without a bend: tuned backbones."""
    return Embedder.load(trained(tmp_path_factory.mktemp("runs") / "linear", "tiny"))


@pytest.fixture(scope="module")
def test_split() -> Pairs:
    return Pairs.open("shapes:100").split("test")


def test_a_linear_map_s_mean_is_the_cosine_of_the_whole(linear: Embedder, test_split: Pairs) -> None:
    texts = ["a red circle", "a large blue star on a white background"]
    picture = test_split.image(0).resize((100, 80))
    maps = saliency(linear, picture, texts)
    assert (maps.shape, maps.dtype) == ((2, 2, 2), np.float32)
    cosines = linear.encode_image(picture)[0] @ linear.encode_text(texts).T
    np.testing.assert_allclose(maps.mean((1, 2)), cosines, atol=1e-5)
    np.testing.assert_allclose(saliency(linear, picture, texts[1]), maps[1:], atol=1e-6)


def test_a_mirrored_picture_has_the_mirrored_map(masked: Path, test_split: Pairs) -> None:
    embedder = Embedder.load(masked)
    assert "whole-mirrored" in embedder.config.model.image_views
    picture = test_split.image(1).resize((64, 64))
    flipped = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    first, second = (saliency(embedder, one, "a red circle") for one in (picture, flipped))
    assert abs(first[0, :, 0] - first[0, :, 1]).max() > 1e-4
    np.testing.assert_allclose(second, first[:, :, ::-1], atol=1e-5)


def test_looks_are_of_the_nearest_caption_and_words(masked: Path, test_split: Pairs) -> None:
    embeddings = EmbeddingSet.load(masked / "embeddings" / "test")
    drawn = Illustrations.load(masked / "illustrations" / "test", len(embeddings.image))
    embedder = Embedder.load(masked)
    assert [one["image"] for one in drawn.saliency] == list(range(10))  # of no more than sixteen, all
    for one in drawn.saliency:
        row = one["image"]
        assert max(Image.open(io.BytesIO(one["picture"])).size) == 64  # smaller ones are not blown up
        own = np.flatnonzero(embeddings.owner == row)
        captions = [embeddings.captions[c] for c in own]
        first, *words = one["maps"]
        assert first["text"] == captions[int((embeddings.text[own] @ embeddings.image[row]).argmax())]
        assert len(words) == min(5, len(content_words(captions)))
        for each in one["maps"]:
            cosine = embedder.encode_text(each["text"])[0] @ embeddings.image[row]
            assert each["cosine"] == pytest.approx(cosine, abs=1e-4)
        assert [word["cosine"] for word in words] == sorted((w["cosine"] for w in words), reverse=True)
        expected = saliency(embedder, test_split.image(row), [each["text"] for each in one["maps"]])
        values = np.array([each["values"] for each in one["maps"]]).reshape(-1, *one["grid"])
        np.testing.assert_allclose(values, expected, atol=1e-4)


def test_partial_examples_are_the_queries_that_are_measured(
    masked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "PARTIAL_EXAMPLES", 1000)
    result = pairjepa.evaluate(masked)["partial"]
    embeddings = EmbeddingSet.load(masked / "embeddings" / "test")
    partial = Illustrations.load(masked / "illustrations" / "test", 10).partial
    assert len(partial) == 3 * len(embeddings.owner)
    for ratio in (0.3, 0.6, 0.9):
        some = [example for example in partial if example["ratio"] == ratio]
        measured = result[str(ratio)]
        for way, numbers in (
            ("with_image", measured),
            ("shuffled", measured["shuffled"]),
            ("text_only", measured["text_only"]),
        ):
            ranks = np.array([example[way]["rank"] for example in some])
            assert 100 * np.mean(ranks <= 5) == pytest.approx(numbers["R@5"])
            assert all(
                (example["caption"] in example[way]["top"]) or rank > 3
                for example, rank in zip(some, ranks, strict=True)
            )
        for example in some:
            assert example["image"] == embeddings.owner[example["caption"]] != example["shuffled_image"]
            words = [token["text"] for token in example["tokens"]]
            assert "".join(words) == embeddings.captions[example["caption"]].replace(" ", "")
            hidden = sum(token["hidden"] for token in example["tokens"])
            assert hidden == max(1, round(ratio * len(words)))


def test_pictures_are_kept_until_the_weights_change(
    masked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(masked, run)
    made = []
    monkeypatch.setattr(stages, "split_saliency", lambda *_: made.append("saliency") or ([], []))
    pairjepa.evaluate(run)
    assert made == []
    folder = run / "illustrations" / "test"
    (folder / "thumbnails.parquet").write_bytes(b"")
    pairjepa.evaluate(run)
    assert made == ["saliency"]
    whole = Illustrations.load(folder, 10)
    assert None not in whole.thumbnails
    assert len(whole.partial) == 3 * stages.PARTIAL_EXAMPLES
    replace(whole, run="of other weights").save(folder)
    pairjepa.evaluate(run)
    assert made == ["saliency", "saliency"]
    assert Illustrations.load(folder, 10).run == whole.run


def test_thumbnails_of_what_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def jpeg(size: tuple[int, int]) -> bytes:
        file = io.BytesIO()
        Image.new("RGB", size, (200, 30, 30)).save(file, "JPEG")
        return file.getvalue()

    (tmp_path / "<script>alert(1)</script>.jpg").parent.mkdir(parents=True)
    (tmp_path / "<script>alert(1)</script>.jpg").write_bytes(jpeg((900, 300)))
    paths = [str(tmp_path / "<script>alert(1)</script>.jpg"), None, None, str(tmp_path / "gone.jpg")]
    table = pa.table(
        {
            "name": list("abcd"),
            "path": pa.array(paths, pa.string()),
            "bytes": pa.array([None, jpeg((40, 160)), b"\xff\xd8\xff", None], pa.large_binary()),
            "split": ["test"] * 4,
            "captions": [["a"]] * 4,
        }
    )
    made = thumbnails(Pairs(table, "own"))
    sizes = [None if one is None else Image.open(io.BytesIO(one)).size for one in made]
    assert sizes == [(144, 48), (36, 144), None, None]

    monkeypatch.setattr(illustrate, "MOST_THUMBNAILS", 2)
    many = Pairs.open("shapes:12")
    some = thumbnails(many)
    assert sum(one is not None for one in some) == 2
    assert some == thumbnails(many)


def test_what_cannot_be_looked_into_is_said(
    linear: Embedder, masked: Path, test_split: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = test_split.image(0)
    with pytest.raises(UsageError, match=r"context\.image off"):
        saliency(Embedder.load(masked / "text-only"), picture, "a circle")
    with pytest.raises(PairJEPAError, match=r"nosuch\.jpg"):
        saliency(linear, "nosuch.jpg", "a circle")

    over_tokens = {
        "model.predictor.kind": "transformer",
        "model.predictor.hidden_dim": 64,
        "model.image_grid": 2,
    }
    run = trained(tmp_path / "tokens", "masked", over_tokens)
    pairjepa.evaluate(run)
    left = Illustrations.load(run / "illustrations" / "test", 10)
    assert (left.saliency, len(left.notes)) == ([], 1)
    assert "model.predictor must take pooled positions" in left.notes[0]
    assert None not in left.thumbnails

    def pooled_by_attention(*_: Any) -> Any:
        raise PairJEPAError("The image backbone pools its positions in a way of its own.")

    monkeypatch.setattr(ImageBackbone, "positions", pooled_by_attention)
    embeddings = EmbeddingSet.load(masked / "embeddings" / "test")
    found, notes = illustrate.split_saliency(Embedder.load(masked), test_split, embeddings)
    assert found == []
    assert notes == ["There is no saliency map. The image backbone pools its positions in a way of its own."]


def test_content_words_are_the_commonest_and_no_function_words() -> None:
    captions = ["A dog, a DOG and the snow.", "the dog's 3 legs in snow", "snow x"]
    assert content_words(captions) == ["snow", "dog", "legs"]


def pieces() -> TextBackbone:
    """A tiny BERT whose tokenizer cuts `snowboarder` in three."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: i for i, word in enumerate([*special, "a", "snow", "##board", "##er", "jumps", "."])}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(lowercase=True), BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    network, _ = tiny_bert(["a b c d e f"], 32, 0)
    names = {f"{name[1:-1].lower()}_token": name for name in special}
    return TextBackbone(network, PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names), max_tokens=8)


@pytest.mark.parametrize(
    ("hidden", "parts"),
    [
        ({2, 3, 4, 6}, [("A", False), ("Snowboarder", True), ("jumps", False), (".", True)]),
        (
            {3},
            [("A", False), ("Snow", False), ("…board", True), ("…er", False), ("jumps", False), (".", False)],
        ),
        (set(), [("A", False), ("Snowboarder", False), ("jumps", False), (".", False)]),
    ],
)
def test_pieces_are_joined_to_words_where_they_share_their_fate(
    hidden: set[int], parts: list[tuple[str, bool]]
) -> None:
    masking: Any = SimpleNamespace(hidden=lambda tokens, key: hidden)
    caption = "A Snowboarder  jumps. a a a a"  # cut after 8 tokens, with the special ones
    said = [(part["text"], part["hidden"]) for part in hidden_words(pieces(), caption, masking)]
    assert said == parts


@pytest.mark.parametrize("kind", ["tokens", "words", "spans", "content"])
def test_what_is_hidden_is_what_the_context_does_not_see(kind: Any) -> None:
    text, masking, caption = pieces(), Masking(kind, 0.5, 0.5, 4), "a snowboarder jumps ."
    (tokens,) = text.tokenize_words([caption])
    seen = masking.masked(tokens, "0")
    masks = seen.count(text.tokenizer.mask_token_id)
    parts = hidden_words(text, caption, masking)
    count = {"snowboarder": 3, "snowboard": 2, "…boarder": 2}
    assert sum(count.get(part["text"], 1) for part in parts if part["hidden"]) == masks > 0
