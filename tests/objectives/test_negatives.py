"""Twins as negatives: the formula, and that grammar alone is no help."""

import math

import torch

from pairjepa.objectives.negatives import hard_negatives


def vectors(rows, seed):
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def log_softmax(*scores):
    return [score - math.log(sum(map(math.exp, scores))) for score in scores]


def test_the_formula_row_by_row():
    prediction, target, twin = (vectors(4, seed) for seed in range(3))
    there = torch.tensor([True, False, True, True])
    unit = [row / row.norm() for row in prediction]
    mean = sum(unit) / 4
    terms = []
    for row in range(4):
        sides = [side[row] / side[row].norm() / 0.07 for side in (target, twin)]
        own, _ = log_softmax(*(float((unit[row] - mean) @ side) for side in sides))
        bias = log_softmax(*(float(mean @ side) for side in sides))
        if there[row]:
            terms.append(-own - sum(bias) / 2)
    value = hard_negatives(prediction, target, twins=(twin, there), temperature=0.07)
    torch.testing.assert_close(value, torch.tensor(sum(terms) / 3, dtype=torch.float64))


def test_what_all_images_prefer_is_no_help():
    """The loss is least where a direction that all predictions share says nothing of captions and twins."""
    prediction = vectors(1, 0).repeat(6, 1)
    there = torch.ones(6, dtype=torch.bool)
    right, wrong, neither = (
        hard_negatives(prediction, target, twins=(twin, there), temperature=0.07)
        for target, twin in (
            (prediction, -prediction),
            (-prediction, prediction),
            (prediction, prediction),
        )
    )
    torch.testing.assert_close(right, wrong)
    torch.testing.assert_close(neither, torch.tensor(2 * math.log(2), dtype=torch.float64))
    assert neither < right


def test_no_caption_has_a_twin():
    prediction = vectors(3, 0).requires_grad_()
    nothing = prediction, torch.zeros(3, dtype=torch.bool)
    value = hard_negatives(prediction, prediction, twins=nothing, temperature=0.07)
    value.backward()
    assert value == 0
    assert not prediction.grad.any()
