"""Joint predictive embeddings of images and captions. Nothing heavy is imported before it is used."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pairjepa.apps.search import Index as Index
    from pairjepa.config.recipes import recipe as recipe
    from pairjepa.config.settings import RunConfig as RunConfig
    from pairjepa.embedder.embedder import Embedder as Embedder
    from pairjepa.embedder.onnx_embedder import OnnxEmbedder as OnnxEmbedder
    from pairjepa.evaluation.compare import compare as compare
    from pairjepa.evaluation.evaluate import evaluate as evaluate
    from pairjepa.pairs import Pairs as Pairs
    from pairjepa.training.train import train as train
    from pairjepa.training.train import train_seeds as train_seeds
    from pairjepa.util.errors import PairJEPAError as PairJEPAError

__version__ = "0.1.0"

_HOMES = {
    "Embedder": "embedder.embedder",
    "Index": "apps.search",
    "OnnxEmbedder": "embedder.onnx_embedder",
    "PairJEPAError": "util.errors",
    "Pairs": "pairs",
    "RunConfig": "config.settings",
    "compare": "evaluation.compare",
    "evaluate": "evaluation.evaluate",
    "recipe": "config.recipes",
    "train": "training.train",
    "train_seeds": "training.train",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
