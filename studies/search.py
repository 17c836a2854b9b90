"""What a search of images by words finds when captions are known too, and whether its probabilities come true.

    python studies/search.py RUN

Of test, by what dev has chosen: `evaluate` has left the embeddings of both in the run. Each caption is held out once
and asked for, while the images' other captions are known.
"""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np

from pairjepa.apps.search.index import match_probability
from pairjepa.evaluation.embedding_set import EmbeddingSet
from pairjepa.metrics.matching import search_settings
from pairjepa.metrics.mixture import held_out, mixed
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
    for by, match in settings["match"].items():
        scores, own = [], []
        for queries, rows, words in rounds:
            both = mixed(test.image, words, settings["caption_weight"])
            gallery = {"image": test.image, "caption": words, "both": both}[by]
            scores.append(queries @ gallery.T - correction.of_image(gallery))
            own.append(rows)
        every, owner = np.concatenate(scores), np.concatenate(own)
        right = owner[:, None] == np.arange(len(test.image))
        ranks = (every >= every[right][:, None] - 1e-6).sum(axis=1)
        print(f"\n{by}: R@1/5/10 " + " / ".join(f"{100 * (ranks <= k).mean():.1f}" for k in (1, 5, 10)))
        for images in (len(test.image) // 10, len(test.image)):
            some = (np.arange(len(test.image)) < images)[None] & (owner < images)[:, None]
            said, true = match_probability(every[some], match, images), right[some]
            print(f"  of {images:,} images")
            for low, high in pairwise(EDGES):
                if (inside := (said >= low) & (said < high)).any():
                    print(
                        f"    {low:4.2f} to {high:4.2f}: {inside.sum():9,} pairs, said {said[inside].mean():.3f}, "
                        f"true {true[inside].mean():.3f}"
                    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
