"""Makes what `evaluate` leaves for people (see `evaluation.illustrations`), and `saliency` for a single picture.

Axes: `image`, `text`, `row` and `column` = positions of the image backbone's last map, `dim` = shared space.
"""

import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from PIL import Image

from pairjepa.backbones.masking import FUNCTION_WORDS, Masking
from pairjepa.backbones.text import TextBackbone
from pairjepa.config.settings import View
from pairjepa.embedder.embedder import Embedder
from pairjepa.evaluation.embedding_set import EmbeddingSet
from pairjepa.pairs.images import BadImage, decode, thumbnail
from pairjepa.pairs.pictures import Picture, opened
from pairjepa.pairs.table import Pairs
from pairjepa.util.errors import PairJEPAError, UsageError
from pairjepa.util.threads import cores

THUMBNAIL, THUMBNAIL_QUALITY = 144, 70  # longest side in pixels; JPEG's quality
PICTURE, PICTURE_QUALITY = 320, 85
MOST_THUMBNAILS = 2_000
SALIENCY_IMAGES, WORDS = 16, 5  # images; words of each
COMMONEST = 10  # of an image's words, those that are embedded to choose from
BATCH = 16

FIRST_MASK = "0"  # the key of the only mask that `evaluate` puts on a caption


def saliency(
    embedder: Embedder, image: Picture, texts: str | Sequence[str]
) -> Float32[np.ndarray, "text row column"]:
    """Saliency maps of a text in a picture: an indication of what the prediction rests on, not an explanation.

    Each position of the image backbone's last map, with the lower stages at the same place, is put through the heads
    as if the picture were that position alone. What it adds in the direction of the text's embedding is its value,
    in units of the mean prediction's length: the values' mean is the cosine of the mean prediction with the text.
    (Not the cosine of each position: that makes an empty corner as loud as the thing itself.) The picture is seen
    whole, and mirrored too if the run's views are. The predictions of a class token's backbone come from its patch
    tokens. Positions far from a thing know of it: their receptive fields overlap.

    Source: the class activation map of Zhou et al. 2016, with a text's embedding for the weights of a class.

    Args:
        embedder: a trained run.
        image: a path or a PIL image.
        texts: captions or words; a map each.

    Returns:
        The maps, from the top left.

    Raises:
        UsageError: the run's predictions do not come from pooled positions of an image.
        PairJEPAError: the image cannot be read.
    """
    return _maps(embedder, [opened(image)], embedder.encode_text(texts))[0]


def _maps(
    embedder: Embedder, pictures: list[Image.Image], texts: Float32[np.ndarray, "text dim"]
) -> Float32[np.ndarray, "image text row column"]:
    """A map for each picture and text."""
    config = embedder.config
    if not config.context.image:
        raise UsageError("The run must see images to have saliency maps, got one with context.image off.")
    if config.model.predictor.kind == "transformer":
        raise UsageError(
            "model.predictor must take pooled positions to be asked of each of them, got a transformer. "
            "Take a run of the recipe contrastive or masked."
        )
    views: list[View] = ["whole"]
    if any(view.endswith("-mirrored") for view in config.model.image_views):
        views.append("whole-mirrored")
    device = next(embedder.image.parameters()).device
    targets = torch.from_numpy(texts).to(device)
    maps = []
    with torch.inference_mode():
        for start in range(0, len(pictures), BATCH):
            seen = []
            for view in views:
                pixels = np.stack([embedder.image.prepare(p, view) for p in pictures[start : start + BATCH]])
                normalised = embedder.image.normalise(torch.from_numpy(pixels).to(device))
                positions = embedder.image.positions(normalised)
                flat = embedder.joint.predict(positions.flatten(0, 2)).float()
                predictions = flat.unflatten(0, positions.shape[:3])
                seen.append(predictions.flip(2) if view == "whole-mirrored" else predictions)
            predictions = torch.stack(seen).mean(0)
            length = predictions.mean((1, 2)).norm(dim=1).clamp(min=1e-12)
            added = torch.einsum("brcd,td->btrc", predictions, targets) / length[:, None, None, None]
            maps.append(added.cpu().numpy())
    return np.concatenate(maps)


