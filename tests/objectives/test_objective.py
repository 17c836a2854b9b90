"""The sum of terms: each is wired to its function, its weight and the right gradients."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pairjepa.config.settings import ObjectiveConfig
from pairjepa.objectives import TERMS, Labels, Objective, check_terms
from pairjepa.objectives.info_nce import info_nce, positives_of
from pairjepa.objectives.regression import cosine, l1, l2, smooth_l1
from pairjepa.objectives.regularizers import sigreg, vicreg_covariance, vicreg_variance
from pairjepa.util.errors import UsageError

LABELS = Labels(torch.tensor([0, 0, 1, 2, 3, 4]), torch.arange(6))
DIRECTIONS = 5


def contrast(prediction, target):
    prediction, target = F.normalize(prediction, dim=1), F.normalize(target, dim=1)
    return info_nce(prediction, target, temperature=0.07, positives=positives_of(LABELS), label_smoothing=0.1)


def both(regularizer, **settings):
    return lambda p, t: (regularizer(p, **settings) + regularizer(t, **settings)) / 2


PREDICTIVE = {"info_nce": contrast, "cosine": cosine, "l1": l1, "l2": l2, "smooth_l1": smooth_l1}
REGULARIZERS = {
    "vicreg_variance": both(vicreg_variance),
    "vicreg_covariance": both(vicreg_covariance),
    "sigreg": both(sigreg, directions=DIRECTIONS),
}
EXPECTED = PREDICTIVE | REGULARIZERS


def vectors():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(6, 4, generator=generator).requires_grad_() for _ in range(2)]


def value_of(weights, prediction, target, **settings):
    config = ObjectiveConfig(weights=weights, label_smoothing=0.1, sigreg_directions=DIRECTIONS, **settings)
    torch.manual_seed(1)
    return Objective(config)(prediction, target, LABELS)


def gradients(total, leaves):
    return torch.autograd.grad(total, leaves, allow_unused=True)


def test_every_term_is_tested_here_and_stands_in_the_documents():
    assert set(EXPECTED) == set(TERMS)
    text = (Path(__file__).parents[2] / "docs" / "objectives.md").read_text("utf-8")
    assert not [name for name in TERMS if f"| `{name}` |" not in text]


@pytest.mark.parametrize("name", TERMS)
def test_weights_of_zero_leave_one_term(name):
    leaves = vectors()
    value = value_of({other: 0.5 if other == name else 0.0 for other in TERMS}, *leaves)
    torch.manual_seed(1)
    expected = EXPECTED[name](*leaves)
    assert list(value.terms) == [name]
    torch.testing.assert_close(value.terms[name], expected.detach())
    for got, wanted in zip(gradients(value.total, leaves), gradients(0.5 * expected, leaves), strict=True):
        torch.testing.assert_close(got, wanted)


def test_the_total_is_the_weighted_sum():
    weights = {name: 0.5 + place for place, name in enumerate(TERMS)}
    value = value_of(weights, *vectors())
    assert list(value.terms) == list(TERMS)
    torch.testing.assert_close(value.total, sum(weights[name] * term for name, term in value.terms.items()))


@pytest.mark.parametrize("name", PREDICTIVE)
def test_stop_gradient_cuts_the_target_off_from_predictive_terms(name):
    leaves = vectors()
    free, stopped = (value_of({name: 1.0}, *leaves, stop_gradient=stop) for stop in (False, True))
    assert stopped.total == free.total
    (prediction, target), (same, nothing) = (gradients(v.total, leaves) for v in (free, stopped))
    assert target.abs().max() > 0
    assert nothing is None
    torch.testing.assert_close(same, prediction)


@pytest.mark.parametrize("name", REGULARIZERS)
def test_regularizers_reach_both_sides_with_and_without_stop_gradient(name):
    leaves = vectors()
    free, stopped = (
        gradients(value_of({name: 1.0}, *leaves, stop_gradient=stop).total, leaves) for stop in (False, True)
    )
    for one, other in zip(free, stopped, strict=True):
        assert one.abs().max() > 0
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", TERMS)
def test_only_what_retrieval_sees_acts_after_normalisation(name):
    prediction, target = vectors()
    before, after = (value_of({name: 1.0}, scale * prediction, scale * target).total for scale in (1.0, 0.5))
    unchanged = torch.allclose(before, after)
    assert unchanged == (name in {"info_nce", "cosine"})


def test_names_are_checked_before_anything_is_built():
    check_terms(ObjectiveConfig(weights=dict.fromkeys(TERMS, 1.0)))
    with pytest.raises(UsageError, match=r"Unknown objective term 'smooth_l2'\. Did you mean 'smooth_l1'"):
        check_terms(ObjectiveConfig(weights={"smooth_l2": 0.0}))


@pytest.mark.parametrize(
    ("weights", "holds"),
    [
        ({"l2": 1.0}, False),
        ({"l2": 1.0, "vicreg_variance": 1.0, "vicreg_covariance": 0.08}, True),
        ({"l2": 1.0, "sigreg": 10.0}, True),
    ],
)
def test_regression_between_two_learning_sides_shrinks_unless_a_regularizer_holds_the_scale(weights, holds):
    torch.manual_seed(0)
    latent = torch.randn(256, 8)
    image, text = (latent @ torch.randn(8, 16) + torch.randn(256, 16) for _ in range(2))
    heads = nn.ModuleList([nn.Linear(16, 8), nn.Linear(16, 8)])
    objective = Objective(ObjectiveConfig(weights=weights, sigreg_directions=32))
    optimizer = torch.optim.AdamW(heads.parameters(), lr=0.02)
    for _ in range(80):
        prediction, target = heads[0](image), heads[1](text)
        optimizer.zero_grad()
        objective(prediction, target, Labels(torch.arange(256), torch.arange(256))).total.backward()
        optimizer.step()
    deviation = min(side.std(dim=0).mean().item() for side in (prediction, target))
    assert deviation > 0.7 if holds else deviation < 0.3
