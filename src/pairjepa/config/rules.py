"""The rules that a type cannot check, of one setting alone and of several together."""

import math
from typing import Any

from pairjepa.config.settings import TEMPERATURES, ModelConfig, RunConfig, holds_cca, holds_linear
from pairjepa.config.values import bad, flatten

HEADS = ("image_projection", "caption_projection", "text_projection", "predictor")
AT_LEAST = {
    "data.pairs": 2,
    "model.max_tokens": 3,
    "training.batch_size": 2,
    **dict.fromkeys(
        (
            *(f"model.{name}" for name in ("dim", "image_size", "image_grid", "feature_batch")),
            *("model.image_lora", "model.text_lora", "model.text_frozen_layers"),
            *(f"model.{head}.hidden_dim" for head in HEADS),
            *("context.masks", "objective.sigreg_directions"),
            *(f"training.{name}" for name in ("epochs", "tuned_epochs", "captions_per_image", "micro_batch")),
        ),
        1,
    ),
}
BETWEEN: dict[str, tuple[float, float]] = {
    "training.seed": (0, 2**32 - 1),
    **dict.fromkeys(
        (
            "data.max_bad",
            "model.adapter_scale",
            "model.closed_form_share",
            "context.full_mask_prob",
            "training.warmup",
        ),
        (0, 1),
    ),
}
BELOW_ONE = (
    *(f"model.{head}.{dropout}" for head in HEADS for dropout in ("input_dropout", "dropout")),
    *("context.cell_dropout", "objective.label_smoothing"),
)
"""Shares that may not be the whole."""
POSITIVE = {
    "model.image_lr_scale": "Leave it out to keep the backbone frozen.",
    "model.text_lr_scale": "Leave it out to keep the backbone frozen.",
    "training.learning_rate": "",
}
"""Setting → what to do."""
OF_TOWERS = (
    *("image", "text", "image_size", "image_grid"),
    *("image_stages", "text_layers", "text_pooling", "text_frozen_layers"),
)
"""Settings of the model that a pretrained pair has no use for."""


def validate(config: RunConfig) -> None:
    """Check every value that a type cannot check.

    Raises:
        UsageError: names the dotted field, the rule, the value and what to do.
    """
    for name, value in flatten(config):
        if value is not None:
            _check_alone(name, value)
    if not config.model.image_views:
        raise bad("model.image_views", "name at least one view", config.model.image_views)
    _check_tuned(config)
    _check_pair(config)
    _check_several_images(config.model)
    _check_context(config)
    _check_transformer(config)
    _check_objective(config)
    if config.training.solver == "cca":
        _check_closed_form(config)


