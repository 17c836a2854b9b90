"""Partial-caption queries: one caption to find, ties against the model, the unit is the image."""

import numpy as np
import pytest

from pairjepa.evaluation.tables import partial_table
from pairjepa.metrics.partial import evaluate_partial, shuffled_images

RNG = np.random.default_rng(0)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


OWNER = np.repeat(np.arange(20), RNG.integers(1, 5, 20))
TEXT = unit(RNG.normal(size=(len(OWNER), 16)))


def near(noise):
    return unit(TEXT + noise * np.random.default_rng(1).normal(size=TEXT.shape))


def test_only_the_query_s_own_caption_counts():
    """A query that finds another caption of the same image has missed."""
    first_of_image = np.searchsorted(OWNER, OWNER)
    result = evaluate_partial((TEXT[first_of_image], TEXT), None, None, OWNER, 20)
    assert result["R@1"] == pytest.approx(100 * np.mean(first_of_image == np.arange(len(OWNER))))
    assert result["R@1"] < 60


def test_recall_equals_a_loop():
    predictions = near(1.0)
    result = evaluate_partial((predictions, TEXT), None, None, OWNER, 20)
    scores = predictions.astype(np.float64) @ TEXT.T.astype(np.float64)
    ranks = [1 + sum(s >= row[i] for j, s in enumerate(row) if j != i) for i, row in enumerate(scores)]
    assert result["R@5"] == pytest.approx(100 * np.mean(np.array(ranks) <= 5))
    assert result["median_rank"] == np.median(ranks)


def test_what_the_image_adds_is_the_difference():
    good, bad = near(0.6), near(3.0)
    result = evaluate_partial((good, TEXT), (bad, TEXT), (bad, TEXT), OWNER, 20)
    gain = result["over_shuffled"]["R@1"]
    assert gain["difference"] == pytest.approx(result["R@1"] - result["shuffled"]["R@1"])
    assert gain["ci"][0] > 0
    assert result["over_text_only"] == result["over_shuffled"]


def test_equal_queries_differ_by_nothing():
    predictions = near(1.0)
    gain = evaluate_partial((predictions, TEXT), (predictions, TEXT), None, OWNER, 20)
    assert gain["over_shuffled"]["R@1"] == {"difference": 0, "ci": [0, 0]}
    assert gain["text_only"] is None
    assert gain["over_text_only"] is None


def test_collapse_finds_nothing():
    flat = np.repeat(TEXT[:1], len(TEXT), axis=0)
    assert evaluate_partial((flat, flat), None, None, OWNER, 20)["R@10"] == 0


def test_no_image_keeps_its_place():
    for images in (2, 3, 10, 1000):
        other = shuffled_images(images)
        assert sorted(other) == list(range(images))
        assert (other != np.arange(images)).all()


def test_table_shows_every_ratio_and_the_mean_of_seeds():
    one = {"0.3": evaluate_partial((near(0.6), TEXT), (near(3.0), TEXT), None, OWNER, 20)}
    two = {"0.3": evaluate_partial((near(1.0), TEXT), (near(3.0), TEXT), None, OWNER, 20)}
    row = partial_table([one]).splitlines()[1]
    assert row.startswith("30%")
    assert f"{one['0.3']['R@1']:.1f}" in row
    assert " to " in row
    mean = (one["0.3"]["R@1"] + two["0.3"]["R@1"]) / 2
    assert f"{mean:.1f}" in partial_table([one, two]).splitlines()[1]
