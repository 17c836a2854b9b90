"""A map of predictions and targets together: t-SNE, PCA or UMAP, how far it can be trusted, and its groups of points.

Groups are named by the words that set their captions apart.

Axes: images, captions; points (predictions first, then targets); clusters, words; dim of the shared space.
"""

import importlib.util
import math
import re
from collections import Counter
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Int64

from pairjepa.backbones.masking import FUNCTION_WORDS
from pairjepa.evaluation.embedding_set import EmbeddingSet
from pairjepa.metrics.geometry import FLOAT32_NOISE, trustworthiness
from pairjepa.util.errors import missing_extra, unknown

METHODS = {
    "tsne": ("openTSNE", "opentsne", "report"),
    "pca": ("sklearn", "scikit-learn", "report"),
    "umap": ("umap", "umap-learn", "umap"),
}
"""Each with the module that computes it, its package and our extra that brings it."""
PCA_WIDTH = 50  # what t-SNE starts from: quicker and less noisy (van der Maaten and Hinton 2008)
PERPLEXITY = 30
UMAP_NEIGHBOURS = 15
LEAST_POINTS = 3
LEAST_TSNE = 5  # points, below which a neighbourhood says nothing
TRUST_NEIGHBOURS = 10
TRUST_POINTS = 6_000  # more are sampled: the cost is quadratic


def check_method(method: str) -> None:
    """Raise if a projection cannot be made, before anything is computed.

    Raises:
        UsageError: the method is unknown.
        PairJEPAError: its package is not installed.
    """
    if method not in METHODS:
        raise unknown("projection", method, METHODS)
    for module, package, extra in (METHODS["pca"], METHODS[method]):  # PCA's is that of the clusters too
        if importlib.util.find_spec(module) is None:
            raise missing_extra(package, extra)


def project(
    embeddings: EmbeddingSet, method: str, *, points: int, seed: int
) -> tuple[dict[str, Any] | None, str | None]:
    """A map of a split, or `None` where there is none, and a sentence if it is not the one that was asked for.

    Args:
        embeddings: Both sides of the split.
        method: One of `METHODS`.
        points: Most points; of more, whole images with all their captions are sampled.
        seed: Of the sample, the projection and the clusters.
    """
    images, captions = sample(embeddings.owner, len(embeddings.image), points, seed)
    rows = np.concatenate([embeddings.image[images], embeddings.text[captions]])
    if len(rows) < LEAST_POINTS:
        return None, f"There is no map: it takes {LEAST_POINTS} points, and there are {len(rows)}."
    if float(rows.var(axis=0, dtype=np.float64).sum()) < FLOAT32_NOISE**2:
        return None, "There is no map: every embedding lies in the same place (total collapse)."
    note = None
    if method != "pca" and len(rows) < LEAST_TSNE:
        note = f"The map is by PCA: {len(rows)} points have no neighbourhoods to keep."
        method = "pca"
    place, settings = {"tsne": _tsne, "pca": _pca, "umap": _umap}[method](rows, seed)
    owner = np.searchsorted(images, embeddings.owner[captions])
    label, named = clusters(
        embeddings.image[images],
        embeddings.text[captions],
        [embeddings.captions[c] for c in captions],
        owner,
        seed,
    )
    settings |= {
        "points": f"{len(images):,} predictions and {len(captions):,} targets"
        + ("" if len(images) == len(embeddings.image) else f", of {len(embeddings.image):,} sampled images"),
        "seed": str(seed),
    }
    return {
        "method": method,
        "x": _rounded(place[:, 0]),
        "y": _rounded(place[:, 1]),
        "kind": [0] * len(images) + [1] * len(captions),
        "row": [*images.tolist(), *captions.tolist()],
        "link": [-1] * len(images) + owner.tolist(),
        "cluster": label.tolist(),
        "clusters": named,
        "trustworthiness": _trustworthiness(rows, place, seed),
        "settings": settings,
        "note": _reading(method),
    }, note


def sample(
    owner: Int64[np.ndarray, " captions"], images: int, points: int, seed: int
) -> tuple[Int64[np.ndarray, " some_images"], Int64[np.ndarray, " some_captions"]]:
    """Rows of images and of all their captions, in order: as many images as fit into `points`, one at least."""
    order = np.random.default_rng(seed).permutation(images)
    needed = np.cumsum(1 + np.bincount(owner, minlength=images)[order])
    chosen = np.sort(order[: max(1, int(np.searchsorted(needed, points, side="right")))])
    return chosen, np.flatnonzero(np.isin(owner, chosen))


def _pca(
    rows: Float[np.ndarray, "points dim"], seed: int, width: int = 2
) -> tuple[Float[np.ndarray, "points width"], dict[str, str]]:
    from sklearn.decomposition import PCA

    width = min(width, *rows.shape)
    pca = PCA(width, svd_solver="full" if min(rows.shape) < 500 else "covariance_eigh").fit(rows)
    place = pca.transform(rows)
    place = np.pad(place, ((0, 0), (0, max(0, 2 - width))))
    kept = float(pca.explained_variance_ratio_[:2].sum())
    return place, {
        "method": f"PCA (scikit-learn {metadata.version('scikit-learn')})",
        "variance shown": f"{kept:.0%}",
    }


