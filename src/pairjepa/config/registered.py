"""Registries of what settings name: a decorator above a function or class is all that a new entry needs.

`registered` reads the names from the source, since settings and help must not wait for PyTorch.
"""

import ast
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

PACKAGE = Path(__file__).parents[1]
Entry = TypeVar("Entry")


def registrar(registry: dict[str, Entry]) -> Callable[[str], Callable[[Entry], Entry]]:
    """The decorator that enters what stands below it into `registry`, under a name."""

    def named(name: str) -> Callable[[Entry], Entry]:
        def register(entry: Entry) -> Entry:
            registry[name] = entry
            return entry

        return register

    return named


@functools.cache
def registered(where: str, *decorators: str) -> Mapping[str, str]:
    """Names that decorators such as `@head("mlp")` enter, and the first lines of the docstrings below them.

    Args:
        where: a file of the package, or a folder, all of whose files are read.
        decorators: their names.
    """
    path = PACKAGE / where
    files = sorted(path.glob("*.py")) if path.is_dir() else [path]
    found = {}
    for node in (node for file in files for node in ast.parse(file.read_text("utf-8")).body):
        for call in getattr(node, "decorator_list", ()):
            if isinstance(call, ast.Call) and ast.unparse(call.func) in decorators:
                words = ast.get_docstring(node) or ""  # type: ignore[arg-type]
                found[ast.literal_eval(call.args[0])] = words.partition("\n")[0]
    return found
