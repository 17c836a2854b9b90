"""What an evaluation says of one small set, written down: a change for speed, or of a seed, is seen here.

Ranks, recalls and medians, and their intervals, are ratios of whole numbers and must not move at all. They were
found by the naive loops of `arrays` and by writing out every resample; what is left is a sum of fractions, whose
last digits hang on the order of summation.
"""

import numpy as np
import pytest

from pairjepa.evaluation.embedding_set import EmbeddingSet
from pairjepa.evaluation.result import evaluate_embeddings as evaluate
from pairjepa.metrics.retrieval import retrieve

from .arrays import naive_ranks, unit

BY_IMAGE = [8, 1, 11, 7, 16, 6, 12, 18, 7, 11, 11, 7, 15, 3, 14, 2, 10, 1, 3, 6]
BY_IMAGE += [15, 5, 1, 9, 12, 10, 6, 1, 12, 2, 10, 13, 15, 3, 8, 7, 13, 7, 1, 13]
BY_TEXT = [2, 2, 7, 5, 2, 1, 11, 5, 5, 2, 12, 6, 1, 6, 11, 3, 5, 11, 4, 6, 4, 6, 4, 3, 10]
BY_TEXT += [3, 4, 4, 5, 1, 4, 10, 5, 6, 3, 11, 2, 3, 3, 8, 1, 3, 2, 3, 1, 7, 6, 1, 7, 8]
BY_TEXT += [6, 3, 2, 15, 3, 1, 5, 8, 4, 1, 11, 2, 2, 3, 7, 2, 3, 9, 2, 2, 3, 9, 1, 2, 8]
BY_TEXT += [5, 2, 8, 11, 3, 1, 1, 7, 1, 1, 5, 3, 2, 6, 8, 1, 9, 8, 1, 1, 1, 6, 1, 1, 9]

EXACT = {
    "image_to_text": {
        "R@1": (12.5, [2.5, 25.0]),
        "R@5": (27.5, [15.0, 42.5]),
        "R@10": (62.5, [47.5, 77.5]),
        "median_rank": (8.0, [6.5, 11.0]),
    },
    "text_to_image": {
        "R@1": (19.0, [11.21235721703012, 28.000934579439246]),
        "R@5": (65.0, [56.70103092783505, 73.27729885057471]),
        "R@10": (92.0, [86.66494845360826, 96.46017699115045]),
        "median_rank": (4.0, [3.0, 5.0]),
    },
}
MRR = {
    "image_to_text": (0.25545943639693636, [0.16913883512321012, 0.35937725989288466]),
    "text_to_image": (0.3947918470418471, [0.33646619204788064, 0.45815254603912087]),
}
COSINE = {
    "matched": (0.6274283478104035, 0.11254151088013885, [0.6060179407969715, 0.6497996463935541]),
    "random": (0.0762659653615061, 0.3239680828581884, [0.05335475121246069, 0.10622303607001517]),
}
GEOMETRY = {
    "uniformity": {"image": -1.8988812066630016, "text": -2.9440148990481463},
    "effective_rank": {"image": 7.681591160405035, "text": 11.711697638618784},
}
DEVIATION = {
    "image": (0.2591613969328474, 0.04239037234979709),
    "text": (0.2798190353995618, 0.227518284738837),
}


def waves(count, step):
    return np.cos(np.outer(np.arange(1, count + 1), np.arange(1, 13)) * step)


@pytest.fixture(scope="module")
def arrays():
    rows = np.arange(40)
    owner = np.repeat(rows, 1 + rows * 7 % 4)
    image = unit(waves(40, 0.7))
    return image, unit(image[owner] + 0.5 * waves(len(owner), 1.9)), owner


@pytest.fixture(scope="module")
def result(arrays):
    image, text, owner = arrays
    names, captions = [str(row) for row in range(40)], [str(row) for row in range(len(owner))]
    return evaluate(EmbeddingSet(image, text, owner, names, captions, "test", "run"), cca=None)


def test_ranks(arrays):
    assert [ranks.tolist() for ranks in naive_ranks(*arrays)] == [BY_IMAGE, BY_TEXT]
    found = retrieve(*arrays)
    assert found.image_to_text.tolist() == BY_IMAGE
    assert found.text_to_image.tolist() == BY_TEXT


@pytest.mark.parametrize("way", EXACT)
def test_recalls_medians_and_their_intervals(result, way):
    found = {name: (result[way][name], result[way][f"{name}_ci"]) for name in EXACT[way]}
    assert found == EXACT[way]
    value, bounds = MRR[way]
    assert [result[way]["mrr"], *result[way]["mrr_ci"]] == pytest.approx([value, *bounds], rel=1e-12)


def test_rsum(result):
    assert (result["rsum"], result["rsum_ci"]) == (278.5, [240.58648132427842, 320.2320631047886])


@pytest.mark.parametrize("pairs", COSINE)
def test_cosines(result, pairs):
    mean, sd, bounds = COSINE[pairs]
    found = result["cosine"][pairs]
    assert [found["mean"], found["sd"], *found["ci"]] == pytest.approx([mean, sd, *bounds], rel=1e-5)


@pytest.mark.parametrize("side", ["image", "text"])
def test_geometry(result, side):
    found = result["geometry"]
    for name, values in GEOMETRY.items():
        assert found[name][side] == pytest.approx(values[side], rel=1e-5)
    spread = found["std_per_dim"][side]
    assert (spread["mean"], spread["min"]) == pytest.approx(DEVIATION[side], rel=1e-5)
