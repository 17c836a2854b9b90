"""Captions → features: the tokens of the last layer and of lower ones, pooled.

Axes: `batch`, `token` = positions of the longest caption of the batch, `feature` = features side by side.
"""

import json
import re
from pathlib import Path
from typing import Any, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from pairjepa.backbones.loading import MEND, architecture, chosen_states, quiet, weights_digest
from pairjepa.backbones.masking import FUNCTION_WORDS, Tokens
from pairjepa.config.settings import Pooling
from pairjepa.util.checksums import read_record, write_record
from pairjepa.util.errors import PairJEPAError, UsageError
from pairjepa.util.files import digest

SETTINGS = "pairjepa_text.json"


class TextBackbone(nn.Module):
    """A BERT-like model of Transformers with its tokenizer.

    Features are the pooled last layer, and the same pooling of `hidden_states[index]` for each of `layers`.
    `cls` takes position 0, `mean` the mean over the positions that are no padding, `last` the last of these. The pooled
    last layer is brought to unit length where the folder's own modules do so.

    Attributes:
        layers: indices of `hidden_states` that are pooled beside the last layer.
        pooling: `cls`, `mean` or `last`.
        max_tokens: captions are cut there, special tokens included.
        width: length of the feature vector.
        digest: of weights, architecture, tokenizer, layers, pooling and cut as they were when this was made:
            all that the features depend on.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        pooling: Pooling = "mean",
        max_tokens: int = 32,
        layers: tuple[int, ...] | None = None,
        normalise: bool = False,
        lowest: int = 0,
    ) -> None:
        """Wrap a model; layers of None are the middle one, or layer `lowest` where that is above it.

        Raises:
            UsageError: a layer is out of range, or the model takes fewer tokens than `max_tokens`.
        """
        super().__init__()
        self.model, self.tokenizer, self.pooling, self.max_tokens = model, tokenizer, pooling, max_tokens
        self.normalise = normalise
        longest = longest_caption(model, model.config, tokenizer) or max_tokens
        if max_tokens > longest:
            raise UsageError(
                f"model.max_tokens must be at most {longest} for this text backbone, got {max_tokens}."
            )
        states = self._probe()
        if layers is None:
            layers = (max((len(states) - 1) // 2, lowest),)
        self.layers = chosen_states("model.text_layers", layers, len(states))
        self.width = states[-1].shape[-1] + sum(states[index].shape[-1] for index in self.layers)
        self.digest = digest(
            weights_digest(model),
            architecture(model),
            tokenizer_parts(tokenizer),
            [pooling, max_tokens, list(self.layers), *(["normalise"] if normalise else [])],
        )
        self.eval()

    @property
    def tower(self) -> nn.Module:
        """What learns where the backbone is tuned."""
        return self

    def tokenize(self, captions: list[str]) -> list[list[int]]:
        """Token ids of each caption, special tokens included, cut at `max_tokens`."""
        if not captions:
            return []
        encoded = self.tokenizer(
            captions,
            truncation=True,
            max_length=self.max_tokens,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        return encoded["input_ids"]

    def token_facts(self, captions: list[str]) -> dict[str, Any]:
        """What the tokenizer makes of captions: `lengths` before any cut, special tokens included, and `max_tokens`.

        `unknown_share` is that of tokens it does not know, `share_cut` that of captions that are cut, `equal_when_cut`
        the number of different captions that are equal to another one after the cut.
        """
        whole = self.tokenizer(captions, truncation=False, padding=False, verbose=False)["input_ids"]
        lengths = [len(ids) for ids in whole]
        special = self.tokenizer.num_special_tokens_to_add()
        unknown = self.tokenizer.unk_token_id
        if unknown in (self.tokenizer.eos_token_id, self.tokenizer.pad_token_id):
            unknown = None  # of bytes: no string is unknown
        words = sum(max(0, length - special) for length in lengths)
        return {
            "lengths": lengths,
            "max_tokens": self.max_tokens,
            "unknown_share": sum(ids.count(unknown) for ids in whole) / max(1, words),
            "share_cut": sum(length > self.max_tokens for length in lengths) / len(lengths),
            "equal_when_cut": len(set(map(tuple, whole))) - len(set(map(tuple, self.tokenize(captions)))),
        }

    def tokenize_words(self, captions: list[str]) -> list[Tokens]:
        """As `tokenize`, with the word of each token, for masking.

        A word ends at a space too, as tokenizers of SentencePiece models may take a whole caption for one.
        """
        if not self.tokenizer.is_fast:
            return [self._by_spaces(caption) for caption in captions]
        encoded = self.tokenizer(captions, truncation=True, max_length=self.max_tokens, padding=False)
        result = []
        for number, caption in enumerate(captions):
            spans, numbers = encoded[number].offsets, dict[Any, int]()
            words: list[int | None] = [None] * len(spans)
            inner = [place for place, word in enumerate(encoded.word_ids(number)) if word is not None]
            # tokens of a prompt stand where the caption begins, as the first of its own does
            prompt = sum(spans[place][0] == spans[inner[0]][0] for place in inner) - 1 if inner else 0
            for place in inner[prompt:]:
                word = encoded.token_to_word(number, place), len(caption[: spans[place][1]].split())
                words[place] = numbers.setdefault(word, len(numbers))
            result.append(_tokens(caption, encoded["input_ids"][number], words, spans))
        return result

    def _by_spaces(self, caption: str) -> Tokens:
        """By a tokenizer that does not tell where its tokens stand: each word is tokenised alone."""
        found = list(re.finditer(r"\S+", caption))
        pieces = [self.tokenizer.encode(word[0], add_special_tokens=False) for word in found]
        numbers = [number for number, ids in enumerate(pieces) for _ in ids]
        room = self.max_tokens - self.tokenizer.num_special_tokens_to_add()
        inner = [token for ids in pieces for token in ids][:room]
        ids = self.tokenizer.build_inputs_with_special_tokens(inner)
        before = next(n for n in range(len(ids) + 1) if ids[n : n + len(inner)] == inner)
        words: list[int | None] = [None] * len(ids)
        words[before : before + len(inner)] = numbers[: len(inner)]
        return _tokens(
            caption, ids, words, [(0, 0) if word is None else found[word].span() for word in words]
        )

    def collate(self, ids: list[list[int]]) -> tuple[Int[Tensor, "batch token"], Int[Tensor, "batch token"]]:
        """Ids padded to the longest caption, and the mask: 1 where there is a token, 0 where there is padding."""
        longest = max([1, *map(len, ids)])
        padded = torch.full((len(ids), longest), self.tokenizer.pad_token_id or 0, dtype=torch.long)
        mask = torch.zeros((len(ids), longest), dtype=torch.long)
        for row, tokens in enumerate(ids):
            padded[row, : len(tokens)] = torch.tensor(tokens, dtype=torch.long)
            mask[row, : len(tokens)] = 1
        return padded, mask

    def forward(
        self, input_ids: Int[Tensor, "batch token"], attention_mask: Int[Tensor, "batch token"]
    ) -> Float[Tensor, "batch feature"]:
        """Features of collated captions."""
        return self.pooled(self._run(input_ids, attention_mask, bool(self.layers)), attention_mask)

    def pooled(
        self, output: Any, attention_mask: Int[Tensor, "batch token"], first: int = 0
    ) -> Float[Tensor, "batch feature"]:
        """Features from a model's output, whose hidden states begin with that of layer `first`."""
        last = self._pool(output.last_hidden_state, attention_mask)
        lower = [self._pool(output.hidden_states[index - first], attention_mask) for index in self.layers]
        return torch.cat([F.normalize(last, dim=1) if self.normalise else last, *lower], dim=1)

    def save(self, folder: Path) -> None:
        """Write weights, configuration and tokenizer; `load_text_backbone(folder=...)` reads them back."""
        with quiet():
            self.model.save_pretrained(folder)  # type: ignore[operator]
            self.tokenizer.save_pretrained(folder)
        write_record(
            folder / SETTINGS,
            {
                "pooling": self.pooling,
                "max_tokens": self.max_tokens,
                "layers": list(self.layers),
                "normalise": self.normalise,
            },
        )

    def _run(self, input_ids: Tensor, attention_mask: Tensor, states: bool) -> Any:
        return self.model(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=states)

    @torch.no_grad()
    def _probe(self) -> list[Tensor]:
        """All hidden states of a short caption."""
        self.model.eval()
        output = self._run(*self.collate(self.tokenize(["a"])), states=True)
        return list(output.hidden_states)

    def _pool(self, state: Tensor, mask: Tensor) -> Tensor:
        if self.pooling == "cls":
            return state[:, 0]
        if self.pooling == "last":
            return state[torch.arange(len(state), device=state.device), mask.sum(1) - 1]
        weight = mask.unsqueeze(-1).to(state.dtype)
        return (state * weight).sum(1) / weight.sum(1).clamp(min=1)


