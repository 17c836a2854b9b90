"""What a search of images by words finds when captions are known too, and whether its probabilities come true.

    python studies/search.py RUN [INDEX]

Of test, by what dev has chosen: `evaluate` has left the embeddings of both in the run. Each caption is held out once
and asked for, while the images' other captions are known. Of an index, here of the test images: the probability of the
best image for words, a line each, read from stdin.
"""

import sys
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np

from pairjepa.apps.search import Index
from pairjepa.apps.search.index import probability_of
from pairjepa.evaluation.embedding_set import EmbeddingSet
from pairjepa.metrics.matching import PRIOR, held_out, mixed, search_settings
from pairjepa.model import correction as kept_correction
from pairjepa.util.errors import PairJEPAError

EDGES = (0.0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)


def main(run: Path) -> None:
    """Print both tables."""
    dev, test = (EmbeddingSet.load(run / "embeddings" / split) for split in ("dev", "test"))
    correction = kept_correction.load(run, test.run)
    if correction is None:
        raise PairJEPAError(f"{run} must hold its hubness correction. Evaluate it again.")
    settings = search_settings(dev.image, dev.text, dev.owner, correction)
    print(f"weight of the captions: {settings['caption_weight']}")
    rounds = held_out(test.image, test.text, test.owner)
    for by, fit in settings["fit"].items():
        scores, cosines, own = [], [], []
        for queries, rows, words in rounds:
            both = mixed(test.image, words, settings["caption_weight"])
            gallery = {"image": test.image, "caption": words, "both": both}[by]
            cosines.append(queries @ gallery.T)
            scores.append(cosines[-1] - correction.of_image(gallery))
            own.append(rows)
        every, owner = np.concatenate(scores), np.concatenate(own)
        right = owner[:, None] == np.arange(len(test.image))
        ranks = (every >= every[right][:, None] - 1e-6).sum(axis=1)
        print(f"\n{by}: R@1/5/10 " + " / ".join(f"{100 * (ranks <= k).mean():.1f}" for k in (1, 5, 10)))
        said = probability_of(np.concatenate(cosines), fit)
        weight = np.where(right, PRIOR / right.mean(), (1 - PRIOR) / (1 - right.mean()))
        print(
            f"  at 0.5: {(said[right] >= 0.5).mean():.1%} of own images, {(said[~right] >= 0.5).mean():.2%} of others"
        )
        for low, high in pairwise(EDGES):
            if (inside := (said >= low) & (said < high)).any():
                means = [(some * weight)[inside].sum() / weight[inside].sum() for some in (said, right)]
                print(f"    {low:4.2f} to {high:4.2f}: said {means[0]:.3f}, true {means[1]:.3f}")


def best(index: Index, lines: Iterable[str]) -> None:
    """Print how probably the best image fits each line."""
    encoder = index.encoder()
    for line in filter(None, map(str.strip, lines)):
        query = encoder.encode_text(line)[0]
        likely = [max(hit.probability or 0 for hit in index.search(query, by=by)) for by in ("image", "both")]
        print(f"{line}: by image {likely[0]:.2f}, by both {likely[1]:.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    if len(sys.argv) > 2:
        best(Index.open(sys.argv[2]), sys.stdin)
