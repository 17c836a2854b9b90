"""What is in the pairs, and what is wrong with them."""

from pathlib import Path
from typing import Any

from pairjepa.backbones.location import local_folder
from pairjepa.config.settings import DataConfig, ModelConfig
from pairjepa.pairs import inspect as inspection
from pairjepa.pairs.scan import scan
from pairjepa.pairs.table import open_pairs
from pairjepa.pairs.twins import arranged, leak_rows
from pairjepa.util.files import cache_folder, write_rows


def inspect(
    config: DataConfig, text_model: str | None = None, max_tokens: int = 32, *, leaks: Path | None = None
) -> dict[str, Any]:
    """What is in the pairs, and what is wrong with them, JSON-ready.

    Args:
        config: which pairs.
        text_model: a text backbone whose tokenizer counts the captions' tokens exactly.
        max_tokens: where captions are cut.
        leaks: a CSV file for the names of all images that stand in several splits.
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
    cache = cache_folder()
    pairs, facts = arranged(pairs, scan(pairs, cache), cache)
    if leaks is not None:
        write_rows(leaks, [["group", "split", "image"], *leak_rows(pairs, facts, cache)])
    return inspection.inspect(pairs, facts, tokens, max_tokens)