def _tokens(caption: str, ids: list[int], words: list[int | None], spans: list[tuple[int, int]]) -> Tokens:
    """A tokenised caption, with the words that carry content."""
    text: dict[int, str] = {}
    for word, (start, end) in zip(words, spans, strict=True):
        if word is not None:
            text[word] = text.get(word, "") + caption[start:end].lower().strip()
    content = {w: t[:1].isalnum() and t not in FUNCTION_WORDS for w, t in text.items()}
    return Tokens(ids, words, [word is not None and content[word] for word in words], spans)


def longest_caption(model: nn.Module, config: Any, tokenizer: Any) -> int | None:
    """Tokens that a model takes; None if it names no limit. RoBERTa's positions begin after the padding's."""
    positions = getattr(config, "max_position_embeddings", None)
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            positions = module.num_embeddings - module.padding_idx - 1
    limits = [positions or 0, int(tokenizer.model_max_length)]
    return min((limit for limit in limits if limit > 0), default=None)


def tokenizer_parts(tokenizer: Any) -> Any:
    """What token ids depend on. Cut and padding are ours, and calls change those that the tokenizer remembers."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return [type(tokenizer).__name__, tokenizer.get_vocab()]
    parts = json.loads(backend.to_str())
    return {name: part for name, part in parts.items() if name not in ("truncation", "padding")}


def read_settings(folder: Path) -> tuple[Pooling, int, tuple[int, ...], bool]:
    """What `save` wrote beside the weights: pooling, max_tokens, layers, normalise.

    Raises:
        PairJEPAError: it is not what `save` writes.
    """
    settings = read_record(folder / SETTINGS, {"pooling": str, "max_tokens": int, "layers": [int]}, MEND)
    if settings["pooling"] not in get_args(Pooling):
        raise PairJEPAError(f"{folder / SETTINGS} is damaged. {MEND}")
    layers = tuple(settings["layers"]) or (-1,)
    return settings["pooling"], settings["max_tokens"], layers, settings.get("normalise", False)  # not in 0.1
