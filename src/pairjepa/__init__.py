"""Joint predictive embeddings of images and captions. Nothing heavy is imported before it is used."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pairjepa.comparison import compare
    from pairjepa.config import RunConfig
    from pairjepa.embedder import Embedder
    from pairjepa.errors import PairJEPAError
    from pairjepa.onnx_embedder import OnnxEmbedder
    from pairjepa.pairs import Pairs
    from pairjepa.recipes import recipe
    from pairjepa.search import Index
    from pairjepa.workflow import evaluate, train, train_seeds

__version__ = "0.1.0"

__all__ = [
    "Embedder",
    "Index",
    "OnnxEmbedder",
    "PairJEPAError",
    "Pairs",
    "RunConfig",
    "__version__",
    "compare",
    "evaluate",
    "recipe",
    "train",
    "train_seeds",
]

_HOMES = {
    "Embedder": "embedder",
    "Index": "search",
    "OnnxEmbedder": "onnx_embedder",
    "PairJEPAError": "errors",
    "Pairs": "pairs",
    "RunConfig": "config",
    "compare": "comparison",
    "evaluate": "workflow",
    "recipe": "recipes",
    "train": "workflow",
    "train_seeds": "workflow",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
