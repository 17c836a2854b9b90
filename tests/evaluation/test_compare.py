"""Comparing ranks, held against loops over written-out resamples; and what may be said of it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pairjepa.metrics.bootstrap import bootstrap, resamples
from pairjepa.metrics.compare_ranks import compare_ranks, verdict
from pairjepa.metrics.retrieval import metrics, retrieve
from pairjepa.util.errors import UsageError

from .arrays import RECALLS, paired_bootstrap, ragged, unit

WAYS = ("image_to_text", "text_to_image")


def seeds_of(noise, count, *, images=30, first=0):
    """Ranks of `count` models of the same ragged pairs; more noise is a worse model."""
    image, text, owner = ragged(images=images, noise=1.5)
    found = []
    for seed in range(first, first + count):
        rng = np.random.default_rng(seed)
        found.append(retrieve(unit(image + noise * rng.normal(size=image.shape)), text, owner))
    return found


def written_out(ranks, counts):
    """Every metric of one seed on one resample, each query as often as its image is drawn."""
    tree = {}
    for way, owner in zip(WAYS, (np.arange(len(counts)), ranks.owner), strict=True):
        of = getattr(ranks, way)
        drawn = np.array([r for r, image in zip(of, owner, strict=True) for _ in range(counts[image])])
        tree[way] = {f"R@{k}": 100 * np.mean(drawn <= k) for k in RECALLS}
        tree[way] |= {"median_rank": np.median(drawn), "mrr": np.mean(1 / drawn)}
    return tree | {"rsum": sum(tree[way][f"R@{k}"] for way in WAYS for k in RECALLS)}


def at(tree, *path):
    for key in path:
        tree = tree[key]
    return tree


LEAVES = [("rsum",), *((way, name) for way in WAYS for name in ("R@1", "R@5", "R@10", "median_rank", "mrr"))]


@pytest.mark.parametrize(("first", "second"), [(1, 1), (3, 2)])
def test_the_interval_is_that_of_the_mean_over_seeds_on_written_out_resamples(first, second):
    base, other = seeds_of(0.3, first, images=12), seeds_of(0.6, second, images=12, first=50)
    found = compare_ranks({"base": base, "other": other}, draws=40, seed=3)
    draws = []
    for counts in np.concatenate(list(resamples(12, 40, 3))):
        sides = [[written_out(seed, counts) for seed in side] for side in (other, base)]
        draws.append(
            [np.subtract(*(np.mean([at(t, *leaf) for t in side]) for side in sides)) for leaf in LEAVES]
        )
    whole = np.ones(12, int)
    for leaf, samples in zip(LEAVES, np.transpose(draws), strict=True):
        difference = at(found["differences"]["other"], *leaf)
        assert difference["ci"] == pytest.approx(np.quantile(samples, [0.025, 0.975]))
        means = [np.mean([at(written_out(seed, whole), *leaf) for seed in side]) for side in (other, base)]
        assert difference["difference"] == pytest.approx(means[0] - means[1])
        assert at(found["runs"]["base"], *leaf) == pytest.approx(means[1])


def test_one_seed_each_is_the_paired_bootstrap():
    (base,), (other,) = seeds_of(0.2, 1), seeds_of(0.5, 1)
    found = compare_ranks({"base": [base], "other": [other]}, draws=100)
    expected = paired_bootstrap(other, base, draws=100)
    for leaf in LEAVES:
        difference = at(found["differences"]["other"], *leaf)
        assert difference["difference"] == pytest.approx(at(expected, *leaf)["difference"])
        assert difference["ci"] == pytest.approx(at(expected, *leaf)["ci"])
    assert found["runs"]["other"]["rsum"] == metrics(other)["rsum"]
    assert found["runs"]["other"]["rsum_ci"] == pytest.approx(
        np.quantile(bootstrap(other, draws=100)["rsum"], [0.025, 0.975])
    )


def test_the_spread_over_seeds_is_told_apart():
    base, other = seeds_of(0.3, 3), seeds_of(0.3, 4, first=9)
    found = compare_ranks({"base": base, "other": other}, draws=20)
    rsums = {"base": [metrics(r)["rsum"] for r in base], "other": [metrics(r)["rsum"] for r in other]}
    for name, values in rsums.items():
        assert found["runs"][name]["seeds"] == len(values)
        assert found["runs"][name]["seed_sd"]["rsum"] == pytest.approx(np.std(values, ddof=1))
    welch = stats.ttest_ind(rsums["other"], rsums["base"], equal_var=False).confidence_interval(0.95)
    assert found["differences"]["other"]["rsum"]["seed_ci"] == pytest.approx([welch.low, welch.high])
    alone = compare_ranks({"base": base[:1], "other": other}, draws=20)
    assert alone["runs"]["base"]["seed_sd"] is None
    assert alone["differences"]["other"]["rsum"]["seed_ci"] is None


@pytest.mark.parametrize("seeds", [1, 2])
def test_equal_runs_show_no_difference(seeds):
    ranks = seeds_of(0.3, seeds)
    found = compare_ranks({"a": ranks, "b": ranks}, draws=50)
    for leaf in LEAVES:
        difference = at(found["differences"]["b"], *leaf)
        assert (difference["difference"], difference["ci"]) == (0, [0, 0])
    assert found["verdict"]["b"].startswith("no difference is shown: b has +0.0 rsum against a ")


def test_rounding_is_no_difference():
    """Means over the same seeds in another order differ in their last bit."""
    ranks = seeds_of(0.5, 5)
    found = compare_ranks({"a": ranks, "b": ranks[::-1]}, draws=50)
    assert all(at(found["differences"]["b"], *leaf)["ci"] == [0, 0] for leaf in LEAVES)


def test_seeds_that_are_copies_spread_nothing():
    base, other = seeds_of(0.2, 1) * 2, seeds_of(0.9, 1) * 2
    found = compare_ranks({"base": base, "other": other}, draws=50)["differences"]["other"]["rsum"]
    assert found["seed_ci"] == [found["difference"]] * 2


def test_a_side_without_seeds_has_no_other_seed_that_may_turn_it():
    base, other = seeds_of(3.0, 1), seeds_of(0.3, 3)
    found = compare_ranks({"closed": base, "group": other, "one": other[:1]}, seedless=["closed"], draws=20)
    assert (found["runs"]["closed"]["seeds"], found["runs"]["closed"]["seed_sd"]) == (0, None)
    rsums, fixed = [metrics(r)["rsum"] for r in other], metrics(base[0])["rsum"]
    low, high = stats.ttest_1samp(rsums, fixed).confidence_interval(0.95)
    expected = [low - fixed, high - fixed]
    assert found["differences"]["group"]["rsum"]["seed_ci"] == pytest.approx(expected)
    assert "seed" not in found["verdict"]["group"]
    assert found["verdict"]["one"].endswith("; one seed of one: another seed may turn it.")
    both = compare_ranks({"a": base, "b": other[:1]}, seedless="ab", draws=20)
    assert "seed" not in both["verdict"]["b"]


def test_a_plainly_better_run_is_called_better_and_the_other_way_round_worse():
    good, bad = seeds_of(0.0, 1), seeds_of(3.0, 1)
    found = compare_ranks({"bad": bad, "good": good, "again": bad}, draws=200)
    assert found["baseline"] == "bad"
    assert list(found["differences"]) == ["good", "again"]
    gap = found["differences"]["good"]["rsum"]
    assert gap["ci"][0] > 0
    assert found["verdict"]["good"] == (
        f"good is better than bad by {gap['difference']:.1f} rsum (95 % interval {gap['ci'][0]:.1f} to "
        f"{gap['ci'][1]:.1f}); one seed each: another seed may turn it."
    )
    assert found["verdict"]["again"].startswith("no difference is shown")
    turned = compare_ranks({"good": good, "bad": bad}, draws=200)["verdict"]["bad"]
    assert turned == found["verdict"]["good"].replace("good is better than bad", "bad is worse than good")


@pytest.mark.parametrize(
    ("ci", "seed_ci", "seeds", "said"),
    [
        ([0.3, 4.0], [1.0, 3.2], (3, 3), "m is better than c by 2.1 rsum (95 % interval 0.3 to 4.0)."),
        (
            [0.3, 4.0],
            [-0.5, 4.7],
            (3, 3),
            "m is better than c by 2.1 rsum (95 % interval 0.3 to 4.0), "
            "but the interval over seeds, -0.5 to +4.7, holds 0: other seeds may turn it.",
        ),
        (
            [0.04, 4.0],
            None,
            (3, 1),
            "m is better than c by 2.1 rsum (95 % interval 0.04 to 4.0); "
            "one seed of c: another seed may turn it.",
        ),
        ([0.3, 4.0], None, (1, 2), "; one seed of m: another seed may turn it."),
        (
            [0.0, 4.0],
            [1.0, 3.2],
            (2, 2),
            "no difference is shown: m has +2.1 rsum against c (95 % interval +0.0 to +4.0).",
        ),
        (
            [-0.02, 4.0],
            None,
            (1, 1),
            "(95 % interval -0.02 to +4.0); one seed each: another seed may turn it.",
        ),
    ],
)
def test_the_verdict_claims_what_the_intervals_allow(ci, seed_ci, seeds, said):
    rsum = {"difference": 2.1, "ci": ci, "seed_ci": seed_ci}
    assert verdict(rsum, dict(zip("mc", seeds, strict=True))).endswith(said)


@settings(max_examples=30, deadline=None)
@given(st.floats(-600, 600), st.floats(0, 50), st.floats(0, 50))
def test_no_verdict_on_an_interval_that_holds_0(difference, below, above):
    ci = [difference - below, difference + above]
    said = verdict({"difference": difference, "ci": ci, "seed_ci": None}, {"m": 1, "c": 1})
    assert ("no difference" in said) == (ci[0] <= 0 <= ci[1])
    assert (" better " in said) == (ci[0] > 0)
    assert (" worse " in said) == (ci[1] < 0)


def test_what_cannot_be_compared_is_refused():
    (ranks,) = seeds_of(0.1, 1)
    assert compare_ranks({"a": [ranks]})["differences"] == {}
    with pytest.raises(UsageError, match=r"a side or more with a seed or more each, got none\."):
        compare_ranks({})
    with pytest.raises(UsageError, match=r"got a with 1, b with 0\."):
        compare_ranks({"a": [ranks], "b": []})
    moved = replace(ranks, owner=ranks.owner[::-1].copy())
    with pytest.raises(UsageError, match="same images and captions"):
        compare_ranks({"a": [ranks], "b": [ranks, moved]})
