"""Recall curves, cosines, margins and hubs, held against naive loops."""

import numpy as np
import pytest

from pairjepa.apps.report.curves import cosines, margins, recall_curves
from pairjepa.evaluation.result import evaluate_embeddings as evaluate
from pairjepa.metrics.geometry import spectrum, spread
from pairjepa.metrics.occurrence import occurrence
from pairjepa.metrics.relevance import Relevance
from pairjepa.metrics.retrieval import best_scores, retrieve, top_k
from pairjepa.metrics.verdicts import hubs, modality_gap

from .runs import embeddings, unit


@pytest.fixture(scope="module")
def found():
    return embeddings(60)


@pytest.fixture(scope="module")
def relevance(found):
    return Relevance.by_owner(found.owner, len(found.image))


def test_curves_go_through_the_evaluation(found, relevance):
    """At K = 1, 5 and 10 recall, interval and chance are those of `evaluate`."""
    ranks = retrieve(found.image, found.text, found.owner)
    curves, expected = (
        recall_curves(ranks, relevance, draws=300, seed=5),
        evaluate(found, cca=None, draws=300, seed=5),
    )
    for way in ("image_to_text", "text_to_image"):
        for k in (1, 5, 10):
            at = {name: values[k - 1] for name, values in curves[way].items()}
            low, high = expected[way][f"R@{k}_ci"]
            assert at["recall"] == pytest.approx(expected[way][f"R@{k}"])
            assert (at["low"], at["high"]) == (pytest.approx(low), pytest.approx(high))
            assert at["chance"] == pytest.approx(expected["baselines"]["chance"][way][f"R@{k}"])
        assert curves[way]["recall"] == sorted(curves[way]["recall"])
        assert curves[way]["chance"] == sorted(curves[way]["chance"])
    assert curves["text_to_image"]["recall"][59:] == [100.0] * 41  # the gallery has 60 images
    assert curves["text_to_image"]["chance"][59:] == pytest.approx([100.0] * 41)


def test_best_scores_are_those_of_a_loop(found, relevance, monkeypatch):
    monkeypatch.setattr("pairjepa.metrics.retrieval.CHUNK_BYTES", 4096)
    scores, own = found.image @ found.text.T, found.owner == np.arange(60)[:, None]
    of_images = best_scores(found.image, found.text, relevance)
    of_texts = best_scores(found.text, found.image, relevance.transposed())
    for axis, best in ((1, of_images), (0, of_texts)):
        for got, mask in zip(best, (own, ~own), strict=True):
            np.testing.assert_allclose(got, np.where(mask, scores, -np.inf).max(axis=axis), atol=1e-6)
    margin = margins(*of_images, seed=0)
    assert margin["own"] == [round(float(x), 4) for x in of_images[0]]
    one = embeddings(1)
    alone = best_scores(one.image, one.text, Relevance.by_owner(one.owner, 1))
    assert margins(*alone, seed=0) is None


def test_the_top_is_that_of_a_full_sort(found, monkeypatch):
    monkeypatch.setattr("pairjepa.metrics.retrieval.CHUNK_BYTES", 3000)
    scores = found.image @ found.text.T
    np.testing.assert_array_equal(top_k(found.image, found.text, 7), np.argsort(-scores, axis=1)[:, :7])
    assert top_k(found.image, found.text, 999).shape == scores.shape


def test_cosines_are_densities(found):
    drawn = cosines(found, seed=0)
    width = np.diff(drawn["edges"])
    matched = np.einsum("cd,cd->c", found.image[found.owner], found.text)
    middle = (np.array(drawn["edges"][1:]) + drawn["edges"][:-1]) / 2
    for side in ("matched", "random"):
        assert (np.array(drawn[side]) * width).sum() == pytest.approx(1)
    assert (np.array(drawn["matched"]) * width * middle).sum() == pytest.approx(matched.mean(), abs=width[0])
    assert cosines(embeddings(1), seed=0)["random"] is None


def test_hubness_counts_who_is_found():
    """A gallery row that points where all queries point is in every top 10."""
    rng = np.random.default_rng(0)
    queries = unit(rng.normal(size=(80, 12)) + 2)
    gallery = unit(np.concatenate([np.ones((3, 12)), rng.normal(size=(97, 12))]))
    of = occurrence(queries, gallery)
    times = np.zeros(100, int)
    for row in np.argsort(-(queries @ gallery.T), axis=1)[:, :10]:
        times[row] += 1
    assert of["counts"] == np.bincount(times).tolist()
    assert of["never"] == np.mean(times == 0)
    deviation = times - times.mean()
    assert of["skewness"] == pytest.approx(np.mean(deviation**3) / np.mean(deviation**2) ** 1.5)
    ordered = np.sort(times)[::-1].cumsum()
    enough = int((ordered < 400).sum())  # 80 queries have 800 places
    assert enough / 100 < of["share_for_half"] <= (enough + 1) / 100
    assert hubs("captions", of)[:2] == ("bad", "hubs among the captions")


def test_random_answers_are_even():
    rng = np.random.default_rng(0)
    of = occurrence(unit(rng.normal(size=(2000, 400))), unit(rng.normal(size=(200, 400))))
    even = of["even"]
    assert even["share_for_half"] == pytest.approx(0.48, abs=0.02)
    assert even["skewness"] == pytest.approx((1 - 2 * 0.05) / np.sqrt(2000 * 0.05 * 0.95), rel=1e-6)
    assert hubs("images", of).level == "good"
    small = occurrence(unit(rng.normal(size=(9, 4))), unit(rng.normal(size=(6, 4))))
    assert (small["k"], small["skewness"], small["share_for_half"]) == (6, None, 0.5)
    assert hubs("images", small).level == "info"


def test_the_spectrum_is_the_spread_of_each_direction(found):
    values = spectrum(found.text)
    centred = found.text - found.text.mean(axis=0)
    np.testing.assert_allclose(
        values, np.linalg.svd(centred, compute_uv=False) / np.sqrt(len(centred)), atol=1e-5
    )
    share = values / values.sum()
    assert spread(found.text).effective_rank == pytest.approx(np.exp(-(share * np.log(share)).sum()))


@pytest.mark.parametrize(
    ("gap", "images", "level", "said"),
    [
        (0.1, 1000, "good", "a small gap"),
        (0.5, 1000, "info", "regions of their own"),
        (0.9, 1000, "warn", "as far as in CLIP"),
        (0.5, 10, "good", "so few rows lie about 0.35 apart by chance"),
    ],
)
def test_a_gap_is_judged_beside_what_chance_gives(gap, images, level, said):
    verdict = modality_gap(gap, 1.2, images)
    assert verdict.level == level
    assert said in verdict.text
