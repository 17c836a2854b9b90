"""Recipes are complete and valid; overriding touches what is named and nothing else."""

import pytest

from pairjepa.config.recipes import RECIPES, override, recipe
from pairjepa.config.settings import RunConfig, differences
from pairjepa.util.errors import UsageError


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_valid_knows_its_name_and_says_what_it_is(name: str) -> None:
    config = recipe(name, {"model.pair": "a/pair"} if name.startswith("adapt") else None)
    config.validate()
    assert config.recipe == name
    assert (RECIPES[name].__doc__ or "").strip()


def test_the_reference_is_what_the_reference_did() -> None:
    config = recipe("reference-contrastive")
    assert (config.model.image, config.model.text) == ("microsoft/resnet-18", "google-bert/bert-base-uncased")
    assert (config.model.text_pooling, config.model.image_size, config.model.max_tokens) == ("cls", 224, 32)
    assert (config.model.dim, config.model.predictor.kind) == (512, "mlp")
    assert (config.objective.temperature, config.objective.learn_temperature) == (0.07, False)
    assert config.training.epochs == 15


@pytest.mark.parametrize("name", ["masked", "tiny-masked", "predict-align"])
def test_a_masked_recipe_trains_on_both_kinds_of_query(name: str) -> None:
    context = recipe(name).context
    assert context.image
    assert context.caption is not None
    assert 0 < context.full_mask_prob < 1


def test_tiny_masked_is_tiny_but_for_what_the_context_sees() -> None:
    tiny, masked = recipe("tiny"), recipe("tiny-masked")
    changed = {n for n in differences(tiny, masked) if not n.startswith(("context.", "model.predictor."))}
    assert changed == {"recipe"}


@pytest.mark.parametrize(
    ("name", "values", "rule"),
    [
        ("contrastive", {"objective.weights.auxiliary_l2": 1.0}, "be given where an auxiliary_ term"),
        ("masked", {"model.auxiliary": "context"}, "not be context where the context sees a caption"),
    ],
)
def test_an_auxiliary_target_fits_terms_and_context(name: str, values: dict, rule: str) -> None:
    with pytest.raises(UsageError, match=rf"model\.auxiliary must {rule}"):
        recipe(name, values).validate()


def test_an_unknown_recipe_lists_the_close_ones() -> None:
    with pytest.raises(UsageError, match=r"Unknown recipe 'contrastiv'\. Did you mean 'contrastive'"):
        recipe("contrastiv")


@pytest.mark.parametrize("name", ["contrastive", "masked", "closed-form", "adapt"])
def test_a_pair_reads_captions_as_long_as_it_can(name: str) -> None:
    assert recipe(name, {"model.pair": "a/pair"}).model.max_tokens is None
    assert recipe(name, {"model.pair": "a/pair", "model.max_tokens": 20}).model.max_tokens == 20


def test_only_what_is_given_is_changed_at_any_depth() -> None:
    changed = recipe("contrastive", {"model.image_projection.hidden_dim": 64, "training.seed": 7})
    assert differences(recipe("contrastive"), changed) == {
        "model.image_projection.hidden_dim": (1024, 64),
        "training.seed": (0, 7),
    }


def test_a_pair_takes_the_place_of_the_encoders() -> None:
    model = recipe("contrastive", {"model.pair": "a/pair"}).model
    assert (model.pair, model.image, model.text) == ("a/pair", None, None)


def test_a_weight_joins_the_others_and_a_dict_replaces_them() -> None:
    joined = override(RunConfig(), {"objective.weights.other": 0.5})
    assert joined.objective.weights == {"info_nce": 1.0, "other": 0.5}
    replaced = override(RunConfig(), {"objective.weights": {"other": 0.5}})
    assert replaced.objective.weights == {"other": 0.5}


def test_the_config_that_is_overridden_stays_as_it_is() -> None:
    config = RunConfig()
    override(config, {"objective.weights.info_nce": 0.5})
    assert config == RunConfig()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("modle.dim", r"Unknown setting modle\. Did you mean 'model'"),
        ("model.dmi", r"Unknown setting model\.dmi\. Did you mean 'dim'"),
        ("model.dim.x", r"Unknown setting model\.dim\.x\. dim has no settings of its own"),
    ],
)
def test_an_unknown_setting_is_named(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        override(RunConfig(), {name: 1})


def test_a_value_of_the_wrong_type_is_named() -> None:
    with pytest.raises(UsageError, match=r"model\.dim must be of type int, got 'wide'"):
        recipe("tiny", {"model.dim": "wide"})
