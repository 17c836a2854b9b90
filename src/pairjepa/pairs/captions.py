"""Captions as strings: cleaning, identical ones, lengths. All of it runs inside Arrow, no Python object a caption."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

UNDECODABLE = "\ufdd0"
"""Stands for bytes that are not UTF-8 (a Unicode noncharacter, so no honest text holds it)."""

_WORD_OR_MARK = r"[\p{L}\p{M}\p{N}_]+|[^\p{L}\p{M}\p{N}_\s]"


def clean(captions: pa.Array) -> pa.Array:
    """Strip white space and byte order marks, join lines; what holds no words or was not UTF-8 becomes null.

    Args:
        captions: strings, nulls allowed.

    Returns:
        Strings of the same length; a null stands for a caption that is to be dropped.
    """
    captions = pc.replace_substring(captions, "\ufeff", "")
    captions = pc.replace_substring_regex(captions, r"[\r\n]+", " ")
    captions = pc.utf8_trim_whitespace(captions)
    useless = pc.or_(pc.equal(pc.binary_length(captions), 0), pc.match_substring(captions, UNDECODABLE))
    return pc.if_else(useless, pa.scalar(None, captions.type), captions)


def group_ids(captions: pa.Array | pa.ChunkedArray) -> Int64[np.ndarray, " captions"]:
    """A number for each caption that is the same exactly where the string is the same, by first appearance."""
    encoded = _one(captions).dictionary_encode()
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def word_counts(captions: pa.Array | pa.ChunkedArray) -> Int64[np.ndarray, " captions"]:
    """Words and punctuation marks in each caption: about the tokens that a text model sees, specials apart."""
    counts = pc.count_substring_regex(_one(captions), _WORD_OR_MARK)
    return counts.to_numpy(zero_copy_only=False).astype(np.int64)


def _one(captions: pa.Array | pa.ChunkedArray) -> pa.Array:
    return captions.combine_chunks() if isinstance(captions, pa.ChunkedArray) else captions
