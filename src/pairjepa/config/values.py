"""Settings as plain values: dataclasses to dotted names, nested dicts to dataclasses, and the error of a bad one."""

import dataclasses
import types
import typing
from typing import Any, Literal

from pairjepa.config.renamed import instead, new_name
from pairjepa.util.errors import UsageError, close_matches


def flatten(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Dotted name and value of each setting, at any depth."""
    if dataclasses.is_dataclass(value):
        items = [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)]
    elif isinstance(value, dict):
        items = list(value.items())
    else:
        return [(prefix, value)]
    return [leaf for name, item in items for leaf in flatten(item, f"{prefix}.{name}" if prefix else name)]


def build(kind: Any, value: Any, name: str) -> Any:
    """`value` (from JSON) as an instance of the annotation `kind`; `name` is the setting's, for errors."""
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise bad(name, "be a table of settings", value)
        hints = typing.get_type_hints(kind)
        for key in value:
            if key not in hints:
                dotted = f"{name}.{key}" if name else key
                raise UsageError(f"Unknown setting {dotted}.{new_name(dotted) or close_matches(key, hints)}")
        return kind(  # type: ignore[operator]
            **{k: build(hints[k], v, f"{name}.{k}" if name else k) for k, v in value.items()}
        )
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        if isinstance(value, list | tuple) and arguments[0] is str:  # one name, or several
            return (
                build(arguments[0], value[0], name) if len(value) == 1 else build(arguments[1], value, name)
            )
        return build(next(a for a in arguments if a is not type(None)), value, name)
    if origin is Literal:
        if value not in arguments:
            known = ", ".join(map(str, arguments))
            raise UsageError(f"{name} must be one of {known}, got {value!r}.{instead(value)}")
        return value
    if origin is tuple:
        if isinstance(value, str) and arguments[0] is str:  # as runs had it once
            value = (value,)
        if not isinstance(value, list | tuple):
            raise bad(name, "be a list", value)
        return tuple(build(arguments[0], item, name) for item in value)
    if origin is dict:
        if not isinstance(value, dict):
            raise bad(name, "be a table of settings", value)
        return {key: build(arguments[1], item, f"{name}.{key}") for key, item in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise bad(name, f"be of type {kind.__name__}", value)
    return value


def bad(name: str, rule: str, value: Any, advice: str = "") -> UsageError:
    """The error of a setting that breaks a rule."""
    return UsageError(f"{name} must {rule}, got {value!r}.{' ' + advice if advice else ''}")
