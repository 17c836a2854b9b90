"""Regression terms against loops over numbers, values and gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from pairjepa.objectives.regression import cosine, l1, l2, smooth_l1


def naive_cosine(prediction, target):
    total = 0
    for p, t in zip(prediction, target, strict=True):
        dot = sum(a * b for a, b in zip(p, t, strict=True))
        lengths = [sum(a * a for a in row) ** 0.5 for row in (p, t)]
        total = total + (1 - dot / (lengths[0] * lengths[1])) / len(prediction)
    return total


def naive(distance):
    def mean(prediction, target):
        gaps = [a - b for p, t in zip(prediction, target, strict=True) for a, b in zip(p, t, strict=True)]
        return sum(distance(gap) for gap in gaps) / len(gaps)

    return mean


def huber(gap):
    return gap * gap / 2 if abs(gap) < 1 else abs(gap) - 0.5


@pytest.mark.parametrize(
    ("fast", "slow"),
    [
        (cosine, naive_cosine),
        (l1, naive(abs)),
        (l2, naive(lambda gap: gap * gap)),
        (smooth_l1, naive(huber)),
    ],
    ids=lambda function: function.__name__,
)
def test_value_and_gradient_equal_the_loop(agree, fast, slow):
    torch.manual_seed(0)
    prediction, target = 2 * torch.randn(5, 3), torch.randn(5, 3)
    gaps = (prediction - target).abs()
    assert (gaps < 1).any()
    assert (gaps > 1).any(), "both branches of smooth_l1 are tried"
    agree(fast, slow, prediction, target)


@given(st.floats(0.01, 100), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_cosine_sees_directions_alone(scale, seed):
    prediction, target = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(seed))
    expected = cosine(prediction, target)
    assert 0 <= expected <= 2
    torch.testing.assert_close(cosine(scale * prediction, target), expected)
    torch.testing.assert_close(cosine(prediction, scale * target), expected)


def test_cosine_runs_from_nought_to_two_and_survives_a_zero():
    x = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    torch.testing.assert_close(cosine(x, 2 * x), torch.tensor(0.0))
    torch.testing.assert_close(cosine(x, -x), torch.tensor(2.0))
    zero = torch.zeros(2, 2, requires_grad=True)
    assert torch.autograd.grad(cosine(zero, x), zero)[0].isfinite().all()


def test_between_unit_vectors_l2_is_cosine_again():
    """Why l2 acts on vectors that are not normalised."""
    torch.manual_seed(0)
    x, y = (F.normalize(torch.randn(6, 8), dim=1) for _ in range(2))
    torch.testing.assert_close(8 * l2(x, y), 2 * cosine(x, y))


@pytest.mark.parametrize("function", [l1, l2, smooth_l1])
def test_weights_depend_neither_on_batch_nor_on_width(function):
    torch.manual_seed(0)
    x, y = torch.randn(2, 4, 3)
    torch.testing.assert_close(function(x.repeat(3, 2), y.repeat(3, 2)), function(x, y))


@pytest.mark.parametrize("function", [cosine, l1, l2, smooth_l1])
def test_each_sample_is_compared_with_its_own_target(function):
    x = torch.eye(3)
    assert function(x, x) == 0
    assert function(x, x.roll(1, 0)) > 0
