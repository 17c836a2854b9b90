"""Captions as strings: cleaning, identical ones, lengths. All of it runs inside Arrow, no Python object a caption."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

UNDECODABLE = "\ufdd0"
"""Stands for bytes that are not UTF-8 (a Unicode noncharacter, so no honest text holds it)."""

MISSING = ("", "nan", "NaN", "None", "null", "NULL", "<NA>")
"""Captions that stand for none, as pandas, Python and databases write that."""

_WITHOUT_BLANKS = r"([\p{Han}\p{Hiragana}\p{Katakana}]|[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]{1,4})"
"""About a word each in scripts that have no blanks between words."""
_WORD_OR_MARK = r"[\p{L}\p{M}\p{N}_]+|[^\p{L}\p{M}\p{N}_\s]"


def clean(captions: pa.Array) -> pa.Array:
    """Strip white space and byte order marks, join lines; without words, not UTF-8 or one of `MISSING` is null.

    Args:
        captions: strings, nulls allowed.

    Returns:
        Strings of the same length; a null stands for a caption that is to be dropped.
    """
    captions = pc.replace_substring(captions, "\ufeff", "")
    captions = pc.replace_substring_regex(captions, r"[\r\n]+", " ")
    captions = pc.utf8_trim_whitespace(captions)
    missing = pc.is_in(captions, pa.array(MISSING, captions.type))
    useless = pc.or_(missing, pc.match_substring(captions, UNDECODABLE))
    return pc.if_else(useless, pa.scalar(None, captions.type), captions)


def group_ids(captions: pa.Array | pa.ChunkedArray) -> Int64[np.ndarray, " captions"]:
    """A number for each caption that is the same exactly where the string is the same, by first appearance."""
    encoded = _one(captions).dictionary_encode()
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def word_counts(captions: pa.Array | pa.ChunkedArray) -> Int64[np.ndarray, " captions"]:
    """Words and punctuation marks in each caption: about the tokens that a text model sees, specials apart."""
    spaced = pc.replace_substring_regex(_one(captions), _WITHOUT_BLANKS, r" \1 ")
    counts = pc.count_substring_regex(spaced, _WORD_OR_MARK)
    return counts.to_numpy(zero_copy_only=False).astype(np.int64)


def token_warnings(length: dict[str, Any]) -> list[str]:
    """Sentences on what a text backbone does not see of captions, out of what `TextBackbone.token_facts` gives."""
    warnings = []
    if (unknown := length["unknown_share"]) > 0.05:
        warnings.append(
            f"{unknown:.1%} of the captions' tokens are unknown to the text backbone, and captions that differ in "
            "these alone are the same to it. Take a multilingual encoder, such as --model.text "
            "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2, or pair, such as --model.pair "
            "google/siglip2-base-patch16-224."
        )
    equal = length["equal_when_cut"]
    if length["share_cut"] > 0.05 or equal:
        same = f", and {equal:,} of them are then equal to another one" if equal else ""
        warnings.append(
            f"{length['share_cut']:.1%} of the captions are cut at {length['max_tokens']} tokens{same}. "
            "Train with a larger --model.max-tokens, or put first what differs where the model takes no more."
        )
    return warnings


def _one(captions: pa.Array | pa.ChunkedArray) -> pa.Array:
    return captions.combine_chunks() if isinstance(captions, pa.ChunkedArray) else captions
