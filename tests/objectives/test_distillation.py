"""Distillation: the student's similarities against the teacher's."""

import math

import pytest
import torch

from pairjepa.objectives.distillation import distillation

GENERATOR = torch.Generator().manual_seed(0)
PREDICTION, TARGET = torch.randn(2, 5, 4, generator=GENERATOR).unbind()
TEACHER = tuple(torch.nn.functional.normalize(torch.randn(5, 7, generator=GENERATOR), dim=1) for _ in "12")


def softmax(row: list[float]) -> list[float]:
    exponentials = [math.exp(value) for value in row]
    return [value / sum(exponentials) for value in exponentials]


def test_it_is_the_cross_entropy_of_both_directions() -> None:
    tau, expected = 0.3, 0.0
    unit = [torch.nn.functional.normalize(side, dim=1) for side in (PREDICTION, TARGET)]
    for flip in (False, True):
        for row in range(5):
            own, taught = (
                softmax([float(one[row] @ two[key]) / tau for key in range(5)])
                for one, two in (reversed(sides) if flip else sides for sides in (unit, TEACHER))
            )
            expected -= sum(right * math.log(given) for right, given in zip(taught, own, strict=True)) / 10
    value = distillation(PREDICTION, TARGET, teacher=TEACHER, temperature=tau)
    assert float(value) == pytest.approx(expected, rel=1e-5)


def test_who_finds_the_same_alike_as_the_teacher_has_no_more_to_learn() -> None:
    same = [(3 * side).requires_grad_() for side in TEACHER]
    value = distillation(*same, teacher=TEACHER, temperature=0.07)
    assert max(float(gradient.abs().max()) for gradient in torch.autograd.grad(value, same)) < 1e-6
    assert value < distillation(PREDICTION, TARGET, teacher=TEACHER, temperature=0.07)


def test_the_teacher_gets_no_gradient_through_a_learned_temperature() -> None:
    """Else both could agree by a τ at which all is alike."""
    tau = torch.tensor(0.1, requires_grad=True)
    distillation(*TEACHER, teacher=TEACHER, temperature=tau).backward()
    assert abs(float(tau.grad)) < 1e-5


def test_queries_without_a_teacher_count_nothing() -> None:
    assert distillation(PREDICTION, TARGET, teacher=None, temperature=0.07) == 0
