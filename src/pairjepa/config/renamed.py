"""What version 0.1 called otherwise or had beside: settings and their values, and what to take instead."""

import copy
from typing import Any

FIELDS = {
    "model.image_tune": "model.image_lr_scale",
    "model.text_tune": "model.text_lr_scale",
    "training.text_epochs": "training.tuned_epochs",
    "context.hidden": "context.full_mask_prob",
    **{
        f"model.{head}.hidden": f"model.{head}.hidden_dim"
        for head in ("image_projection", "caption_projection", "text_projection", "predictor")
    },
}
"""Setting of 0.1 → its name today."""

VALUES = {("model.engine", "openvino"): "auto", ("context.target", "average"): "ema"}
"""Setting and value in a configuration of 0.1 → the value that takes its place."""

INSTEAD = {
    "openvino": "Take onnx: OpenVINO reads the files of `pairjepa export RUN --to onnx` by itself.",
    "average": "It is ema now.",
}
"""A value that a flag of 0.1 took → what to do."""


def updated(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration that 0.1 wrote, as this version reads it."""
    config = copy.deepcopy(config)
    for old, new in FIELDS.items():
        settings, name, now = _settings(config, old), _last(old), _last(new)
        if name in settings and now not in settings:
            settings[now] = settings.pop(name)
    for (setting, value), now in VALUES.items():
        settings, name = _settings(config, setting), _last(setting)
        if settings.get(name) == value:
            settings[name] = now
    return config


def instead(value: Any) -> str:
    """What to take in the place of a value of 0.1, ready to end a message with; else nothing."""
    return f" {INSTEAD[value]}" if isinstance(value, str) and value in INSTEAD else ""


def new_name(setting: str) -> str:
    """The name of a setting of 0.1 today, ready to end a message with; else nothing."""
    return f" It is {FIELDS[setting]} now." if setting in FIELDS else ""


def new_flag(flag: str) -> str:
    """The same for a flag of the command line, which may have its value behind `=`."""
    now = FIELDS.get(flag.removeprefix("--").partition("=")[0].replace("-", "_"))
    return f" It is --{now.replace('_', '-')} now." if now else ""


def _settings(config: dict[str, Any], setting: str) -> dict[str, Any]:
    """The table that a dotted setting stands in; an empty one where there is none."""
    table: Any = config
    for name in setting.split(".")[:-1]:
        table = table.get(name) if isinstance(table, dict) else None
    return table if isinstance(table, dict) else {}


def _last(setting: str) -> str:
    return setting.rpartition(".")[2]
