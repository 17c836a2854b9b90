"""Regularizers against loops over numbers, and what they punish."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pairjepa.objectives.regularizers import sigreg, vicreg_covariance, vicreg_variance


def covariance(projection, a, b):
    count = len(projection)
    mean = [sum(projection[i, j] for i in range(count)) / count for j in (a, b)]
    return sum((projection[i, a] - mean[0]) * (projection[i, b] - mean[1]) for i in range(count)) / (
        count - 1
    )


def naive_variance(projection):
    dims = range(projection.shape[1])
    deviations = [(covariance(projection, j, j) + 1e-4) ** 0.5 for j in dims]
    return sum(torch.clamp(1 - deviation, min=0) for deviation in deviations) / len(dims)


def naive_covariance(projection):
    dims = range(projection.shape[1])
    return sum(covariance(projection, a, b) ** 2 for a in dims for b in dims if a != b) / len(dims)


def naive_sigreg(projection, sigreg_directions, knots):
    """The integral over both halves, one point at a time."""
    drawn = torch.randn(projection.shape[1], sigreg_directions, dtype=projection.dtype)
    width = 3 / (knots - 1)
    total = 0
    for direction in drawn.T:
        x = [torch.dot(row, direction) / direction.norm() for row in projection]
        for place in range(-knots + 1, knots):
            t = place * width
            real = sum(torch.cos(t * value) for value in x) / len(x)
            imaginary = sum(torch.sin(t * value) for value in x) / len(x)
            distance = (real - math.exp(-t * t / 2)) ** 2 + imaginary**2
            end = abs(place) == knots - 1
            total = total + distance * math.exp(-t * t / 2) * width * (0.5 if end else 1)
    return total / sigreg_directions


def normal(samples, dim, seed=0):
    return torch.randn(samples, dim, generator=torch.Generator().manual_seed(seed))


def seeded(function, seed=0, **settings):
    def run(projection):
        torch.manual_seed(seed)
        return function(projection, **settings)

    return run


@pytest.mark.parametrize(
    ("fast", "slow"),
    [
        (vicreg_variance, naive_variance),
        (vicreg_covariance, naive_covariance),
        (
            seeded(sigreg, sigreg_directions=3, knots=5),
            seeded(naive_sigreg, sigreg_directions=3, knots=5),
        ),
    ],
    ids=["variance", "covariance", "sigreg"],
)
def test_value_and_gradient_equal_the_loop(agree, fast, slow):
    scales = torch.tensor([0.1, 0.8, 3.0])  # one dimension lies beyond the hinge of the variance
    agree(fast, slow, normal(6, 3) * scales + 0.5)


def test_variance_asks_for_one_and_no_more():
    spread = torch.tensor([[-1.0, 5.0], [1.0, 9.0]])
    assert vicreg_variance(spread) == 0
    half = vicreg_variance(spread[:, :1] / 2)
    torch.testing.assert_close(half, torch.tensor(1 - 0.5**0.5), rtol=0, atol=1e-3)


def test_covariance_is_nought_without_repetition():
    cross = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    assert vicreg_covariance(cross) == 0
    assert vicreg_covariance(cross[:, :1].repeat(1, 2)) > 0.1


REGULARIZERS = [vicreg_variance, vicreg_covariance, seeded(sigreg, sigreg_directions=64)]
NAMES = ["variance", "covariance", "sigreg"]


@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=NAMES)
@given(st.permutations(range(7)))
@settings(max_examples=10, deadline=None)
def test_the_order_of_samples_changes_nothing(regularizer, order):
    x = normal(7, 4) / 2
    torch.testing.assert_close(regularizer(x[list(order)]), regularizer(x))


@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=NAMES)
def test_one_sample_gives_numbers(regularizer):
    x = torch.ones(1, 3, requires_grad=True)
    value = regularizer(x)
    assert value.isfinite()
    assert torch.autograd.grad(value, x)[0].isfinite().all()


GOOD = normal(200, 8)
POINT = GOOD[:1].expand(200, 8)
LINE = GOOD[:, :1].expand(200, 8)


@pytest.mark.parametrize(
    ("regularizer", "collapsed"),
    [
        (REGULARIZERS[0], POINT),
        (REGULARIZERS[1], LINE),
        (REGULARIZERS[2], POINT),
        (REGULARIZERS[2], torch.zeros(200, 8)),
        (REGULARIZERS[2], LINE),
        (REGULARIZERS[2], GOOD / 10),
        (REGULARIZERS[2], GOOD + 3),
    ],
    ids=[
        "variance-point",
        "covariance-line",
        *(f"sigreg-{s}" for s in ["point", "zero", "line", "small", "shifted"]),
    ],
)
def test_collapse_costs_more_than_a_gaussian_sample(regularizer, collapsed):
    assert regularizer(collapsed) > 10 * regularizer(GOOD)


@pytest.mark.parametrize("samples", [100, 1000])
def test_a_gaussian_sample_has_what_it_should_on_average(samples):
    values = [seeded(sigreg, seed, sigreg_directions=64)(normal(samples, 32, seed)) for seed in range(8)]
    assert samples * sum(values).item() / 8 == pytest.approx(1.05, rel=0.1)


def test_the_value_does_not_grow_with_the_batch():
    few, many = (seeded(sigreg, sigreg_directions=256)(3 * normal(samples, 16)) for samples in (200, 2000))
    torch.testing.assert_close(few, many, rtol=0.05, atol=0)


def test_the_origin_has_what_the_docstring_says():
    torch.testing.assert_close(
        sigreg(torch.zeros(4, 2), sigreg_directions=1), torch.tensor(0.4022), rtol=1e-3, atol=0
    )


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_the_usual_knots_are_enough(scale):
    x = scale * normal(100, 4).double()
    coarse, fine = (seeded(sigreg, sigreg_directions=16, knots=knots)(x) for knots in (17, 401))
    torch.testing.assert_close(coarse, fine, rtol=0.01, atol=0)


def test_directions_follow_the_seed():
    x = normal(20, 8)
    first, again, other = (seeded(sigreg, seed, sigreg_directions=4)(x) for seed in (1, 1, 2))
    assert first == again
    assert first != other
