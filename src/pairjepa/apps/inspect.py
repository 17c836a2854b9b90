"""What is in the pairs, and what is wrong with them."""

from pathlib import Path
from typing import Any

import numpy as np

from pairjepa.backbones.location import local_folder, locate
from pairjepa.backbones.vectors import VECTORS
from pairjepa.config.settings import DataConfig, ModelConfig
from pairjepa.pairs import inspect as inspection
from pairjepa.pairs.scan import scan
from pairjepa.pairs.table import open_pairs
from pairjepa.pairs.twins import arranged, leak_rows
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import cache_folder, check_file, write_rows


def inspect(
    config: DataConfig,
    text_model: str | None = None,
    max_tokens: int = 32,
    *,
    pair: str | None = None,
    leaks: Path | None = None,
) -> dict[str, Any]:
    """What is in the pairs, and what is wrong with them, JSON-ready.

    Args:
        config: which pairs.
        text_model: a text backbone whose tokenizer counts the captions' tokens exactly.
        max_tokens: where captions are cut.
        pair: a pretrained pair in place of `text_model`; captions are cut where its text tower ends.
        leaks: a CSV file for the names of all images that stand in several splits.

    Raises:
        PairJEPAError: no image can be read, `leaks` cannot be written or is the pairs' own file, or as `open_pairs`.
    """
    if text_model is not None:
        local_folder(text_model, "text")
    if pair == VECTORS:
        pair = None  # it has no tokenizer
    if pair is not None:
        local_folder(pair, "pair")
    pairs = open_pairs(config)
    if leaks is not None:
        check_file(leaks, str(config.source))
    cache = cache_folder()
    facts = scan(pairs, cache)
    unreadable = [(pairs.names[row], facts.error[row]) for row in np.flatnonzero(~facts.readable)]
    if len(unreadable) == pairs.n_images:
        name, reason = unreadable[0]
        raise PairJEPAError(
            f"{pairs.description} must hold an image that can be read, got none, such as {name} ({reason})."
        )
    good = np.flatnonzero(facts.readable)
    pairs, facts = arranged(pairs.take(good), facts.take(good), cache)  # as for a training
    tokens = None
    if pair is not None:
        from pairjepa.backbones.pair import load_pair

        backbone = load_pair(locate(pair, "pair", None))[1]
        max_tokens, tokens = backbone.max_tokens, backbone.token_facts(pairs.captions.to_pylist())
    elif text_model is not None:
        from pairjepa.backbones.encoders import load_text_backbone

        captions = pairs.captions.to_pylist()
        tokens = load_text_backbone(
            ModelConfig(text=text_model, max_tokens=max_tokens), 0, captions
        ).token_facts(captions)
    if leaks is not None:
        write_rows(leaks, [["group", "split", "image"], *leak_rows(pairs, facts, cache)])
    return inspection.inspect(pairs, facts, tokens, max_tokens, unreadable)
