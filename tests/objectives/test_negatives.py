"""Twins as negatives: the formula, and that grammar alone is no help."""

import math

import torch

from pairjepa.objectives.negatives import hard_negatives


def vectors(rows, seed):
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_formula_row_by_row():
    prediction, target, twin = (vectors(4, seed) for seed in range(3))
    there = torch.tensor([True, False, True, True])
    unit = [row / row.norm() for row in prediction]
    mean = sum(unit) / 4
    terms = []
    for row in range(4):
        own, other = (
            float((unit[row] - mean) @ (side[row] / side[row].norm())) / 0.07 for side in (target, twin)
        )
        if there[row]:
            terms.append(-math.log(math.exp(own) / (math.exp(own) + math.exp(other))))
    value = hard_negatives(prediction, target, twins=(twin, there), temperature=0.07)
    torch.testing.assert_close(value, torch.tensor(sum(terms) / 3, dtype=torch.float64))


def test_what_is_alike_for_all_images_is_no_help():
    """A direction that tells captions from twins, and that all predictions share, leaves the loss at log 2."""
    direction = vectors(1, 0)
    prediction = direction.repeat(6, 1)
    value = hard_negatives(
        prediction, prediction, twins=(-prediction, torch.ones(6, dtype=torch.bool)), temperature=0.07
    )
    torch.testing.assert_close(value, torch.tensor(math.log(2), dtype=torch.float64))


def test_no_caption_has_a_twin():
    prediction = vectors(3, 0).requires_grad_()
    nothing = prediction, torch.zeros(3, dtype=torch.bool)
    value = hard_negatives(prediction, prediction, twins=nothing, temperature=0.07)
    value.backward()
    assert value == 0
    assert not prediction.grad.any()
