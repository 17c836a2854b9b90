"""Every verdict needs an interval that excludes what it denies; with too few images it says that it cannot tell."""

import numpy as np
import pytest

from pairjepa.metrics import verdicts as judge
from pairjepa.metrics.baselines import chance
from pairjepa.metrics.bootstrap import bootstrap, interval
from pairjepa.metrics.relevance import Relevance
from pairjepa.metrics.retrieval import retrieve, rsum

from .arrays import ragged


@pytest.mark.parametrize(
    ("rsum", "ci", "by_chance", "images", "level"),
    [
        (300.0, (280, 320), 3.2, 1000, "good"),
        (4.0, (2, 6), 3.2, 1000, "bad"),
        (0.0, (0, 0), 450.0, 40, "bad"),  # collapsed: ties count against it
        (525.0, (440, 600), 450.0, 5, "info"),
        (600.0, (600, 600), 450.0, 5, "info"),  # resampling five images that are all right gives no interval
        (600.0, (600, 600), 600.0, 1, "info"),
        (200.0, (130, 270), 160.0, 20, "info"),
    ],
)
def test_chance_needs_an_interval(rsum, ci, by_chance, images, level):
    verdict = judge.against_chance(rsum, ci, by_chance, images)
    assert verdict.level == level
    assert ("too few to tell" in verdict.text) == (level == "info")


def test_random_rankings_are_hardly_ever_called_better_than_chance_and_never_good_ones_worse():
    said = {6.0: [], 0.3: []}
    for noise, levels in said.items():
        for seed in range(60):
            image, text, owner = ragged(images=25, seed=seed, noise=noise, dim=16)
            if noise > 1:
                text = text[np.random.default_rng(seed).permutation(len(text))]
            found = retrieve(image, text, owner)
            by_chance = chance(Relevance.by_owner(owner, 25))["rsum"]
            for ci in (interval(bootstrap(found, draws=200)["rsum"]), judge.rsum_interval(rsum(found), 25)):
                levels.append(judge.against_chance(rsum(found), ci, by_chance, 25).level)
    assert said[6.0].count("good") <= 0.1 * len(said[6.0])
    assert set(said[0.3]) == {"good"}


def test_the_interval_without_resamples_is_no_narrower():
    for seed in range(5):
        found = retrieve(*ragged(images=100, seed=seed, noise=2.0, dim=16))
        low, high = interval(bootstrap(found)["rsum"])
        widest = judge.rsum_interval(rsum(found), 100)
        assert widest[0] <= low + 3
        assert widest[1] >= high - 3


@pytest.mark.parametrize(
    ("auc", "images", "level"),
    [(0.98, 1000, "good"), (0.85, 1000, "warn"), (0.6, 1000, "bad"), (0.85, 12, "info"), (1.0, 5, "info")],
)
def test_separation(auc, images, level):
    assert judge.separation(auc, images).level == level


@pytest.mark.parametrize(
    ("rank", "possible", "spread", "images", "level"),
    [
        (255, 511, 0.95, 1000, "good"),
        (20, 511, 0.95, 1000, "warn"),
        (1.5, 511, 0.95, 1000, "bad"),
        (30, 511, 0.1, 1000, "bad"),
        (12, 24, 0.15, 25, "bad"),
        (12, 24, 0.24, 25, "info"),  # the spread of so few rows may well be that of a healthy one
        (0, 9, 0.0, 10, "info"),
    ],
)
def test_collapse_is_judged_by_one_rule(rank, possible, spread, images, level):
    assert judge.collapse("target", rank, possible, spread, images).level == level


@pytest.mark.parametrize(
    ("train", "dev", "images", "fallen", "level"),
    [
        (300, 290, 1000, False, "good"),
        (480, 290, 1000, False, "info"),  # as healthy runs on frozen backbones have
        (480, 290, 1000, True, "warn"),
        (590, 240, 1000, False, "warn"),
        (600, 525, 5, True, "info"),
        (345, 290, 12, False, "info"),
    ],
)
def test_overfitting(train, dev, images, fallen, level):
    assert judge.overfitting(train, dev, images, fallen=fallen).level == level


def test_cca_and_wrong_pairs():
    def gain(ci, verdict=""):
        return {"rsum_difference": 5, "ci": ci, "verdict": verdict}

    levels = [judge.against_cca(gain(ci), 100).level for ci in ((1, 9), (-9, -1), (-1, 1))]
    assert levels == ["good", "bad", "warn"]
    assert judge.against_cca(gain((50, 50)), 5).level == "info"
    assert judge.against_cca(gain((0, 9), "the same"), 100).text.startswith("is CCA itself")
    assert judge.wrong_pairs(0.99, 1000).level == "good"
    assert judge.wrong_pairs(0.52, 1000).level == "info"
    assert judge.wrong_pairs(0.9, 12).level == "info"


def test_dead_directions():
    possible = {"prediction": 100, "target": 100}
    alive, dead = [1.0] * 100, [1.0] * 40 + [0.001] * 60
    found = judge.dead_directions({"prediction": alive, "target": dead}, possible)
    assert found.level == "warn"
    assert found.value == "90 of 100 (predictions), 37 of 100 (targets)"
    assert "60 % of the directions of the targets are dead" in found.text
    assert judge.dead_directions({"prediction": alive, "target": alive}, possible).level == "good"
    assert judge.dead_directions({"prediction": [0.0], "target": [0.0]}, possible) is None