def _tsne(
    rows: Float[np.ndarray, "points dim"], seed: int
) -> tuple[Float[np.ndarray, "points 2"], dict[str, str]]:
    """Van der Maaten and Hinton 2008, from PCA as Kobak and Berens 2019 advise.

    Between unit vectors Euclidean distance orders as the cosine does.
    """
    from openTSNE import TSNE

    narrow, _ = _pca(rows, seed, PCA_WIDTH)
    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    place = TSNE(
        perplexity=perplexity,
        initialization="pca",
        metric="euclidean",
        neighbors="exact",
        n_jobs=1,  # two threads spin for each other where a core is busy: twice the seconds, the same map
        random_state=seed,
    ).fit(np.asarray(narrow, np.float64))
    return np.asarray(place), {
        "method": f"t-SNE (openTSNE {metadata.version('opentsne')})",
        "perplexity": f"{perplexity:.3g}",
        "before": f"PCA to {narrow.shape[1]} dimensions",
        "begins with": "the first two of them",
        "steps": "250 with exaggeration 12, 500 without",
    }


def _umap(
    rows: Float[np.ndarray, "points dim"], seed: int
) -> tuple[Float[np.ndarray, "points 2"], dict[str, str]]:
    """McInnes, Healy and Melville 2018."""
    from umap import UMAP

    neighbours = min(UMAP_NEIGHBOURS, len(rows) - 1)
    place = UMAP(n_neighbors=neighbours, metric="cosine", random_state=seed, n_jobs=1).fit_transform(rows)
    return np.asarray(place), {
        "method": f"UMAP (umap-learn {metadata.version('umap-learn')})",
        "neighbours": str(neighbours),
        "least distance": "0.1",
    }


def _trustworthiness(
    rows: Float[np.ndarray, "points dim"], place: Float[np.ndarray, "points 2"], seed: int
) -> float | None:
    """`geometry.trustworthiness`; `None` for so few points that it is not defined."""
    if len(rows) > TRUST_POINTS:
        kept = np.random.default_rng(seed).permutation(len(rows))[:TRUST_POINTS]
        rows, place = rows[kept], place[kept]
    neighbours = min(TRUST_NEIGHBOURS, (len(rows) - 1) // 2)
    return round(trustworthiness(rows, place, neighbours=neighbours), 4) if neighbours else None


def _reading(method: str) -> str:
    if method == "pca":
        return "Two directions of many: points that are apart here are apart, points that are together may not be."
    return (
        "Neighbours mean something here; distances between groups, their sizes and their empty spaces do not. "
        "Another seed gives another map."
    )


def _rounded(values: Float[np.ndarray, " points"]) -> list[float]:
    return [round(float(value), 3) for value in values]


MOST = 8  # as many as there are colours that colour-blind readers tell apart (Okabe and Ito 2008)
NAMED_BY = 3
WORD = re.compile(r"[^\W\d_]{2,}")


def clusters(
    image: Float[np.ndarray, "images dim"],
    text: Float[np.ndarray, "captions dim"],
    captions: Sequence[str],
    owner: Int[np.ndarray, " captions"],
    seed: int,
) -> tuple[Int64[np.ndarray, " points"], list[dict[str, Any]]]:
    """The cluster of each point, and `{"words", "size"}` of each cluster, the largest first.

    k-means with k = √(points / 2), at most 8 (the rule of thumb of Mardia, Kent and Bibby 1979). The mean of each
    side is taken away first, so that a modality gap does not split what belongs together.

    Args:
        image: Predictions.
        text: Targets.
        captions: Their words.
        owner: For each caption, the row of its image.
        seed: Of the k-means.
    """
    from sklearn.cluster import KMeans

    rows = np.concatenate([image - image.mean(axis=0), text - text.mean(axis=0)])
    wanted = min(MOST, max(1, round(math.sqrt(len(rows) / 2))), len(np.unique(rows, axis=0)))
    found = KMeans(wanted, n_init=1, random_state=seed).fit_predict(rows)
    largest = np.argsort(-np.bincount(found, minlength=wanted), kind="stable")
    label = np.argsort(largest)[found].astype(np.int64)
    # A prediction speaks by its image's captions, wherever their own targets lie.
    said: list[Counter[str]] = [Counter() for _ in range(wanted)]
    for row, caption in enumerate(captions):
        words = [word for word in WORD.findall(caption.casefold()) if word not in FUNCTION_WORDS]
        said[label[len(image) + row]].update(words)
        said[label[owner[row]]].update(words)
    sizes = np.bincount(label, minlength=wanted)
    return label, [
        {"words": words, "size": int(size)} for words, size in zip(names(said), sizes, strict=True)
    ]


def names(said: Sequence[Counter[str]]) -> list[list[str]]:
    """The three words of each cluster with the highest class-based tf-idf (Grootendorst 2022).

    That is √tf · log(1 + A / f): tf how often the cluster says the word, f how often all do, A the mean number of
    words of a cluster. The root, an option of the author's BERTopic, keeps a word that all clusters say from naming
    several.
    """
    total = sum(said, Counter[str]())
    mean = total.total() / max(len(said), 1)
    return [
        sorted(words, key=lambda word: (-math.sqrt(words[word]) * math.log(1 + mean / total[word]), word))[
            :NAMED_BY
        ]
        for words in said
    ]
