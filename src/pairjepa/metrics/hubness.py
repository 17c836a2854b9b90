"""Hubness correction: gallery items that are near to every query give some of their score back.

Axes: queries, gallery; images, captions (rows of embeddings of one split); bank (training queries); dim.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int

from pairjepa.metrics.relevance import Relevance, checked_owner
from pairjepa.metrics.retrieval import RetrievalRanks, chunks, ranks, retrieve, rsum

ALPHAS = (0.25, 0.5, 0.75, 1.0)
NEIGHBOURS = (16, 32, 64, 128)


@dataclass(frozen=True, eq=False)
class HubnessCorrection:
    """Score of a query with a gallery item minus α times the item's hubness, from queries of the training split.

    The hubness of an item is the mean of its `k` best scores with the bank. The bank never holds the queries that
    are measured, so each query is still ranked by itself.

    Source: nearest-neighbour normalisation (Chowdhury et al. 2024, arXiv 2410.24114).
    """

    image_bank: Float32[np.ndarray, "bank dim"]
    """Predictions of training images: the queries of image → text."""
    text_bank: Float32[np.ndarray, "bank2 dim"]
    """Targets of training captions: the queries of text → image."""
    alpha: float
    """Strength; 0 leaves the scores as they are."""
    k: int

    @classmethod
    def choose(
        cls,
        image_bank: Float32[np.ndarray, "bank dim"],
        text_bank: Float32[np.ndarray, "bank2 dim"],
        image: Float[np.ndarray, "images dim"],
        text: Float[np.ndarray, "captions dim"],
        owner: Int[np.ndarray, " captions"],
    ) -> "HubnessCorrection":
        """α and k with the highest rsum on a dev split; α is 0 where no correction is better than none.

        Args:
            image_bank: Predictions of training images.
            text_bank: Targets of training captions.
            image: Predictions of the dev images.
            text: Targets of the dev captions.
            owner: For each dev caption, the row of its image.
        """
        best, chosen = rsum(retrieve(image, text, owner)), cls(image_bank, text_bank, 0.0, NEIGHBOURS[0])
        neighbours = [k for k in NEIGHBOURS if k <= min(len(image_bank), len(text_bank))]
        of_text, of_image = hubness(text, image_bank, neighbours), hubness(image, text_bank, neighbours)
        for row, k in enumerate(neighbours):
            for alpha in ALPHAS:
                reached = rsum(_ranks(image, text, owner, alpha * of_text[row], alpha * of_image[row]))
                if reached > best:
                    best, chosen = reached, cls(image_bank, text_bank, alpha, k)
        return chosen

    def ranks(
        self,
        image: Float[np.ndarray, "images dim"],
        text: Float[np.ndarray, "captions dim"],
        owner: Int[np.ndarray, " captions"],
        relevance: Relevance | None = None,
    ) -> RetrievalRanks:
        """`retrieval.retrieve` by corrected scores.

        Raises:
            UsageError: as `retrieve`.
        """
        if not self.alpha:
            return retrieve(image, text, owner, relevance)
        return _ranks(image, text, owner, self.of_text(text), self.of_image(image), relevance)

    def of_text(self, text: Float[np.ndarray, "captions dim"]) -> Float32[np.ndarray, " captions"]:
        """What is taken from the scores of captions as gallery."""
        return self.alpha * hubness(text, self.image_bank, [self.k])[0]

    def of_image(self, image: Float[np.ndarray, "images dim"]) -> Float32[np.ndarray, " images"]:
        """What is taken from the scores of images as gallery."""
        return self.alpha * hubness(image, self.text_bank, [self.k])[0]

    def directions(
        self, image: Float[np.ndarray, "images dim"], text: Float[np.ndarray, "captions dim"]
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Queries and gallery of `image_to_text` and `text_to_image`; their inner products are corrected scores."""
        return {
            "image_to_text": (_as_query(image), _as_gallery(text, self.of_text(text))),
            "text_to_image": (_as_query(text), _as_gallery(image, self.of_image(image))),
        }

    def settings(self) -> dict[str, Any]:
        """`{"alpha", "k"}`."""
        return {"alpha": self.alpha, "k": self.k}


def hubness(
    gallery: Float[np.ndarray, "gallery dim"],
    bank: Float[np.ndarray, "bank dim"],
    neighbours: list[int],
) -> Float32[np.ndarray, "neighbours gallery"]:
    """Mean of the k best scores of each gallery item with the bank, for each k in ascending `neighbours`."""
    result = np.empty((len(neighbours), len(gallery)), np.float32)
    queries = bank.astype(np.float32, copy=False).T
    for part in chunks(len(gallery), 8 * len(bank)):
        scores = gallery[part].astype(np.float32, copy=False) @ queries
        most = max(neighbours, default=1)
        top = -np.sort(-np.partition(scores, len(bank) - most, axis=1)[:, len(bank) - most :], axis=1)
        for row, k in enumerate(neighbours):
            result[row, part] = top[:, :k].mean(axis=1)
    return result


def _ranks(
    image: np.ndarray,
    text: np.ndarray,
    owner: np.ndarray,
    of_text: Float32[np.ndarray, " captions"],
    of_image: Float32[np.ndarray, " images"],
    relevance: Relevance | None = None,
) -> RetrievalRanks:
    """Ranks where `of_text` is taken from the scores of captions as gallery, `of_image` from those of images."""
    owner = checked_owner(owner, len(image))
    relevance = relevance or Relevance.by_owner(owner, len(image))
    return RetrievalRanks(
        ranks(_as_query(image), _as_gallery(text, of_text), relevance),
        ranks(_as_query(text), _as_gallery(image, of_image), relevance.transposed()),
        owner,
    )


def _as_query(rows: np.ndarray) -> Float32[np.ndarray, "rows dim1"]:
    return np.column_stack([rows.astype(np.float32, copy=False), np.ones(len(rows), np.float32)])


def _as_gallery(rows: np.ndarray, penalty: np.ndarray) -> Float32[np.ndarray, "rows dim1"]:
    """One more dimension, so that the inner product with a query is the corrected score."""
    return np.column_stack([rows.astype(np.float32, copy=False), -penalty.astype(np.float32, copy=False)])
