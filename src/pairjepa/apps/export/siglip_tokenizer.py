"""SigLIP's tokenizer, which is Python code around SentencePiece, as one of the library `tokenizers`."""

import re
import string
from typing import Any

from tokenizers import Regex, Tokenizer, normalizers, processors
from transformers.convert_slow_tokenizer import SpmConverter


def siglip_tokenizer(tokenizer: Any) -> Tokenizer:
    """The same ids as `tokenizer`, a `SiglipTokenizer`, without Python or SentencePiece.

    Two things differ: words that are written as a special token (`</s>`), and a capital sigma at the end of a word,
    which Python alone makes a final one.
    """
    return _Converter(tokenizer).converted()  # type: ignore[no-untyped-call]


class _Converter(SpmConverter):
    handle_byte_fallback = True  # where the vocabulary has bytes

    def normalizer(self, proto: Any) -> Any:
        """As `SiglipTokenizer.canonicalize_text`, then as SentencePiece."""
        steps = [normalizers.Replace("▁", " "), normalizers.Prepend("▁")]
        if self.original_tokenizer.do_lower_case:
            steps.append(normalizers.Lowercase())
        steps += [
            normalizers.Replace(Regex(f"[{re.escape(string.punctuation)}]"), ""),
            normalizers.Replace(Regex(r"\s+"), " "),
        ]
        if characters := proto.normalizer_spec.precompiled_charsmap:
            steps.append(normalizers.Precompiled(characters))
        steps += [normalizers.Replace(Regex(" +"), "▁"), normalizers.Replace(Regex("▁+$"), "")]
        return normalizers.Sequence(steps)

    def pre_tokenizer(self, replacement: str, add_prefix_space: bool) -> None:
        """None: SentencePiece cuts the whole caption."""

    def post_processor(self) -> Any:
        """The end token behind each caption."""
        end = self.original_tokenizer.eos_token
        ends = [(end, self.original_tokenizer.eos_token_id)]
        return processors.TemplateProcessing(single=["$A", end], special_tokens=ends)
