"""How the reference work measured, as far as this study shows it: no part of the library, and no way to report.

It ranked *rows*: row i of the predictions must find row i of the captions, on the training pairs, although an image
owns several rows. Its masked model was shown the whole caption that it was to find, and inputs that were normalised
in training only.

Axes: `pairs` (image-caption rows), `images`, `dim`.
"""

import copy
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from pairjepa.metrics import RetrievalRanks, metrics, retrieve
from pairjepa.metrics.retrieval import CHUNK_BYTES, TIE_TOLERANCE, chunks
from pairjepa.model.heads import Standardizer
from pairjepa.model.joint import JointModel
from pairjepa.training.monitor import Split, embed_images, embed_partial, embed_texts

CPU = torch.device("cpu")

Measured = dict[str, Any]
"""What `evaluation.metrics` gives."""


def row_ranks(
    queries: Float[np.ndarray, "pairs dim"], gallery: Float[np.ndarray, "pairs dim"], seed: int = 0
) -> RetrievalRanks:
    """Rank of row i of the gallery for query i, and the other way round; 1 is best.

    Equal scores come in random order, as out of a sort: rows of one image have the same prediction.
    """
    own = np.einsum("pd,pd->p", queries, gallery)
    above, level = np.zeros((2, len(own)), np.int64), np.zeros((2, len(own)), np.int64)
    for part in chunks(len(own), CHUNK_BYTES // (4 * len(own))):
        scores = queries[part] @ gallery.T
        for way, axis, floor in ((0, 1, own[part, None]), (1, 0, own[None, :])):
            rows = part if way == 0 else slice(None)
            higher = np.count_nonzero(scores > floor + TIE_TOLERANCE, axis=axis)
            above[way, rows] += higher
            level[way, rows] += np.count_nonzero(scores >= floor - TIE_TOLERANCE, axis=axis) - higher
    ranks = 1 + above + np.random.default_rng(seed).integers(level)
    return RetrievalRanks(ranks[0], ranks[1], np.arange(len(own)))


def by_row(queries: np.ndarray, gallery: np.ndarray) -> Measured:
    """Recalls of `row_ranks`."""
    return metrics(row_ranks(queries, gallery))


def unnormalised(joint: JointModel) -> JointModel:
    """A copy that takes its inputs as they come, though it was trained on standardised ones."""
    bare = copy.deepcopy(joint)
    for part in bare.modules():
        if isinstance(part, Standardizer):
            part.fit(torch.zeros_like(part.mean), torch.ones_like(part.scale))
    return bare


def whole_caption(joint: JointModel, split: Split) -> Measured:
    """By row, with the whole caption, the answer itself, shown to the context beside the image."""
    seen = embed_partial(joint, split.images, split.texts, split.owner, CPU)
    return by_row(seen, embed_texts(joint, split.texts, CPU))


def masked_protocols(joint: JointModel, train: Split, few: Split, test: Split) -> dict[str, Measured]:
    """One masked model under the reference's protocol and, flaw by flaw, under the true one.

    Args:
        joint: the model.
        train: training pairs as many as the reference had.
        few: training pairs as many as `test` holds: the recall at K falls as a gallery grows.
        test: the test split.
    """
    image, text = embed_images(joint, train.images, CPU), embed_texts(joint, train.texts, CPU)
    return {
        "as the reference measured": whole_caption(unnormalised(joint), train),
        "inputs normalised as in training": whole_caption(joint, train),
        "the caption hidden: the image alone asks": by_row(image[train.owner], text),
        "any caption of the image is right": metrics(retrieve(image, text, train.owner)),
        "as few training images as test images": _true(joint, few),
        "test images: the true protocol": _true(joint, test),
    }


def contrastive_protocols(joint: JointModel, train: Split, test: Split) -> dict[str, Measured]:
    """One contrastive model by row and as it should be measured, beside a model that makes no mistake."""
    perfect_train, perfect_test = perfect(train.owner), perfect(test.owner)
    trained, tested = (
        (embed_images(joint, split.images, CPU), embed_texts(joint, split.texts, CPU))
        for split in (train, test)
    )
    return {
        "training pairs by row: ours": by_row(trained[0][train.owner], trained[1]),
        "training pairs by row: a perfect model": by_row(perfect_train[0][train.owner], perfect_train[1]),
        "test pairs by row: ours": by_row(tested[0][test.owner], tested[1]),
        "test pairs by row: a perfect model": by_row(perfect_test[0][test.owner], perfect_test[1]),
        "true protocol on test: ours": metrics(retrieve(*tested, test.owner)),
        "true protocol on test: a perfect model": metrics(retrieve(*perfect_test, test.owner)),
    }


def perfect(owner: Int[np.ndarray, " pairs"], dim: int = 512) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings that know every pair: an image and all of its captions are one point, far from all others."""
    images = np.random.default_rng(0).standard_normal((owner.max() + 1, dim)).astype(np.float32)
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    return images, images[owner]


def _true(joint: JointModel, split: Split) -> Measured:
    image, text = embed_images(joint, split.images, CPU), embed_texts(joint, split.texts, CPU)
    return metrics(retrieve(image, text, split.owner))
