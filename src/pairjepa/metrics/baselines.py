"""What a model has to beat: chance, and ridge CCA, a closed formula on the same features.

Axes: images, captions; p and q are the widths of image and text features; dim of the shared space.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Float64, Int
from scipy import linalg

from pairjepa.metrics.relevance import Relevance, checked_owner
from pairjepa.metrics.retrieval import CHUNK_BYTES, RECALLS, chunks
from pairjepa.util.errors import UsageError


def chance(relevance: Relevance) -> dict[str, Any]:
    """What a random order of the gallery gives on average, exactly; the shape of `retrieval.metrics`.

    With m of N gallery rows relevant the best of them is outside the top K with probability
    C(N-m, K) / C(N, K) (hypergeometric), averaged here over the queries. `median_rank` is the median of the
    mixture of these distributions.

    Args:
        relevance: Image → text; its transpose gives text → image.
    """
    ways = {"image_to_text": relevance, "text_to_image": relevance.transposed()}
    result: dict[str, Any] = {name: _chance(way) for name, way in ways.items()}
    result["rsum"] = sum(result[name][f"R@{k}"] for name in ways for k in RECALLS)
    return result


def missed_by_chance(relevance: Relevance) -> Float64[np.ndarray, " bounds"]:
    """Probability that a random order has nothing relevant in its top K, for K = 0 … gallery, as in `chance`."""
    gallery = relevance.gallery
    missed = np.zeros(gallery + 1)
    for relevant, queries in zip(*np.unique(relevance.sizes, return_counts=True), strict=True):
        others = gallery - relevant
        taken = np.arange(others)
        share = queries / len(relevance)
        missed[0] += share
        missed[1 : others + 1] += share * np.cumprod((others - taken) / (gallery - taken))
    return missed


def _chance(relevance: Relevance) -> dict[str, float]:
    gallery, missed = relevance.gallery, missed_by_chance(relevance)
    recalls = {f"R@{k}": 100 * float(1 - missed[min(k, gallery)]) for k in RECALLS}
    mrr = float((-np.diff(missed) / np.arange(1, gallery + 1)).sum())
    return recalls | {"median_rank": float(np.argmax(missed <= 0.5 + 1e-9)), "mrr": mrr}


@runtime_checkable
class Rows(Protocol):
    """An array of features, or what is read only where it is indexed."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, width)."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class _Side:
    """Features → canonical variates of one side."""

    mean: Float64[np.ndarray, " width"]
    scale: Float64[np.ndarray, " width"]
    directions: Float64[np.ndarray, "width dim"]

    def __call__(
        self, features: Float[np.ndarray, "rows width"], name: str
    ) -> Float32[np.ndarray, "rows dim"]:
        if features.shape[1:] != self.mean.shape:
            raise UsageError(f"{name} must be {len(self.mean)} wide, as in the fit, got {features.shape}.")
        out = np.empty((len(features), self.directions.shape[1]), np.float32)
        for part in chunks(len(features), CHUNK_BYTES // (8 * len(self.mean))):
            variates = (features[part] - self.mean) / self.scale @ self.directions
            out[part] = variates / np.linalg.norm(variates, axis=1, keepdims=True).clip(1e-12)
        return out


@dataclass(frozen=True, eq=False)
class RidgeCCA:
    """Regularised canonical correlation analysis of image and caption features (Vinod 1976).

    Features are standardised with the mean and standard deviation of the training pairs, so their covariances
    Sxx and Syy are correlation matrices with a diagonal of 1; `ridge` is added to that diagonal of both. The
    singular vectors of (Sxx + ridge·I)^-½ Sxy (Syy + ridge·I)^-½ give the directions, its singular values ρ are
    the (regularised) canonical correlations. Variates are scaled by ρ^½, which makes them the posterior means
    of probabilistic CCA (Bach and Jordan 2005, with M1 = M2 = P^½), and compared by their cosine, as in
    normalised CCA (Gong, Ke, Isard and Lazebnik 2014, who scale by a higher power of ρ; here ½ was the best of
    0, ½, 1, 2, 4 on Flickr8k's dev split).
    """

    correlations: Float64[np.ndarray, " dim"]
    """ρ, descending."""
    _image: _Side
    _text: _Side

    @classmethod
    def fit(
        cls,
        image_features: Rows,
        text_features: Rows,
        owner: Int[np.ndarray, " captions"],
        *,
        ridge: float = 1.0,
        dim: int = 512,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> "RidgeCCA":
        """Fit on training pairs; every caption is one pair with its image, in float64.

        Args:
            image_features: One row an image, never repeated for its captions; read block by block.
            text_features: One row a caption.
            owner: For each caption, the row of its image.
            ridge: Added to the diagonal of the correlation matrices.
            dim: Most directions to keep; there are no more than min(p, q).
            chunk_bytes: Size of a temporary block of features.

        Raises:
            UsageError: shapes disagree, a value is not finite, `ridge` is not positive, or there is no pair.
        """
        if not ridge > 0:
            raise UsageError(f"ridge must be positive, got {ridge}.")
        owner = checked_owner(owner, len(image_features))
        if len(owner) != len(text_features) or not len(owner):
            raise UsageError(
                f"owner must name an image for each caption, got {len(owner)} for {len(text_features)}."
            )
        captions_of = np.bincount(owner, minlength=len(image_features))
        p, q = image_features.shape[1], text_features.shape[1]
        sums = _Sums(p, q)
        for images, captions in _blocks(owner, len(image_features), chunk_bytes // (8 * (p + q))):
            sums.add(
                image_features[images],
                text_features[captions],
                owner[captions] - images.start,
                captions_of[images],
            )
        if not np.isfinite([sums.x.sum(), sums.y.sum()]).all():
            raise UsageError("Features must be finite, got NaN or infinity. Compute them again.")
        (x_mean, x_scale), (y_mean, y_scale), xx, yy, xy = sums.correlations()
        x_factor = linalg.cholesky(xx + ridge * np.eye(p), lower=True)
        y_factor = linalg.cholesky(yy + ridge * np.eye(q), lower=True)
        whitened = linalg.solve_triangular(x_factor, xy, lower=True)
        whitened = linalg.solve_triangular(y_factor, whitened.T, lower=True).T
        left, correlations, right = _top_singular(whitened, dim)
        scale = np.sqrt(correlations)
        return cls(
            correlations,
            _Side(x_mean, x_scale, linalg.solve_triangular(x_factor, left, lower=True, trans="T") * scale),
            _Side(y_mean, y_scale, linalg.solve_triangular(y_factor, right, lower=True, trans="T") * scale),
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """All that it consists of."""
        sides = {"image": self._image, "text": self._text}
        return {"correlations": self.correlations} | {
            f"{name}.{field}": array for name, side in sides.items() for field, array in vars(side).items()
        }

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray]) -> "RidgeCCA":
        """The inverse of `arrays`."""
        image, text = (
            _Side(*(arrays[f"{name}.{field.name}"] for field in fields(_Side))) for name in ("image", "text")
        )
        return cls(arrays["correlations"], image, text)

    def image(self, features: Float[np.ndarray, "images p"]) -> Float32[np.ndarray, "images dim"]:
        """Unit-norm embeddings of images."""
        return self._image(features, "image features")

    def text(self, features: Float[np.ndarray, "captions q"]) -> Float32[np.ndarray, "captions dim"]:
        """Unit-norm embeddings of captions."""
        return self._text(features, "text features")


class _Sums:
    """Sums of features and of their products over pairs, in float64; around those of the first block.

    Squares around a far-away origin would cancel; around the mean of some pairs they do not.
    """

    def __init__(self, p: int, q: int) -> None:
        self.pairs = 0
        self.x, self.y = np.zeros(p), np.zeros(q)
        self.xx, self.yy, self.xy = np.zeros((p, p)), np.zeros((q, q)), np.zeros((p, q))

    def add(
        self,
        images: Float[np.ndarray, "images p"],
        captions: Float[np.ndarray, "captions q"],
        owner: Int[np.ndarray, " captions"],
        captions_of: Int[np.ndarray, " images"],
    ) -> None:
        """Add all pairs of some images and captions."""
        x, y = images.astype(np.float64), captions.astype(np.float64)
        if not self.pairs:
            self._x_origin, self._y_origin = x.mean(axis=0), y.mean(axis=0) if len(y) else self.y
        x, y = x - self._x_origin, y - self._y_origin
        caption_sums = np.zeros((len(x), y.shape[1]))
        np.add.at(caption_sums, owner, y)
        weighted = x * np.sqrt(captions_of)[:, None]
        self.pairs += len(y)
        self.x += captions_of @ x
        self.y += y.sum(axis=0)
        self.xx += weighted.T @ weighted
        self.yy += y.T @ y
        self.xy += x.T @ caption_sums

    def correlations(self) -> tuple[Any, Any, np.ndarray, np.ndarray, np.ndarray]:
        """Mean and scale of both sides, and the correlation matrices within and between them."""
        x, y = self.x / self.pairs, self.y / self.pairs
        xx, yy = self.xx / self.pairs - np.outer(x, x), self.yy / self.pairs - np.outer(y, y)
        xy = self.xy / self.pairs - np.outer(x, y)
        x_mean, y_mean = self._x_origin + x, self._y_origin + y
        x_scale, y_scale = _scale(xx, x_mean), _scale(yy, y_mean)
        xx /= np.outer(x_scale, x_scale)
        yy /= np.outer(y_scale, y_scale)
        return (x_mean, x_scale), (y_mean, y_scale), xx, yy, xy / np.outer(x_scale, y_scale)


def _scale(
    covariance: Float64[np.ndarray, "width width"], mean: Float64[np.ndarray, " width"]
) -> Float64[np.ndarray, " width"]:
    """Standard deviation of each feature; one that never changes has the scale 1."""
    scale = np.sqrt(np.diag(covariance).clip(0))
    return np.where(scale > 1e-6 * np.maximum(np.abs(mean), 1e-6), scale, 1.0)


def _blocks(
    owner: Int[np.ndarray, " captions"], images: int, rows: int
) -> Iterator[tuple[slice, Int[np.ndarray, " block"]]]:
    """Consecutive images with the rows of all their captions."""
    order = np.argsort(owner, kind="stable")
    ends = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=images))])
    for part in chunks(images, rows * images // max(len(owner), images)):
        yield part, order[ends[part.start] : ends[part.stop]]


def _top_singular(
    matrix: Float64[np.ndarray, "p q"], count: int
) -> tuple[Float64[np.ndarray, "p dim"], Float64[np.ndarray, " dim"], Float64[np.ndarray, "q dim"]]:
    """The largest singular triplets, from the smaller Gram matrix: seconds where an SVD takes minutes."""
    if matrix.shape[0] < matrix.shape[1]:
        right, values, left = _top_singular(matrix.T, count)
        return left, values, right
    width = matrix.shape[1]
    squared, right = linalg.eigh(matrix.T @ matrix, subset_by_index=[max(0, width - count), width - 1])
    # Below this a squared value is rounding; at least one direction stays, so that there is an embedding.
    keep = squared > max(squared[-1] * 1e-12, 1e-300)
    keep[-1] = True
    values, right = np.sqrt(squared[keep].clip(1e-300))[::-1], right[:, keep][:, ::-1]
    return matrix @ right / values, values, right
