"""Small ragged data, and the naive loops that the fast code is held against."""

import numpy as np

from pairjepa.metrics.bootstrap import bootstrap, difference
from pairjepa.metrics.retrieval import metrics

RECALLS = (1, 5, 10)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def ragged(images=9, dim=8, seed=0, noise=1.0):
    """Images own 1 to 4 captions, in no order; a caption is its image plus noise."""
    rng = np.random.default_rng(seed)
    owner = rng.permutation(np.repeat(np.arange(images), rng.integers(1, 5, images)))
    image = rng.normal(size=(images, dim))
    text = image[owner] + noise * rng.normal(size=(len(owner), dim))
    return unit(image), unit(text), owner


def naive_rank(query, gallery, relevant):
    """The definition, one pair at a time in float64."""
    scores = [float(np.dot(query.astype(np.float64), row.astype(np.float64))) for row in gallery]
    best = max(scores[item] for item in relevant)
    return 1 + sum(score >= best - 1e-6 for item, score in enumerate(scores) if item not in relevant)


def naive_ranks(image, text, owner):
    own = [set(np.flatnonzero(owner == row)) for row in range(len(image))]
    return (
        np.array([naive_rank(query, text, own[row]) for row, query in enumerate(image)]),
        np.array([naive_rank(query, image, {owner[row]}) for row, query in enumerate(text)]),
    )


def paired_bootstrap(first, second, **options):
    """The difference of two rankings of the same images."""
    return difference(
        metrics(first), metrics(second), bootstrap(first, **options), bootstrap(second, **options)
    )
