"""Named, complete configurations. A new recipe is one function and its name in `RECIPES`."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pairjepa.config.settings import (
    ContextConfig,
    HeadConfig,
    ModelConfig,
    ObjectiveConfig,
    RunConfig,
    TrainingConfig,
)
from pairjepa.util.errors import UsageError, unknown

ENCODERS = {"model.image": "google/efficientnet-b0", "model.text": "sentence-transformers/all-MiniLM-L6-v2"}
"""What `contrastive` and `masked` are trained on if no other is named: small, on the hub, both under Apache-2.0."""


def contrastive() -> RunConfig:
    """Align predictions with captions directly: InfoNCE on frozen backbones, residual heads."""
    return RunConfig(
        model=ModelConfig(
            image=ENCODERS["model.image"],
            text=ENCODERS["model.text"],
            image_projection=HeadConfig("identity", input_dropout=0.5),
            predictor=HeadConfig("residual", hidden_dim=512, dropout=0.2),
            text_projection=HeadConfig("residual", hidden_dim=1024, dropout=0.2),
        ),
        objective=ObjectiveConfig(label_smoothing=0.1),
        training=TrainingConfig(epochs=40),
    )


def masked() -> RunConfig:
    """Predict the whole caption's embedding from the image and the partly masked caption (JEPA-inspired)."""
    base = contrastive()
    return replace(
        base,
        model=replace(base.model, predictor=replace(base.model.predictor, kind="gated")),
        context=ContextConfig(caption="tokens"),
        # words learn to tell their own caption from the others of the same image; a batch has four of each
        training=replace(base.training, epochs=20, batch_size=500, captions_per_image=4),
    )


def contrastive_tuned() -> RunConfig:
    """`contrastive`, and then the layers of the text backbone above its third learn too, from cached hidden states."""
    base = contrastive()
    return replace(
        base,
        model=replace(base.model, text_lr_scale=0.5, text_frozen_layers=3),
        training=replace(base.training, epochs=42, tuned_epochs=12),
    )


def predict_align() -> RunConfig:
    """`masked` that also predicts the caption's frozen features; its alignment is `objective.weights.info-nce`."""
    base = masked()
    return replace(
        base,
        model=replace(base.model, auxiliary="features"),
        training=contrastive().training,  # one caption an image: within three times the time of `contrastive`
        objective=replace(base.objective, weights={"info_nce": 1.0, "auxiliary_l2": 1.0}),
    )


def two_way() -> RunConfig:
    """Predict the caption's projection from the image's and back, with SIGReg on both, without negatives."""
    base = contrastive()
    image = replace(base.model.predictor, input_dropout=0.5)
    return replace(
        base,
        model=replace(
            base.model, image_projection=image, predictor=HeadConfig("linear"), auxiliary="context"
        ),
        objective=ObjectiveConfig({"l2": 1.0, "auxiliary_l2": 1.0, "auxiliary_sigreg": 10.0}),
    )


def closed_form() -> RunConfig:
    """Ridge CCA as the model, a closed formula: for few pairs or one caption an image, in seconds."""
    return RunConfig(training=TrainingConfig(solver="cca", epochs=1))


def adapt() -> RunConfig:
    """Make a pretrained pair (CLIP, SigLIP) better on your pairs: frozen towers, adapters that start at zero."""
    adapter = HeadConfig("adapter", hidden_dim=512, dropout=0.2)
    return RunConfig(
        model=ModelConfig(
            image_views=("centre",), max_tokens=None, image_projection=adapter, text_projection=adapter
        ),
        objective=ObjectiveConfig(temperature=None),
        # small batches: of a few hundred pairs, large ones would make too few steps
        training=TrainingConfig(epochs=40, batch_size=128),
    )


def adapt_masked() -> RunConfig:
    """`adapt` for the masked approach: the pair's embeddings of the image and the partly hidden caption, together."""
    base = adapt()
    return replace(
        base,
        model=replace(
            base.model,
            image_projection=HeadConfig("identity"),
            predictor=HeadConfig("adapter", hidden_dim=512, dropout=0.2),
        ),
        context=ContextConfig(caption="words", hidden_words="omit"),
        training=replace(base.training, captions_per_image=4),
    )


