"""Command-line flags out of the fields of a configuration, so that a new field is a new flag.

A command takes the settings as keyword arguments of a made signature and is called with those that the user gave:
what is not given is never touched, at any depth.
"""

import ast
import dataclasses
import functools
import inspect
import textwrap
import typing
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Group, Parameter

from pairjepa.config.registered import registered
from pairjepa.config.settings import RunConfig

_FLAGS = {
    "data.source": ("--data", "--data.source"),
    "model.engine": ("--engine", "--model.engine"),
    "training.start": ("--from", "--training.start"),
}
_GROUPS = {
    name: Group(name.capitalize(), sort_key=place + 1) for place, name in enumerate(RunConfig().to_dict())
}


@dataclass(frozen=True)
class Setting:
    """One field of a configuration, somewhere in its tree."""

    name: str
    """Dotted, as in `model.image_projection.hidden_dim`."""
    kind: Any
    """Its annotation."""
    value: Any
    """What holds if it is not given."""
    help: str
    """The docstring below the field."""

    @property
    def section(self) -> str:
        """The part of the configuration that it belongs to."""
        return self.name.split(".")[0]

    def parameter(self, needed: bool) -> inspect.Parameter:
        """The keyword argument that stands for it; `needed` if the user must give it."""
        annotation: Any = Annotated[
            self.kind,
            Parameter(
                name=_flags(self.name),
                group=_GROUPS[self.section],
                help=self.help,
                show_default=_shown if self.value is not None else False,
                consume_multiple=True,  # --model.image-stages 15 20 21
                negative_iterable=(),
                negative=() if ".no_" in self.name else None,
            ),
        ]
        return inspect.Parameter(
            self.name.replace(".", "__"),
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if needed else self.value,
            annotation=annotation,
        )


def settings(config: RunConfig, *names: str, without: Container[str] = ("recipe",)) -> list[Setting]:
    """Settings of a run in the order of the fields: all, or those of these names and sections."""
    return [
        setting
        for setting in _leaves(config, "")
        if setting.name not in without and (not names or setting.name in names or setting.section in names)
    ]


def with_flags(
    chosen: Iterable[Setting], needed: Container[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorates a command, which gets the settings that the user gave as `**given`.

    Args:
        chosen: The settings; each becomes a flag.
        needed: Names of those that the user must give if they are None.
    """

    def decorated(function: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]
        flags = [setting.parameter(setting.value is None and setting.name in needed) for setting in chosen]
        function.__signature__ = inspect.Signature([*own, *flags])  # type: ignore[attr-defined]
        return function

    return decorated


def given_settings(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted setting → value, from the keyword arguments that the user gave."""
    return {argument.replace("__", "."): value for argument, value in arguments.items()}


def as_flags(given: Mapping[str, Any], *parts: str) -> list[str]:
    """Settings as words of a command; of these `parts` of the configuration alone, if any are named."""
    words: list[str] = []
    for name, value in given.items():
        if value is not False and (not parts or name.split(".")[0] in parts):
            values = () if value is True else value if isinstance(value, tuple) else (value,)
            words += [_flags(name)[0], *map(str, values)]
    return words


def _flags(name: str) -> tuple[str, ...]:
    return _FLAGS.get(name, ("--" + name.replace("_", "-"),))


def _leaves(config: Any, prefix: str) -> Iterable[Setting]:
    owner: Any = type(config)
    kinds, docs = typing.get_type_hints(owner), _field_docs(owner)
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            yield from _leaves(value, name + ".")
        elif name == "objective.weights":  # a flag a term, so that one leaves the other terms alone
            for term, words in registered("objectives", "objective", "regularizer").items():
                yield Setting(f"{name}.{term}", float, value.get(term, 0.0), f"Weight, 0 for none. {words}")
        else:
            kind = kinds[field.name]
            several = [one for one in typing.get_args(kind) if typing.get_origin(one) is tuple]
            if several:  # one or several, which a flag has as several
                kind, value = several[0] | None, (value,) if isinstance(value, str) else value
            yield Setting(name, kind, value, docs.get(field.name, ""))


@functools.cache
def _field_docs(kind: type) -> dict[str, str]:
    """The docstring below each field. Python throws them away, so they are read from the source."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(tree, ast.ClassDef)
    docs = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
            docs[ast.unparse(field.target)] = inspect.cleandoc(ast.literal_eval(below.value))
    return docs


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
