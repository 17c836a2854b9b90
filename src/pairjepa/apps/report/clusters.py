"""Groups of points in the shared space, each named by the words that set its captions apart.

Axes: images, captions; points (predictions first, then targets); clusters, words.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Int64

from pairjepa.backbones.masking import FUNCTION_WORDS

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
