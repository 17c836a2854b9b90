"""What is in the pairs, and what is wrong with them."""

from typing import Any

from pairjepa.backbones.location import local_folder
from pairjepa.config.settings import DataConfig, ModelConfig
from pairjepa.pairs import inspect as inspection
from pairjepa.pairs.scan import scan
from pairjepa.pairs.table import open_pairs
from pairjepa.util.files import cache_folder


def inspect(config: DataConfig, text_model: str | None = None, max_tokens: int = 32) -> dict[str, Any]:
    """What is in the pairs, and what is wrong with them, JSON-ready.

    Args:
        config: which pairs.
        text_model: a text backbone whose tokenizer counts the captions' tokens exactly.
        max_tokens: where captions are cut.
    """
    if text_model is not None:
        local_folder(text_model, "text")
    pairs = open_pairs(config)
    tokens = None
    if text_model is not None:
        from pairjepa.backbones.encoders import load_text_backbone

        backbone = load_text_backbone(
            ModelConfig(text=text_model, max_tokens=max_tokens), 0, pairs.captions.to_pylist()
        )
        tokens = backbone.token_facts(pairs.captions.to_pylist())
    return inspection.inspect(pairs, scan(pairs, cache_folder()), tokens, max_tokens)
