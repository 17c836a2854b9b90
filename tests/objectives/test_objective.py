"""The sum of terms: each is wired to its function, its weight and the right gradients; a new one is tested here too."""

import inspect

import pytest
import torch
from torch import nn

from pairjepa.config.registered import registered
from pairjepa.config.settings import ObjectiveConfig
from pairjepa.objectives import TERMS, Labels, Objective, check_terms, terms
from pairjepa.util.errors import UsageError

LABELS = Labels(torch.tensor([0, 0, 1, 2, 3, 4]), torch.arange(6))
AUXILIARY = tuple(torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(2)).requires_grad_())
TWINS = (
    torch.randn(6, 4, generator=torch.Generator().manual_seed(3)),
    torch.tensor([True, True, False, True, False, True]),
)
TEACHER = tuple(torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(4)))
GIVEN = {
    "labels": LABELS,
    "temperature": 0.07,
    "bias": -10.0,
    "label_smoothing": 0.1,
    "sigreg_directions": 5,
    "auxiliary": AUXILIARY,
    "twins": TWINS,
    "teacher": TEACHER,
}
PREDICTIVE = [name for name, term in TERMS.items() if not (term.one_sided or name.startswith("auxiliary_"))]
REGULARIZERS = [name for name, term in TERMS.items() if term.one_sided]


def expected(name, prediction, target):
    """The term by its function alone."""
    function = TERMS[name].function
    given = {key: value for key, value in GIVEN.items() if key in inspect.signature(function).parameters}
    if not TERMS[name].one_sided:
        return function(prediction, target, **given)
    return (function(prediction, **given) + function(target, **given)) / 2


def vectors():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(6, 4, generator=generator).requires_grad_() for _ in range(2)]


def value_of(weights, prediction, target, **settings):
    config = ObjectiveConfig(weights=weights, label_smoothing=0.1, sigreg_directions=5, **settings)
    torch.manual_seed(1)
    return Objective(config)(prediction, target, LABELS, AUXILIARY, TWINS, TEACHER)


def gradients(total, leaves):
    return torch.autograd.grad(total, leaves, allow_unused=True)


def test_settings_know_the_registered_names_without_importing_them():
    assert list(registered("objectives", "objective", "regularizer")) == list(TERMS)


@pytest.mark.parametrize("name", TERMS)
def test_the_docstring_has_what_the_documents_show(name):
    text = inspect.getdoc(TERMS[name].function)
    assert text.partition("\n")[0].endswith(".")
    assert "\n\nSource: " in text
    assert "\n\nStart with: " in text


@pytest.mark.parametrize("name", TERMS)
def test_the_order_of_samples_changes_nothing(name):
    """So that it does not matter which process has which."""
    prediction, target = vectors()
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    torch.manual_seed(1)
    same = TERMS[name].value(prediction, target, GIVEN)
    torch.manual_seed(1)
    moved = GIVEN | {
        "labels": Labels(LABELS.image[order], LABELS.text[order]),
        "auxiliary": tuple(side[order] for side in AUXILIARY),
        "twins": tuple(side[order] for side in TWINS),
        "teacher": tuple(side[order] for side in TEACHER),
    }
    torch.testing.assert_close(TERMS[name].value(prediction[order], target[order], moved), same)


@pytest.mark.parametrize("name", TERMS)
def test_weights_of_zero_leave_one_term(name):
    leaves = vectors()
    value = value_of({other: 0.5 if other == name else 0.0 for other in TERMS}, *leaves)
    torch.manual_seed(1)
    alone = expected(name, *leaves)
    assert list(value.terms) == [name]
    torch.testing.assert_close(value.terms[name], alone.detach())
    for got, wanted in zip(gradients(value.total, leaves), gradients(0.5 * alone, leaves), strict=True):
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


def test_auxiliary_terms_see_what_is_predicted_beside_the_target():
    prediction, target = vectors()
    torch.testing.assert_close(
        value_of({"auxiliary_l2": 1.0}, prediction, target).total,
        TERMS["l2"].function(*AUXILIARY),
    )
    both = value_of({"auxiliary_sigreg": 1.0}, prediction, target).total
    at_the_prediction, at_the_target, at_the_context = torch.autograd.grad(
        both, (prediction, target, AUXILIARY[1]), allow_unused=True
    )
    assert at_the_prediction is None, "it holds projections apart, not what is predicted from them"
    assert at_the_target.abs().max() > 0
    assert at_the_context.abs().max() > 0


@pytest.mark.parametrize("name", REGULARIZERS)
def test_regularizers_reach_both_sides_with_and_without_stop_gradient(name):
    leaves = vectors()
    free, stopped = (
        gradients(value_of({name: 1.0}, *leaves, stop_gradient=stop).total, leaves) for stop in (False, True)
    )
    for one, other in zip(free, stopped, strict=True):
        assert one.abs().max() > 0
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", ["info_nce", "cosine", "l1", "l2", "vicreg_variance", "sigreg"])
def test_only_what_retrieval_sees_acts_after_normalisation(name):
    prediction, target = vectors()
    before, after = (value_of({name: 1.0}, scale * prediction, scale * target).total for scale in (1.0, 0.5))
    unchanged = torch.allclose(before, after)
    assert unchanged == (name in {"info_nce", "cosine"})


def test_a_new_term_is_one_decorated_function(monkeypatch):
    """Given by name what it asks for: labels, the learned temperature, settings; the rest are its own defaults."""

    @terms.objective("new")
    def new(prediction, target, *, labels, temperature, label_smoothing, power=2):
        return label_smoothing * len(labels) * ((prediction - target) ** power).mean() / temperature

    monkeypatch.setitem(TERMS, "new", TERMS.pop("new"))
    leaves = vectors()
    value = value_of({"new": 3.0}, *leaves, temperature=0.5)
    torch.testing.assert_close(value.total, 3 * 0.1 * 6 * (leaves[0] - leaves[1]).square().mean() / 0.5)


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
