"""What a model has to beat: chance, and closed formulas on the same features: ridge CCA and ridge regression.

Axes: images, captions; p and q are the widths of image and text features; dim of the shared space.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64, Int
from scipy import linalg

from pairjepa.metrics.relevance import Relevance, checked_owner
from pairjepa.metrics.retrieval import RECALLS, chunks, retrieve, rsum
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


Read = Callable[[Int[np.ndarray, " rows"]], Float[np.ndarray, "rows width"]]
"""Features of some rows."""


@dataclass(frozen=True, eq=False)
class ClosedForm:
    """Linear maps of both sides into one space, where they are compared by their cosine."""

    arrays: Mapping[str, np.ndarray]
    """`image.mean`, `image.scale` and `image.directions` (features → variates), and the same of `text`; a side without
    directions is compared by its standardised features."""

    def image(self, features: Float[np.ndarray, "images p"]) -> Float32[np.ndarray, "images dim"]:
        """Unit-norm embeddings of images."""
        return self._embedded("image", features)

    def text(self, features: Float[np.ndarray, "captions q"]) -> Float32[np.ndarray, "captions dim"]:
        """Unit-norm embeddings of captions."""
        return self._embedded("text", features)

    def _embedded(
        self, side: str, features: Float[np.ndarray, "rows width"]
    ) -> Float32[np.ndarray, "rows dim"]:
        mean, scale = self.arrays[f"{side}.mean"], self.arrays[f"{side}.scale"]
        if features.shape[1:] != mean.shape:
            raise UsageError(
                f"{side} features must be {len(mean)} wide, as in the fit, got {features.shape}."
            )
        directions = self.arrays.get(f"{side}.directions")
        out = np.empty((len(features), len(mean) if directions is None else directions.shape[1]), np.float32)
        for part in chunks(len(features), 8 * len(mean)):
            variates = (features[part] - mean) / scale
            if directions is not None:
                variates = variates @ directions
            out[part] = variates / np.linalg.norm(variates, axis=1, keepdims=True).clip(1e-12)
        return out


@dataclass(frozen=True, eq=False)
class Correlations:
    """Correlation matrices of the features of training pairs; every caption is one pair with its image.

    Features are standardised with the mean and standard deviation of the pairs, so that the diagonals are 1.
    """

    standardized: Mapping[str, Float64[np.ndarray, " width"]]
    """`image.mean`, `image.scale` and the same of `text`, as `ClosedForm` has them."""
    xx: Float64[np.ndarray, "p p"]
    yy: Float64[np.ndarray, "q q"]
    xy: Float64[np.ndarray, "p q"]

    @classmethod
    def fit(
        cls,
        image_features: Read,
        text_features: Read,
        owner: Int[np.ndarray, " captions"],
        images: int,
    ) -> "Correlations":
        """Of training pairs, in float64.

        Args:
            image_features: Reads rows of images, block by block and each once, never repeated for its captions.
            text_features: The same of captions.
            owner: For each caption, the row of its image.
            images: Number of images.

        Raises:
            UsageError: `owner` names no image, a value is not finite, or there is no pair.
        """
        owner = checked_owner(owner, images)
        if not len(owner):
            raise UsageError("owner must name an image for each caption, got no caption.")
        captions_of = np.bincount(owner, minlength=images)
        order, ends = np.argsort(owner, kind="stable"), np.concatenate([[0], captions_of.cumsum()])
        # Squares around a far-away origin would cancel; around some row of the features they do not.
        first = np.zeros(1, np.int64)
        x_origin, y_origin = (read(first)[0].astype(np.float64) for read in (image_features, text_features))
        p, width = len(x_origin), len(x_origin) + len(y_origin)
        mean, covariance = np.zeros(width), np.zeros((width, width))
        for part in chunks(images, 8 * width * max(len(owner) / images, 1)):
            captions = order[ends[part.start] : ends[part.stop]]
            x = image_features(np.arange(part.start, part.stop)) - x_origin
            y = text_features(captions) - y_origin
            of_image = np.zeros((len(x), width - p))
            np.add.at(of_image, owner[captions] - part.start, y)
            weighted = x * np.sqrt(captions_of[part])[:, None]
            mean += np.concatenate([captions_of[part] @ x, y.sum(axis=0)])
            covariance[:p, :p] += weighted.T @ weighted
            covariance[p:, p:] += y.T @ y
            covariance[:p, p:] += x.T @ of_image
        if not np.isfinite(mean).all():
            raise UsageError("Features must be finite, got NaN or infinity. Compute them again.")
        mean /= len(owner)
        covariance = covariance / len(owner) - np.outer(mean, mean)
        mean += np.concatenate([x_origin, y_origin])
        scale = np.sqrt(np.diag(covariance).clip(0))
        # 1 of one that never changes
        scale = np.where(scale > 1e-6 * np.maximum(np.abs(mean), 1e-6), scale, 1.0)
        c = covariance / np.outer(scale, scale)
        image = {"image.mean": mean[:p], "image.scale": scale[:p]}
        text = {"text.mean": mean[p:], "text.scale": scale[p:]}
        return cls(image | text, c[:p, :p], c[p:, p:], c[:p, p:])


def ridge_to_text(correlations: Correlations, ridge: float = 1.0) -> ClosedForm:
    """Ridge regression of caption features on image features (Hoerl and Kennard 1970): prediction, in closed form.

    It whitens the image side alone; the captions stay as they are, so that what varies most in them counts most,
    whether an image can tell it or not. `ridge` is added to the diagonal of the correlation matrix.
    """
    c = correlations
    directions = linalg.solve(c.xx + ridge * np.eye(len(c.xx)), c.xy, assume_a="pos")
    return ClosedForm({**c.standardized, "image.directions": directions})


def ridge_to_image(correlations: Correlations, ridge: float = 1.0) -> ClosedForm:
    """`ridge_to_text` the other way: of image features on caption features."""
    c = correlations
    directions = linalg.solve(c.yy + ridge * np.eye(len(c.yy)), c.xy.T, assume_a="pos")
    return ClosedForm({**c.standardized, "text.directions": directions})


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
        scale = self.correlations**power
        return RidgeCCA(
            {name: a * scale if name.endswith("directions") else a for name, a in self.arrays.items()},
            self.correlations,
        )

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
        return cls({**c.standardized, "image.directions": image, "text.directions": text}, rho)


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
