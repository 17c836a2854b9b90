"""What words, an image and both together become."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pairjepa
from pairjepa.apps.search.query import Query, encode, is_cut
from pairjepa.embedder.embedder import Embedder
from pairjepa.util.errors import PairJEPAError, UsageError

from . import photos


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos.write(tmp_path_factory.mktemp("photos"), [0])[0]


@pytest.fixture(scope="module")
def contrastive(run: Path) -> Embedder:
    return pairjepa.Embedder.load(run)


@pytest.fixture(scope="module")
def masked(other_run: Path) -> Embedder:
    return pairjepa.Embedder.load(other_run)


def test_each_kind_in_the_order_given(contrastive: Embedder, masked: Embedder, picture: Path) -> None:
    words = "a red circle"
    queries = [
        Query(words, picture),
        Query(words),
        Query(image=picture),
        Query("a star"),
        Query("a ring", picture),
    ]
    for encoder in (contrastive, masked):
        text, image = encoder.encode_text([words, "a star", "a ring"]), encoder.encode_image(picture)[0]
        if encoder is masked:
            both = encoder.predict([picture, picture], [words, "a ring"])
        else:
            both = np.stack([image + text[0], image + text[2]])
            both /= np.linalg.norm(both, axis=1, keepdims=True)
        np.testing.assert_allclose(
            encode(encoder, queries), [both[0], text[0], image, text[1], both[1]], atol=1e-5
        )
    assert encode(contrastive, []).shape == (0, contrastive.dim)


def test_words_that_are_taken_away(contrastive: Embedder, picture: Path) -> None:
    star, ring = contrastive.encode_text(["a star", "a ring"])
    image = contrastive.encode_image(picture)[0]
    queries = [Query("a star", minus="a ring"), Query("a ring"), Query(image=picture, minus="a ring")]
    found = encode(contrastive, queries)
    expected = [(q - ring) / np.linalg.norm(q - ring) for q in (star, image)]
    np.testing.assert_allclose(found, [expected[0], ring, expected[1]], atol=1e-5)
    with pytest.raises(UsageError, match="minus must be other words than the query"):
        encode(contrastive, [Query("a ring", minus="a ring")])
    with pytest.raises(UsageError, match="minus must have words in it"):
        Query("a ring", minus=" ")


def test_a_query_must_ask_something(contrastive: Embedder, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must be words, an image or both, got neither"):
        Query()
    with pytest.raises(UsageError, match="must have words in it, got none"):
        Query(" \n", Image.new("RGB", (8, 8)))
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(PairJEPAError, match=r"broken\.jpg"):
        encode(contrastive, [Query(image=tmp_path / "broken.jpg")])


def test_whether_words_are_cut(contrastive: Embedder) -> None:
    limit = contrastive.config.model.max_tokens
    assert is_cut(contrastive, "circle " * 2 * limit)
    assert is_cut(contrastive, "x" * 10_000) is False  # one word that nobody knows
    assert not is_cut(contrastive, "circle " * (limit // 4))
    assert not is_cut(contrastive, "a red circle")