def split_saliency(
    embedder: Embedder, pairs: Pairs, embeddings: EmbeddingSet
) -> tuple[list[dict[str, Any]], list[str]]:
    """Maps of some images of a split, for that caption and those content words of theirs nearest to the prediction.

    Args:
        embedder: the run.
        pairs: of the split, in the order of the embeddings.
        embeddings: of the split.

    Returns:
        `Illustrations.saliency`; and why there are none, where that is so.
    """
    chosen = np.sort(np.random.default_rng(0).permutation(len(embeddings.image))[:SALIENCY_IMAGES]).tolist()
    pictures = {row: picture for row in chosen if (picture := _read(pairs, row)) is not None}
    if not pictures:
        return [], ["There is no saliency map: the images cannot be read."]
    captions = {row: np.flatnonzero(embeddings.owner == row).tolist() for row in pictures}
    words = {row: content_words([embeddings.captions[c] for c in captions[row]]) for row in pictures}
    distinct = list(dict.fromkeys(word for some in words.values() for word in some))
    own = [c for some in captions.values() for c in some]
    texts = [*(embeddings.captions[c] for c in own), *distinct]
    try:
        targets = np.concatenate([embeddings.text[own], embedder.encode_text(distinct)])
        maps = _maps(embedder, list(pictures.values()), targets)
    except PairJEPAError as error:
        return [], [f"There is no saliency map. {error}"]
    found = []
    for (row, picture), values in zip(pictures.items(), maps, strict=True):
        cosines = targets @ embeddings.image[row]
        of_caption = np.flatnonzero(np.isin(own, captions[row]))
        of_words = np.array([len(own) + distinct.index(word) for word in words[row]], np.int64)
        closest_words = of_words[np.argsort(-cosines[of_words])][:WORDS].tolist()
        nearest = [int(of_caption[cosines[of_caption].argmax()]), *closest_words]
        found.append(
            {
                "image": row,
                "picture": thumbnail(picture, PICTURE, PICTURE_QUALITY),
                "grid": list(values.shape[1:]),
                "maps": [
                    {
                        "text": texts[n],
                        "values": values[n].astype(float).round(4).flatten().tolist(),
                        "cosine": round(float(cosines[n]), 4),
                    }
                    for n in nearest
                ],
            }
        )
    return found, []


def content_words(captions: Sequence[str]) -> list[str]:
    """The words that most of the captions hold, commonest first, without function words and single letters."""
    counts = Counter(
        word
        for caption in captions
        for word in dict.fromkeys(re.findall(r"[^\W\d_]{2,}", caption.lower()))
        if word not in FUNCTION_WORDS
    )
    return [word for word, _ in counts.most_common(COMMONEST)]


def thumbnails(pairs: Pairs) -> list[bytes | None]:
    """A small JPEG of each image; of more than 2,000 a random choice, of one that cannot be read None."""
    rows = np.random.default_rng(0).permutation(pairs.n_images)[:MOST_THUMBNAILS]
    drawn: list[bytes | None] = [None] * pairs.n_images
    with ThreadPoolExecutor(cores()) as pool:
        for row, jpeg in zip(rows, pool.map(lambda row: _thumbnail(pairs, row), rows), strict=True):
            drawn[row] = jpeg
    return drawn


def _thumbnail(pairs: Pairs, row: int) -> bytes | None:
    picture = _read(pairs, row, (THUMBNAIL, THUMBNAIL))
    return None if picture is None else thumbnail(picture, THUMBNAIL, THUMBNAIL_QUALITY)


def _read(pairs: Pairs, row: int, draft: tuple[int, int] | None = None) -> Image.Image | None:
    try:
        return decode(pairs.read_bytes(int(row)), draft=draft)
    except BadImage:
        return None


def hidden_words(text: TextBackbone, caption: str, masking: Masking) -> list[dict[str, Any]]:
    """A caption as the context of `evaluate` saw it: `{"text", "hidden"}` for each word.

    A word of which only some pieces are hidden comes in parts, those after the first with an ellipsis before them.
    """
    tokens = text.tokenize_words([caption])[0]
    hidden = masking.hidden(tokens, FIRST_MASK)
    parts = []
    for (_, is_hidden), group in groupby(tokens.open, lambda place: (tokens.words[place], place in hidden)):
        places = list(group)
        start, end = tokens.spans[places[0]][0], tokens.spans[places[-1]][1]
        continued = places[0] > 0 and tokens.words[places[0]] == tokens.words[places[0] - 1]
        parts.append({"text": "…" * continued + caption[start:end].strip(), "hidden": is_hidden})
    return parts
