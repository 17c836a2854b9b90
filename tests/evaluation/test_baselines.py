import itertools

import numpy as np
import pytest
from scipy import linalg

from pairjepa.metrics.baselines import (
    POWERS,
    RIDGES,
    ClosedForm,
    Correlations,
    RidgeCCA,
    chance,
    ridge_to_image,
    ridge_to_text,
)
from pairjepa.metrics.relevance import Relevance
from pairjepa.metrics.retrieval import retrieve, rsum
from pairjepa.util.errors import UsageError

from .arrays import RECALLS


def test_chance_against_every_order_of_the_gallery():
    owner = np.array([0, 0, 1, 2, 2, 2])
    found = chance(Relevance.by_owner(owner, 3))
    for way, relevant, size in (("image_to_text", [2, 1, 3], 6), ("text_to_image", [1] * 6, 3)):
        best = np.array(
            [[1 + min(order.index(i) for i in range(m)) for order in itertools.permutations(range(size))]
             for m in relevant]
        )  # fmt: skip
        for k in RECALLS:
            assert found[way][f"R@{k}"] == pytest.approx(100 * np.mean(best <= k))
        assert found[way]["mrr"] == pytest.approx(np.mean(1 / best))
        assert found[way]["median_rank"] == np.quantile(best, 0.5, method="inverted_cdf")
    assert found["rsum"] == pytest.approx(sum(found[w][f"R@{k}"] for w in list(found)[:2] for k in RECALLS))


def test_chance_of_the_usual_test_split():
    found = chance(Relevance.by_owner(np.repeat(np.arange(1000), 5), 1000))
    assert found["text_to_image"]["R@1"] == pytest.approx(0.1)
    assert found["text_to_image"]["R@10"] == pytest.approx(1)
    assert found["image_to_text"]["R@1"] == pytest.approx(0.1)
    assert found["image_to_text"]["R@10"] == pytest.approx(
        100 * (1 - np.prod(1 - 10 / (5000 - np.arange(5))))
    )
    assert found["text_to_image"]["median_rank"] == 500


def test_chance_counts_equal_captions_where_they_are_right():
    owner, words = np.arange(20), ["dog", "cat"] * 10
    by_text = chance(Relevance.by_text(owner, words, 20))
    assert by_text["image_to_text"]["R@1"] == pytest.approx(50)
    assert chance(Relevance.by_owner(owner, 20))["image_to_text"]["R@1"] == pytest.approx(5)


def fit(x, y, owner):
    return Correlations.fit(x.__getitem__, y.__getitem__, owner, len(x))


def cca_of(x, y, owner, **given):
    return RidgeCCA.of(fit(x, y, owner), **given)


@pytest.fixture
def small_chunks(monkeypatch):
    return lambda: monkeypatch.setattr("pairjepa.metrics.retrieval.CHUNK_BYTES", 3_000)


def pairs(images=150, p=7, q=5, latent=4, seed=0):
    rng = np.random.default_rng(seed)
    owner = rng.permutation(np.repeat(np.arange(images), rng.integers(1, 5, images)))
    hidden = rng.normal(size=(images, latent))
    x = hidden @ rng.normal(size=(latent, p)) + rng.normal(size=(images, p)) + 3
    y = hidden[owner] @ rng.normal(size=(latent, q)) + rng.normal(size=(len(owner), q)) - 1
    return (x * 10).astype(np.float32), y.astype(np.float32), owner


def naive_cca(x, y, owner, ridge, dim):
    """Images written out once a caption, inverse square roots, full SVD."""
    a, b = x[owner].astype(float), y.astype(float)
    a_mean, a_scale, b_mean, b_scale = a.mean(0), a.std(0), b.mean(0), b.std(0)
    a, b = (a - a_mean) / a_scale, (b - b_mean) / b_scale
    white_a = linalg.inv(linalg.sqrtm(a.T @ a / len(a) + ridge * np.eye(a.shape[1])))
    white_b = linalg.inv(linalg.sqrtm(b.T @ b / len(b) + ridge * np.eye(b.shape[1])))
    left, rho, right = np.linalg.svd(white_a @ (a.T @ b / len(a)) @ white_b)
    one = (x - a_mean) / a_scale @ white_a @ left[:, :dim] * np.sqrt(rho[:dim])
    two = (y - b_mean) / b_scale @ white_b @ right[:dim].T * np.sqrt(rho[:dim])
    return *(v / np.linalg.norm(v, axis=1, keepdims=True) for v in (one, two)), rho[:dim]


