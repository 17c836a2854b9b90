"""What version 0.1 had and this one has not: values of its settings, and what to take instead."""

from typing import Any

VALUES = {("model", "engine", "openvino"): "auto"}
"""Section, setting and value in a configuration of 0.1 → the value that takes its place."""

INSTEAD = {"openvino": "Take onnx: OpenVINO reads the files of `pairjepa export RUN --to onnx` by itself."}
"""A value that a flag of 0.1 took → what to do."""


def updated(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration that 0.1 wrote, as this version reads it."""
    for (section, name, old), new in VALUES.items():
        settings = config.get(section)
        if isinstance(settings, dict) and settings.get(name) == old:
            config = config | {section: settings | {name: new}}
    return config


def instead(value: Any) -> str:
    """What to take in the place of a value of 0.1, ready to end a message with; else nothing."""
    return f" {INSTEAD[value]}" if isinstance(value, str) and value in INSTEAD else ""
