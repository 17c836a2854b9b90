import tracemalloc

import numpy as np
import pytest

from pairjepa.metrics.bootstrap import bootstrap, check_same_images, interval, mean_interval, resamples
from pairjepa.metrics.retrieval import RetrievalRanks, metrics, retrieve
from pairjepa.util.errors import UsageError

from .arrays import RECALLS, paired_bootstrap, ragged


def replicated(ranks, owner, counts):
    """Metrics of one direction on one resample, with every query written out as often as its image is drawn."""
    found = np.array([rank for rank, image in zip(ranks, owner, strict=True) for _ in range(counts[image])])
    return {f"R@{k}": 100 * np.mean(found <= k) for k in RECALLS} | {
        "median_rank": np.median(found),
        "mrr": np.mean(1 / found),
    }


@pytest.mark.parametrize("images", [11, 90])
def test_samples_are_those_of_written_out_resamples(images):
    found = retrieve(*ragged(images=images, noise=2))
    samples = bootstrap(found, draws=30, seed=5)
    counts = np.concatenate(list(resamples(images, 30, 5)))
    for draw in range(30):
        rsum = 0.0
        for way, ranks, owner in (
            ("image_to_text", found.image_to_text, np.arange(images)),
            ("text_to_image", found.text_to_image, found.owner),
        ):
            expected = replicated(ranks, owner, counts[draw])
            assert {name: values[draw] for name, values in samples[way].items()} == pytest.approx(expected)
            rsum += sum(expected[f"R@{k}"] for k in RECALLS)
        assert samples["rsum"][draw] == pytest.approx(rsum)


def test_resamples_draw_whole_images_and_do_not_hang_on_chunks(monkeypatch):
    whole = np.concatenate(list(resamples(7, 50, 3)))
    assert whole.shape == (50, 7)
    assert (whole.sum(axis=1) == 7).all()
    with monkeypatch.context() as small:
        small.setattr("pairjepa.metrics.retrieval.CHUNK_BYTES", 300)
        assert np.array_equal(whole, np.concatenate(list(resamples(7, 50, 3))))
    assert not np.array_equal(whole, np.concatenate(list(resamples(7, 50, 4))))
    # Multinomial: variance 1 - 1/7 of each count.
    many = np.concatenate(list(resamples(7, 20_000, 0)))
    assert many.mean(axis=0) == pytest.approx(np.ones(7), abs=0.03)
    assert many.var(axis=0) == pytest.approx(np.full(7, 6 / 7), abs=0.05)


def test_chunks_change_no_sample(monkeypatch):
    found = retrieve(*ragged(images=11))
    whole = bootstrap(found, draws=40)
    monkeypatch.setattr("pairjepa.metrics.retrieval.CHUNK_BYTES", 2_000)
    parts = bootstrap(found, draws=40)
    assert np.array_equal(whole["rsum"], parts["rsum"])
    assert np.array_equal(whole["text_to_image"]["median_rank"], parts["text_to_image"]["median_rank"])


def test_no_array_holds_every_draw_of_every_caption(monkeypatch):
    monkeypatch.setattr("pairjepa.metrics.retrieval.CHUNK_BYTES", 2**22)
    owner = np.repeat(np.arange(400), 20)
    found = RetrievalRanks(np.arange(1, 401), 1 + np.arange(8_000) % 399, owner)
    values = np.arange(8_000.0)
    for measure in (
        lambda: bootstrap(found),
        lambda: mean_interval(values, owner, owner[::-1], images=400),
    ):
        tracemalloc.start()
        measure()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 2**23  # 2,000 draws × 8,000 captions are 16 times that


def test_captions_of_one_image_do_not_narrow_the_interval():
    # Five equal captions an image hold no more than one: the interval is that of the images.
    image, _, _ = ragged(images=40, noise=1)
    rng = np.random.default_rng(1)
    text = image + 2 * rng.normal(size=image.shape).astype(np.float32)
    one = retrieve(image, text, np.arange(40))
    five = retrieve(image, np.repeat(text, 5, 0), np.repeat(np.arange(40), 5))
    widths = [np.ptp(interval(bootstrap(r)["text_to_image"]["R@1"])) for r in (one, five)]
    assert widths[0] == pytest.approx(widths[1])


def test_the_interval_holds_the_point_and_is_the_known_one_for_a_share():
    found = retrieve(*ragged(images=200, dim=16, noise=2.5))
    low, high = interval(bootstrap(found)["image_to_text"]["R@1"])
    share = metrics(found)["image_to_text"]["R@1"] / 100
    half = 1.96 * 100 * np.sqrt(share * (1 - share) / 200)
    assert 0.1 < share < 0.9
    assert [low, high] == pytest.approx([100 * share - half, 100 * share + half], abs=1.5)


def test_a_paired_difference_is_narrower_than_two_intervals():
    image, text, owner = ragged(images=100, dim=16, noise=2)
    rng = np.random.default_rng(0)
    worse = text + 0.05 * rng.normal(size=text.shape).astype(np.float32)
    first, second = retrieve(image, text, owner), retrieve(image, worse, owner)
    found = paired_bootstrap(first, second, draws=500)
    one, two = bootstrap(first, draws=500), bootstrap(second, draws=500)
    assert found["rsum"]["difference"] == pytest.approx(metrics(first)["rsum"] - metrics(second)["rsum"])
    assert found["rsum"]["ci"] == interval(one["rsum"] - two["rsum"])
    assert np.ptp(found["rsum"]["ci"]) < 0.6 * np.ptp(interval(one["rsum"]))
    assert set(found["text_to_image"]) == {"R@1", "R@5", "R@10", "median_rank", "mrr"}


def test_a_run_does_not_differ_from_itself():
    found = retrieve(*ragged())
    assert paired_bootstrap(found, found, draws=20)["rsum"] == {"difference": 0, "ci": [0, 0]}


def test_runs_on_other_images_are_refused():
    first, second = retrieve(*ragged(seed=0)), retrieve(*ragged(seed=1))
    with pytest.raises(UsageError, match=r"same images and captions.*Evaluate both on the same split"):
        check_same_images(first, second)


def test_mean_of_pairs_weighs_both_images(monkeypatch):
    rng = np.random.default_rng(0)
    values, left, right = rng.normal(size=12), rng.integers(5, size=12), rng.integers(5, size=12)
    means = []
    for counts in np.concatenate(list(resamples(5, 200, 0))):
        written = [
            v for v, a, b in zip(values, left, right, strict=True) for _ in range(counts[a] * counts[b])
        ]
        means += [np.mean(written)] if written else []
    for chunk_bytes in (2**20, 500):
        monkeypatch.setattr("pairjepa.metrics.retrieval.CHUNK_BYTES", chunk_bytes)
        found = mean_interval(values, left, right, images=5, draws=200)
        assert found == pytest.approx(interval(np.array(means)))


def test_mean_without_any_item_in_the_resamples_is_the_mean():
    seed = next(s for s in range(99) if (next(resamples(2, 1, s)) == 2).any())
    assert mean_interval(np.array([0.5]), np.array([0]), np.array([1]), images=2, draws=1, seed=seed) == [
        0.5,
        0.5,
    ]


def test_nothing_to_draw_is_refused():
    with pytest.raises(UsageError, match="at least one image and one draw, got 3 and 0"):
        bootstrap(retrieve(*ragged(images=3)), draws=0)