@pytest.mark.parametrize(("p", "q", "dim"), [(7, 5, 3), (4, 6, 512)])
@pytest.mark.parametrize("ridge", [0.01, 1.0])
def test_cca_is_that_of_images_written_out_for_every_caption(p, q, dim, ridge, small_chunks):
    x, y, owner = pairs(p=p, q=q)
    fitted = cca_of(x, y, owner, ridge=ridge, dim=dim)
    image, text, rho = naive_cca(x, y, owner, ridge, min(dim, p, q))
    assert fitted.correlations == pytest.approx(rho, rel=1e-5)
    signs = np.sign((fitted.image(x) * image).sum(axis=0))
    assert fitted.image(x) * signs == pytest.approx(image, abs=1e-4)
    assert fitted.text(y) * signs == pytest.approx(text, abs=1e-4)
    assert fitted.image(x).dtype == np.float32
    small_chunks()
    small = cca_of(x, y, owner, ridge=ridge, dim=dim)
    assert np.abs(small.image(x)) == pytest.approx(np.abs(image), abs=1e-4)


class Read:
    """Rows that are read where they are indexed, and how many at a time."""

    def __init__(self, rows):
        self._rows, self.shape, self.most = rows, rows.shape, 0

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, rows):
        found = self._rows[rows]
        self.most = max(self.most, len(found))
        return found


def test_cca_reads_features_block_by_block_and_once_only(small_chunks):
    x, y, owner = pairs()
    whole, images = cca_of(x, y, owner), Read(x)
    small_chunks()
    fitted = cca_of(images, Read(y), owner)
    assert images.most < len(x) / 4
    for name, array in whole.arrays.items():
        assert np.abs(fitted.arrays[name]) == pytest.approx(np.abs(array), rel=1e-9, abs=1e-9), name


def test_features_far_from_zero_keep_their_digits(small_chunks):
    x, y, owner = pairs()
    image, moved = cca_of(x, y, owner).image(x), (x + np.float32(1e4)).astype(np.float32)
    small_chunks()
    far = cca_of(moved, y, owner).image(moved)
    assert np.abs(far) == pytest.approx(np.abs(image), abs=1e-3)


def test_cca_comes_back_from_its_arrays():
    x, y, owner = pairs()
    fitted = cca_of(x, y, owner)
    again = ClosedForm(fitted.arrays)
    assert (again.image(x) == fitted.image(x)).all()
    assert (again.text(y) == fitted.text(y)).all()


def test_without_much_ridge_the_values_are_canonical_correlations():
    x, y, owner = pairs()
    a, b = x[owner].astype(float), y.astype(float)
    a, b = (linalg.orth(side - side.mean(axis=0)) for side in (a, b))
    rho = np.linalg.svd(a.T @ b, compute_uv=False)
    assert cca_of(x, y, owner, ridge=1e-9).correlations == pytest.approx(rho, rel=1e-5)


def test_cca_finds_unseen_pairs_and_shuffled_pairs_teach_it_nothing():
    x, y, owner = pairs(images=300, p=20, q=20, latent=10)
    train, test = owner < 200, owner >= 200
    fitted = cca_of(x[:200], y[train], owner[train])
    found = retrieve(fitted.image(x[200:]), fitted.text(y[test]), owner[test] - 200)
    expected = chance(Relevance.by_owner(owner[test] - 200, 100))["rsum"]
    assert rsum(found) > 4 * expected
    shuffled = np.random.default_rng(0).permutation(200)[owner[train]]
    blind = cca_of(x[:200], y[train], shuffled)
    assert rsum(retrieve(blind.image(x[200:]), blind.text(y[test]), owner[test] - 200)) < 2 * expected


def test_a_constant_feature_and_one_pair_do_no_harm():
    x, y, owner = pairs()
    x = np.concatenate([x, np.full((len(x), 1), 0.1, np.float32)], axis=1)
    image = cca_of(x, y, owner).image(x)
    assert np.linalg.norm(image, axis=1) == pytest.approx(np.ones(len(x)), abs=1e-5)
    single = cca_of(x[:1], y[:1], np.array([0]))
    assert np.isfinite(single.image(x)).all()
    assert np.isfinite(single.text(y)).all()


def closed_forms(x, y):
    """rsum of CCA, of ridge image → caption and caption → image: fitted on the first half, measured on the other."""
    half = len(x) // 2
    owner = np.arange(half)
    fitted = fit(x[:half], y[:half], owner)
    forms = RidgeCCA.of(fitted), ridge_to_text(fitted), ridge_to_image(fitted)
    return [rsum(retrieve(form.image(x[half:]), form.text(y[half:]), owner)) for form in forms]


