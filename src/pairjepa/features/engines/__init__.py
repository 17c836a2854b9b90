"""What computes the features of a frozen backbone: PyTorch, in float32 or bfloat16, or ONNX Runtime.

An engine is a module here with a function `make(backbone) -> Engine`, and a line in `ENGINES`.
"""

import importlib
import os
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pairjepa.config.renamed import instead
from pairjepa.util.errors import UsageError, missing_extra, unknown

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float32

ENGINES: dict[str, tuple[str, ...]] = {"torch": (), "bfloat16": (), "onnx": ("onnxruntime", "onnxscript")}
"""Each engine and the packages that it needs beside PyTorch; the extra of the same name brings them."""

ELSEWHERE = {"ray": ("ray",)}
"""Names beside those of the engines: PyTorch too, in the workers of `features.on_ray`. Same features, same store."""

Inputs = tuple[Any, ...]
"""A batch: pixels (batch, size, size, 3) uint8; or token ids and mask, (batch, token) int64. Arrays of NumPy."""


@runtime_checkable
class Engine(Protocol):
    """A backbone, ready to compute."""

    def results(self, batches: Iterable[Inputs]) -> Iterator["Float32[np.ndarray, 'batch width']"]:
        """Features of each batch, in their order."""


class Unconvertible(Exception):
    """An engine cannot take this backbone; the message says why in a few words."""


def no_telemetry() -> None:
    """Keep ONNX Runtime from sending events home, which it does unasked; called before its import."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def installed(name: str) -> bool:
    """Whether the packages of an engine are there; nothing is imported."""
    return all(find_spec(package) is not None for package in ENGINES[name])


def check_engine(name: str) -> None:
    """Raise if an engine is none, or its packages are not there; nothing is imported.

    Raises:
        UsageError: there is no such engine.
        PairJEPAError: it is not installed.
    """
    if name == "auto":
        return
    known = ENGINES | ELSEWHERE
    if name not in known:
        raise UsageError(f"{unknown('engine', name, ['auto', *known])}{instead(name)}")
    for package in known[name]:
        if find_spec(package) is None:
            raise missing_extra(package, name)


def make(name: str, backbone: Any) -> Engine:
    """The backbone, made ready for the engine `name`.

    Raises:
        Unconvertible: the engine cannot take it.
    """
    module = importlib.import_module(f"{__name__}.{name}")
    engine: Engine = module.make(backbone)
    return engine