def _check_alone(name: str, value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise bad(name, "be finite", value)
    if name in AT_LEAST and value < AT_LEAST[name]:
        raise bad(name, f"be at least {AT_LEAST[name]}", value)
    if name in BETWEEN and not BETWEEN[name][0] <= value <= BETWEEN[name][1]:
        raise bad(name, "be between {} and {}".format(*BETWEEN[name]), value)
    if name in BELOW_ONE and not 0 <= value < 1:
        raise bad(name, "be in [0, 1)", value)
    if name in POSITIVE and value <= 0:
        raise bad(name, "be positive", value, POSITIVE[name])
    if (name == "training.weight_decay" or name.startswith("objective.weights.")) and value < 0:
        raise bad(name, "not be negative", value)


def _check_tuned(config: RunConfig) -> None:
    m = config.model
    if m.text_frozen_layers is not None and m.text_lr_scale is None:
        raise bad(
            "model.text_frozen_layers",
            "go with model.text_lr_scale",
            m.text_frozen_layers,
            "Give that, or leave both out.",
        )
    if m.text_frozen_layers and m.text_lora:
        raise bad("model.text_lora", "not be given beside model.text_frozen_layers", m.text_lora)
    if m.text_frozen_layers and -1 < min(m.text_layers or (-1,)) < m.text_frozen_layers:
        raise bad("model.text_layers", "not be below model.text_frozen_layers", m.text_layers)


def _check_pair(config: RunConfig) -> None:
    m = config.model
    adapters = "adapter" in (m.image_projection.kind, m.predictor.kind, m.text_projection.kind)
    if m.adapter_scale is not None and not adapters:
        raise bad("model.adapter_scale", "go with heads of the kind adapter", m.adapter_scale)
    if m.closed_form_share and (config.training.solver == "cca" or not holds_linear(config)):
        raise bad(
            "model.closed_form_share",
            "go with frozen images and heads of the kind linear, residual, gated or adapter",
            m.closed_form_share,
        )
    if m.pair is None:
        if m.max_tokens is None or config.objective.temperature is None:
            raise bad(
                "model.pair",
                "be given where model.max_tokens or objective.temperature is none",
                None,
                "Give the folder or hub id of a pretrained pair, such as openai/clip-vit-base-patch32.",
            )
        return
    for name in OF_TOWERS:
        if (value := getattr(m, name)) is not None:
            advice = "The pair has towers of its own."
            raise bad(f"model.{name}", "not be given beside model.pair", value, advice)
    if "random" in (m.image_weights, m.text_weights):
        raise bad("model.image_weights", "be pretrained where model.pair is given", "random")


def _check_several_images(m: ModelConfig) -> None:
    if not isinstance(m.image, tuple):
        return
    for name in ("image_lr_scale", "image_lora", "image_grid", "image_revision"):
        if (value := getattr(m, name)) is not None:
            raise bad(f"model.{name}", "not be given beside several image backbones", value)
    if m.image_weights == "random" or m.image_stages not in (None, (-1,)):
        raise bad("model.image", "name one backbone where image_weights or image_stages is given", m.image)


def _check_context(config: RunConfig) -> None:
    c, m = config.context, config.model
    if len(c.mask_ratio) not in (1, 2) or not 0 <= c.mask_ratio[0] <= c.mask_ratio[-1] <= 1:
        raise bad("context.mask_ratio", "be one or two ascending numbers in [0, 1]", c.mask_ratio)
    if not c.image and c.caption is None:
        raise bad("context.caption", "be on where context.image is off", None, "Nothing would be seen.")
    if c.target == "ema" and (c.caption is None or m.caption_projection != m.text_projection):
        raise bad(
            "context.target",
            "not be ema unless model.caption_projection is the same head as model.text_projection",
            c.target,
            "Set context.caption and give both the same settings.",
        )


def _check_objective(config: RunConfig) -> None:
    o, m = config.objective, config.model
    used = [term for term, weight in o.weights.items() if weight > 0]
    if not used:
        raise bad("objective.weights", "give at least one term a positive weight", o.weights)
    if bool(config.training.teachers) != ("distillation" in used):
        raise bad(
            "training.teachers",
            "go with a weight of the term distillation",
            config.training.teachers,
            "Give both, as in --training.teachers runs/a --objective.weights.distillation 1.",
        )
    if m.auxiliary is None and any(term.startswith("auxiliary_") for term in used):
        raise bad("model.auxiliary", "be given where an auxiliary_ term has a weight", None)
    if m.auxiliary == "context" and config.context.caption is not None:
        raise bad("model.auxiliary", "not be context where the context sees a caption", m.auxiliary)
    low, high = TEMPERATURES
    if o.temperature is not None and not low <= o.temperature <= high:
        raise bad("objective.temperature", f"be in [{low:g}, {high:g}]", o.temperature)
    if o.bias is not None and not (-100 <= o.bias <= 100 and o.weights.get("sigmoid")):
        raise bad("objective.bias", "be in [-100, 100] beside a weight of the term sigmoid", o.bias)


def _check_closed_form(config: RunConfig) -> None:
    if not holds_cca(config):
        raise bad(
            "training.solver",
            "be adamw unless both backbones are frozen, the context is the image alone, and the heads are linear",
            "cca",
            "Take the recipe closed-form as it is.",
        )
    if config.training.teachers:
        raise bad("training.teachers", "be left out where training.solver is cca", config.training.teachers)
    if config.training.epochs != 1:
        raise bad("training.epochs", "be 1 where training.solver is cca", config.training.epochs)


def _check_transformer(config: RunConfig) -> None:
    m = config.model
    for name in ("image_projection", "caption_projection", "text_projection"):
        if getattr(m, name).kind == "transformer":
            raise bad(f"model.{name}.kind", "not be transformer", "transformer", "Only model.predictor can.")
    if m.predictor.kind == "transformer":
        if m.image_grid is None:
            raise bad("model.image_grid", "be given where model.predictor is a transformer", None, "Try 4.")
        if m.predictor.hidden_dim % 64:
            raise bad(
                "model.predictor.hidden_dim",
                "be a multiple of 64 for a transformer",
                m.predictor.hidden_dim,
            )
        for name in ("image_projection", "caption_projection"):
            if getattr(m, name).kind != "identity":
                raise bad(f"model.{name}.kind", "be identity before a transformer", getattr(m, name).kind)
    elif m.image_grid is not None or config.context.cell_dropout:
        raise bad(
            "model.predictor.kind",
            "be transformer where model.image_grid or context.cell_dropout is given",
            m.predictor.kind,
        )