def shared(rows, latent, width, noise, nuisance=(0, 0), seed=0):
    """Two views of a few shared directions, with noise everywhere and strong nuisance along a few on some sides."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(rows, latent))
    sides = []
    for many in nuisance:
        maps = [linalg.orth(rng.normal(size=(width, n))).T for n in (latent, max(many, 1))]
        own = 3 * rng.normal(size=(rows, many)) @ maps[1][:many]
        sides.append(signal @ maps[0] + own + noise * rng.normal(size=(rows, width)))
    return sides


def test_alignment_is_favoured_where_a_side_varies_by_what_the_other_cannot_tell():
    cca, to_text, to_image = closed_forms(*shared(600, 6, 30, 0.1, nuisance=(0, 6)))
    assert cca > 2 * to_text  # it predicts what varies most, and that is nuisance
    assert abs(cca - to_image) < 60  # the side that is whitened is the one with the nuisance
    cca, to_text, to_image = closed_forms(*shared(600, 6, 30, 0.1, nuisance=(6, 6)))
    assert cca > 2 * max(to_text, to_image)


def test_prediction_is_favoured_where_few_pairs_share_a_few_strong_directions():
    """Whitening both sides of few pairs takes weak directions, which are noise, for strong ones."""
    cca, to_text, to_image = closed_forms(*shared(120, 6, 100, 0.3))
    assert min(to_text, to_image) > cca + 40


def test_ridge_regression_is_that_of_images_written_out_for_every_caption():
    x, y, owner = pairs()
    fitted = fit(x, y, owner)
    a, b = x[owner].astype(float), y.astype(float)
    a_mean, a_scale = a.mean(0), a.std(0)
    a, b = (a - a_mean) / a_scale, (b - b.mean(0)) / b.std(0)
    rows = len(a)
    map_ = np.linalg.lstsq(np.vstack([a, np.sqrt(rows) * np.eye(7)]), np.vstack([b, np.zeros((7, 5))]))[0]
    image = (x - a_mean) / a_scale @ map_
    assert ridge_to_text(fitted).image(x) == pytest.approx(
        image / np.linalg.norm(image, axis=1, keepdims=True), abs=1e-5
    )
    assert ridge_to_text(fitted).text(y) == pytest.approx(
        b / np.linalg.norm(b, axis=1, keepdims=True), abs=1e-5
    )
    back = np.linalg.lstsq(np.vstack([b, np.sqrt(rows) * np.eye(5)]), np.vstack([a, np.zeros((5, 7))]))[0]
    text = b @ back
    assert ridge_to_image(fitted).text(y) == pytest.approx(
        text / np.linalg.norm(text, axis=1, keepdims=True), abs=1e-5
    )


def test_mistakes_of_cca_are_named():
    x, y, owner = pairs()
    with pytest.raises(UsageError, match="ridge must be positive, got 0"):
        cca_of(x, y, owner, ridge=0)
    with pytest.raises(UsageError, match="owner must name an image for each caption, got no caption"):
        cca_of(x, y, owner[:0])
    with pytest.raises(UsageError, match="owner must name rows of the 3 images"):
        cca_of(x[:3], y, owner)
    with pytest.raises(UsageError, match="Features must be finite"):
        cca_of(x * np.float32(np.nan), y, owner)
    with pytest.raises(UsageError, match=r"text features must be 5 wide, as in the fit, got \(150, 7\)"):
        cca_of(x, y, owner).text(x)


def test_ridge_and_power_are_those_that_are_best_on_dev():
    x, y, owner = pairs(images=300, p=20, q=20, latent=10)
    train, dev = owner < 100, owner >= 200
    fitted = fit(x[:100], y[train], owner[train])
    chosen = RidgeCCA.choose(fitted, x[200:], y[dev], owner[dev] - 200, dim=8)

    def reached(form):
        return rsum(retrieve(form.image(x[200:]), form.text(y[dev]), owner[dev] - 200))

    assert reached(chosen) >= max(reached(RidgeCCA.of(fitted, ridge, 1.0, 8)) for ridge in RIDGES)
    best = max((RidgeCCA.of(fitted, ridge, power, 8) for ridge in RIDGES for power in POWERS), key=reached)
    assert reached(best) >= reached(chosen)
    assert RidgeCCA.of(fitted, 1.0, 1.5, 8).image(x) == pytest.approx(
        RidgeCCA.of(fitted, 1.0, 0.5, 8).scaled(1.0).image(x), abs=1e-5
    )
