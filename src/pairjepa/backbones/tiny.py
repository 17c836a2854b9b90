"""The built-in backbones, small and random: for `shapes`, for tests, and to try a command without a download."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from pairjepa.backbones.loading import random_transformer
from pairjepa.backbones.location import TINY
from pairjepa.backbones.preprocessing import Preprocessing
from pairjepa.util.errors import UsageError

TINY_IMAGE, TINY_TEXT = TINY["image"], TINY["text"]


def tiny_resnet(seed: int) -> nn.Module:
    """A ResNet of four basic blocks, 16 to 128 channels wide."""
    from transformers import ResNetConfig

    sizes = [16, 32, 64, 128]
    config = ResNetConfig(embedding_size=16, hidden_sizes=sizes, depths=[1, 1, 1, 1], layer_type="basic")
    return random_transformer(config, seed)


def tiny_preprocessing() -> Preprocessing:
    """The whole picture at 64 px, scaled to [-1, 1]."""
    half = (127.5,) * 3
    return Preprocessing(size=64, resize=64, keep_aspect=False, resample=2, mean=half, std=half)


def tiny_bert(captions: Iterable[str], max_tokens: int, seed: int) -> tuple[nn.Module, Any]:
    """A BERT of two layers, 64 wide, and a tokenizer of the words of `captions`.

    Raises:
        UsageError: there are no captions to take the words from.
    """
    from transformers import BertConfig

    tokenizer = train_tokenizer(captions)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=max_tokens,
        pad_token_id=tokenizer.pad_token_id,
    )
    return random_transformer(config, seed), tokenizer


def train_tokenizer(captions: Iterable[str], vocabulary: int = 10_000) -> Any:
    """A lower-case tokenizer of whole words and punctuation, the commonest `vocabulary` of them.

    Deterministic: words of equal count are ordered by their letters.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import TemplateProcessing
    from tokenizers.trainers import WordLevelTrainer
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    trainer = WordLevelTrainer(vocab_size=vocabulary, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(captions, trainer)
    if tokenizer.get_vocab_size() == len(special):
        raise UsageError(f"{TINY_TEXT} must be given captions to take its words from, got none.")
    ids = [(token, special.index(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ids)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
