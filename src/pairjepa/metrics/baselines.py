"""What a model has to beat: chance, and closed formulas on the same features: ridge CCA and ridge regression.

Axes: images, captions; p and q are the widths of image and text features; dim of the shared space.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Float64, Int
from scipy import linalg

from pairjepa.metrics.relevance import Relevance, checked_owner
from pairjepa.metrics.retrieval import CHUNK_BYTES, RECALLS, chunks, retrieve, rsum
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


RIDGES = (0.3, 1.0, 2.0, 4.0, 8.0)
POWERS = (0.5, 1.0, 1.5)
"""What `RidgeCCA.choose` chooses from."""


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
    """Features → variates of one side; without directions the standardised features themselves."""

    mean: Float64[np.ndarray, " width"]
    scale: Float64[np.ndarray, " width"]
    directions: Float64[np.ndarray, "width dim"] | None = None

    def __call__(
        self, features: Float[np.ndarray, "rows width"], name: str
    ) -> Float32[np.ndarray, "rows dim"]:
        if features.shape[1:] != self.mean.shape:
            raise UsageError(f"{name} must be {len(self.mean)} wide, as in the fit, got {features.shape}.")
        width = len(self.mean) if self.directions is None else self.directions.shape[1]
        out = np.empty((len(features), width), np.float32)
        for part in chunks(len(features), CHUNK_BYTES // (8 * len(self.mean))):
            variates = (features[part] - self.mean) / self.scale
            if self.directions is not None:
                variates = variates @ self.directions
            out[part] = variates / np.linalg.norm(variates, axis=1, keepdims=True).clip(1e-12)
        return out


@dataclass(frozen=True, eq=False)
class ClosedForm:
    """Linear maps of both sides into one space, where they are compared by their cosine."""

    _image: _Side
    _text: _Side

    def image(self, features: Float[np.ndarray, "images p"]) -> Float32[np.ndarray, "images dim"]:
        """Unit-norm embeddings of images."""
        return self._image(features, "image features")

    def text(self, features: Float[np.ndarray, "captions q"]) -> Float32[np.ndarray, "captions dim"]:
        """Unit-norm embeddings of captions."""
        return self._text(features, "text features")

    def arrays(self) -> dict[str, np.ndarray]:
        """All that it consists of."""
        return {
            f"{name}.{field}": array
            for name, side in (("image", self._image), ("text", self._text))
            for field, array in vars(side).items()
            if array is not None
        }

    @staticmethod
    def from_arrays(arrays: Mapping[str, np.ndarray]) -> "ClosedForm":
        """The inverse of `arrays`."""
        image, text = (
            _Side(arrays[f"{name}.mean"], arrays[f"{name}.scale"], arrays.get(f"{name}.directions"))
            for name in ("image", "text")
        )
        return ClosedForm(image, text)


@dataclass(frozen=True, eq=False)
class Correlations:
    """Correlation matrices of the features of training pairs; every caption is one pair with its image.

    Features are standardised with the mean and standard deviation of the pairs, so that the diagonals are 1.
    """

    x: tuple[Float64[np.ndarray, " p"], Float64[np.ndarray, " p"]]
    """Mean and scale of image features."""
    y: tuple[Float64[np.ndarray, " q"], Float64[np.ndarray, " q"]]
    xx: Float64[np.ndarray, "p p"]
    yy: Float64[np.ndarray, "q q"]
    xy: Float64[np.ndarray, "p q"]

    @classmethod
    def fit(
        cls,
        image_features: Rows,
        text_features: Rows,
        owner: Int[np.ndarray, " captions"],
        *,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> "Correlations":
        """Of training pairs, in float64.

        Args:
            image_features: One row an image, never repeated for its captions; read block by block.
            text_features: One row a caption.
            owner: For each caption, the row of its image.
            chunk_bytes: Size of a temporary block of features.

        Raises:
            UsageError: shapes disagree, a value is not finite, or there is no pair.
        """
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
        return cls(*sums.correlations())


def ridge_to_text(correlations: Correlations, ridge: float = 1.0) -> ClosedForm:
    """Ridge regression of caption features on image features (Hoerl and Kennard 1970): prediction, in closed form.

    It whitens the image side alone; the captions stay as they are, so that what varies most in them counts most,
    whether an image can tell it or not. `ridge` is added to the diagonal of the correlation matrix.
    """
    c = correlations
    directions = linalg.solve(c.xx + ridge * np.eye(len(c.xx)), c.xy, assume_a="pos")
    return ClosedForm(_Side(*c.x, directions), _Side(*c.y))


def ridge_to_image(correlations: Correlations, ridge: float = 1.0) -> ClosedForm:
    """`ridge_to_text` the other way: of image features on caption features."""
    c = correlations
    directions = linalg.solve(c.yy + ridge * np.eye(len(c.yy)), c.xy.T, assume_a="pos")
    return ClosedForm(_Side(*c.x), _Side(*c.y, directions))


@dataclass(frozen=True, eq=False)
class RidgeCCA(ClosedForm):
    """Regularised canonical correlation analysis of image and caption features (Vinod 1976).

    `ridge` is added to the diagonal of the correlation matrices Sxx and Syy. The singular vectors of
    (Sxx + ridge·I)^-½ Sxy (Syy + ridge·I)^-½ give the directions, its singular values ρ are the (regularised)
    canonical correlations. Variates are scaled by a power of ρ and compared by their cosine, as in normalised CCA
    (Gong, Ke, Isard and Lazebnik 2014); ½ makes them the posterior means of probabilistic CCA (Bach and Jordan 2005,
    with M1 = M2 = P^½). The fewer the pairs, the more of both ridge and power `choose` finds best.
    """

    correlations: Float64[np.ndarray, " dim"]
    """ρ, descending."""

    @classmethod
    def choose(
        cls,
        correlations: Correlations,
        image: Float[np.ndarray, "images p"],
        text: Float[np.ndarray, "captions q"],
        owner: Int[np.ndarray, " captions"],
        dim: int = 512,
    ) -> "RidgeCCA":
        """The one whose ridge, and then whose power of ρ, have the highest rsum on a dev split.

        Args:
            correlations: Of the training pairs.
            image: Features of the dev images.
            text: Features of the dev captions.
            owner: For each dev caption, the row of its image.
            dim: Most directions to keep.
        """

        def reached(form: RidgeCCA) -> float:
            return rsum(retrieve(form.image(image), form.text(text), owner))

        best = max((cls.of(correlations, ridge, 1.0, dim) for ridge in RIDGES), key=reached)
        return max((best.scaled(power - 1.0) for power in POWERS), key=reached)

    def scaled(self, power: float) -> "RidgeCCA":
        """The same with variates scaled by so many more powers of ρ."""
        arrays, scale = self.arrays(), self.correlations**power
        image, text = (
            _Side(arrays[f"{side}.mean"], arrays[f"{side}.scale"], arrays[f"{side}.directions"] * scale)
            for side in ("image", "text")
        )
        return RidgeCCA(image, text, self.correlations)

    @classmethod
    def of(
        cls, correlations: Correlations, ridge: float = 1.0, power: float = 0.5, dim: int = 512
    ) -> "RidgeCCA":
        """From correlation matrices.

        Args:
            correlations: Of the training pairs.
            ridge: Added to their diagonals.
            power: Of ρ, by which variates are scaled.
            dim: Most directions to keep; there are no more than min(p, q).

        Raises:
            UsageError: `ridge` is not positive.
        """
        if not ridge > 0:
            raise UsageError(f"ridge must be positive, got {ridge}.")
        c = correlations
        x_factor = linalg.cholesky(c.xx + ridge * np.eye(len(c.xx)), lower=True)
        y_factor = linalg.cholesky(c.yy + ridge * np.eye(len(c.yy)), lower=True)
        whitened = linalg.solve_triangular(x_factor, c.xy, lower=True)
        whitened = linalg.solve_triangular(y_factor, whitened.T, lower=True).T
        left, rho, right = _top_singular(whitened, dim)
        scale = rho**power
        image = linalg.solve_triangular(x_factor, left, lower=True, trans="T") * scale
        text = linalg.solve_triangular(y_factor, right, lower=True, trans="T") * scale
        return cls(_Side(*c.x, image), _Side(*c.y, text), rho)


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