def reference_contrastive() -> RunConfig:
    """The reference work's set-up: ResNet-18 and BERT (CLS) tuned end to end, MLP predictor, fixed τ."""
    return RunConfig(
        model=ModelConfig(
            image="microsoft/resnet-18",
            text="google-bert/bert-base-uncased",
            image_lr_scale=1.0,
            text_lr_scale=1.0,
            image_views=("centre",),
            image_size=224,
            image_stages=(-1,),
            text_layers=(-1,),
            text_pooling="cls",
            max_tokens=32,
            dim=512,
            image_projection=HeadConfig("linear"),
            text_projection=HeadConfig("linear"),
            predictor=HeadConfig("mlp", hidden_dim=512),
        ),
        objective=ObjectiveConfig(temperature=0.07, learn_temperature=False),
        training=TrainingConfig(epochs=15, tuned_epochs=15, batch_size=64, learning_rate=1e-4),
    )


def reference_masked() -> RunConfig:
    """The reference work's masked approach, flaws included: its target never learns, its context always sees words."""
    base = reference_contrastive()
    return replace(
        base,
        model=replace(base.model, caption_projection=HeadConfig("linear")),
        context=ContextConfig(caption="tokens", mask_ratio=(0.3,), full_mask_prob=0.0, target="frozen"),
        objective=replace(base.objective, weights={"cosine": 1.0}),
    )


def tiny() -> RunConfig:
    """Two tiny backbones trained from random weights: for `shapes`, the demo and tests."""
    return RunConfig(
        model=ModelConfig(
            image="tiny-resnet",
            text="tiny-bert",
            image_lr_scale=1.0,
            text_lr_scale=1.0,
            image_views=("whole",),
            dim=128,
            image_projection=HeadConfig("linear"),
            text_projection=HeadConfig("linear"),
        ),
        training=TrainingConfig(epochs=15, batch_size=128, learning_rate=2e-3),
    )


def tiny_masked() -> RunConfig:
    """`tiny` for the masked approach: the image and the partly masked caption predict the whole caption."""
    base = tiny()
    return replace(
        base,
        model=replace(base.model, predictor=HeadConfig("residual", hidden_dim=256)),
        context=ContextConfig(caption="words", full_mask_prob=0.75),
    )


RECIPES: dict[str, Callable[[], RunConfig]] = {
    "contrastive": contrastive,
    "contrastive-tuned": contrastive_tuned,
    "masked": masked,
    "predict-align": predict_align,
    "two-way": two_way,
    "closed-form": closed_form,
    "adapt": adapt,
    "adapt-masked": adapt_masked,
    "reference-contrastive": reference_contrastive,
    "reference-masked": reference_masked,
    "tiny": tiny,
    "tiny-masked": tiny_masked,
}


def recipe(name: str, values: Mapping[str, Any] | None = None) -> RunConfig:
    """The configuration of a recipe, with some settings changed.

    Args:
        name: A name in `RECIPES`.
        values: Dotted setting → value, as in `{"model.dim": 256, "objective.weights.info_nce": 0.5}`; a `model.pair`
            takes the place of the recipe's encoders, and as many tokens as it can.

    Raises:
        UsageError: the recipe or a setting is unknown, or a value has the wrong type.
    """
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    values = dict(values or {})
    if values.get("model.pair"):
        values = dict.fromkeys((*ENCODERS, "model.max_tokens")) | values
    return override(replace(RECIPES[name](), recipe=name), values)


def override(config: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """`config` with the settings of `values` (dotted name → value) in place of its own.

    Raises:
        UsageError: a setting is unknown or its value has the wrong type.
    """
    tree = config.to_dict()
    for name, value in values.items():
        *path, leaf = name.split(".")
        branch = tree
        for key in path:
            branch = branch.setdefault(key, {})
            if not isinstance(branch, dict):
                raise UsageError(f"Unknown setting {name}. {key} has no settings of its own.")
        branch[leaf] = value
    return RunConfig.from_dict(tree)
