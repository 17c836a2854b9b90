"""The settings of a run: round trip, validation, differences."""

import dataclasses
import json
import typing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairjepa.config.recipes import override, recipe
from pairjepa.config.settings import (
    DataConfig,
    HeadConfig,
    ModelConfig,
    ObjectiveConfig,
    RunConfig,
    TrainingConfig,
    differences,
    frozen_epochs,
)
from pairjepa.util.errors import UsageError


@pytest.mark.parametrize(
    ("name", "given", "alone"),
    [
        ("contrastive", {}, 0),
        ("contrastive", {"model.image_lr_scale": 0.1}, 30),
        ("contrastive", {"model.text_lora": 8, "training.epochs": 2}, 1),
        ("contrastive", {"model.image_lr_scale": 0.1, "model.image_weights": "random"}, 0),
        ("contrastive", {"model.image_lr_scale": 0.1, "training.tuned_epochs": 50}, 0),
        ("contrastive", {"model.image_lr_scale": 0.1, "model.pair": "a/pair"}, 30),
        ("adapt", {"model.image_lr_scale": 0.1, "model.pair": "a/pair"}, 0),
        ("contrastive-tuned", {}, 30),
        ("reference-contrastive", {}, 0),
        ("tiny", {}, 0),
    ],
)
def test_heads_learn_before_pretrained_backbones(name: str, given: dict[str, Any], alone: int) -> None:
    assert frozen_epochs(recipe(name, given)) == alone


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of an annotation; a config is filled field by field, so that a new field is tried too."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return st.builds(
            kind, **{field.name: values(hints[field.name]) for field in dataclasses.fields(kind)}
        )
    arguments = typing.get_args(kind)
    match typing.get_origin(kind):
        case typing.Literal:
            return st.sampled_from(arguments)
        case origin if origin is tuple:
            return st.lists(values(arguments[0]), max_size=3).map(tuple)
        case origin if origin is dict:
            return st.dictionaries(st.text(min_size=1), values(arguments[1]), max_size=3)
        case None:
            return (
                st.from_type(kind) if kind is not float else st.floats(allow_nan=False, allow_infinity=False)
            )
    either = st.one_of([st.none() if a is type(None) else values(a) for a in arguments])
    if str in arguments:  # of one name, or several
        return either.map(lambda value: value[0] if isinstance(value, tuple) and len(value) == 1 else value)
    return either


@given(values(RunConfig))
@settings(max_examples=50, deadline=None)
def test_a_config_comes_back_from_json_as_it_was(config: RunConfig) -> None:
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"modle": {}}, r"Unknown setting modle\. Did you mean 'model'\?"),
        ({"model": {"dmi": 3}}, r"Unknown setting model\.dmi\. Did you mean 'dim'"),
        ({"model": {"dim": "wide"}}, r"model\.dim must be of type int, got 'wide'"),
        ({"model": {"dim": True}}, r"model\.dim must be of type int, got True"),
        (
            {"model": {"predictor": {"kind": "mpl"}}},
            r"model\.predictor\.kind must be one of identity, linear",
        ),
        ({"model": {"image_views": ["whole", "half"]}}, r"model\.image_views must be one of whole"),
        ({"model": {"image_stages": 3}}, r"model\.image_stages must be a list, got 3"),
        ({"model": 3}, r"model must be a table of settings, got 3"),
        ({"objective": {"weights": 1.0}}, r"objective\.weights must be a table"),
        (
            {"objective": {"weights": {"info_nce": "big"}}},
            r"objective\.weights\.info_nce must be of type float",
        ),
    ],
)
def test_what_does_not_fit_is_named_by_its_dotted_field(tree: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RunConfig.from_dict(tree)


def test_the_defaults_are_valid() -> None:
    RunConfig().validate()


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("data.pairs", 1, "be at least 2"),
        ("data.max_bad", 1.5, "be between 0 and 1"),
        ("model.dim", 0, "be at least 1"),
        ("model.max_tokens", 2, "be at least 3"),
        ("model.image_size", 0, "be at least 1"),
        ("model.image_views", (), "name at least one view"),
        ("model.image_lr_scale", 0.0, "be positive"),
        ("model.text_lr_scale", -1.0, "be positive"),
        ("model.predictor.hidden_dim", 0, "be at least 1"),
        ("model.image_projection.input_dropout", 1.0, r"be in \[0, 1\)"),
        ("model.text_projection.dropout", -0.1, r"be in \[0, 1\)"),
        ("objective.weights", {}, "give at least one term a positive weight"),
        ("objective.temperature", 0.001, r"be in \[0.01, 1\]"),
        ("objective.bias", -5.0, r"be in \[-100, 100\] beside a weight of the term sigmoid"),
        ("objective.label_smoothing", 1.0, r"be in \[0, 1\)"),
        ("objective.sigreg_directions", 0, "be at least 1"),
        ("training.epochs", 0, "be at least 1"),
        ("training.batch_size", 1, "be at least 2"),
        ("training.captions_per_image", 0, "be at least 1"),
        ("training.micro_batch", 0, "be at least 1"),
        ("training.learning_rate", 0.0, "be positive"),
        ("training.learning_rate", float("nan"), "be finite"),
        ("training.weight_decay", -0.1, "not be negative"),
        ("training.warmup", 2.0, "be between 0 and 1"),
    ],
)
def test_a_bad_value_is_refused_with_its_name_and_rule(name: str, value: Any, rule: str) -> None:
    config = override(RunConfig(), {name: value})
    with pytest.raises(UsageError, match=f"{name} must ({rule}), got"):
        config.validate()


def test_a_negative_weight_is_named_beside_a_positive_one() -> None:
    config = override(RunConfig(), {"objective.weights.other": -1.0})
    with pytest.raises(UsageError, match=r"objective\.weights\.other must not be negative, got -1\.0"):
        config.validate()


def test_differences_name_both_values_at_any_depth() -> None:
    old = RunConfig(model=ModelConfig(image_projection=HeadConfig(hidden_dim=8)))
    new = RunConfig(
        data=DataConfig(source="shapes"),
        model=ModelConfig(image_projection=HeadConfig(hidden_dim=9)),
        objective=ObjectiveConfig(weights={"info_nce": 1.0, "other": 0.5}),
    )
    assert differences(old, new) == {
        "data.source": (None, "shapes"),
        "model.image_projection.hidden_dim": (8, 9),
        "objective.weights.other": (None, 0.5),
    }
    assert differences(old, old) == {}


def test_how_often_one_checkpoints_is_no_difference() -> None:
    seldom = RunConfig(training=TrainingConfig(checkpoint_seconds=1e6))
    assert differences(RunConfig(), seldom) == {}
