"""What a sentence-transformers folder says of its transformer: pooling, normalisation, prompt, longest text."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pairjepa.config.settings import Pooling
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import read_json

_ANYWAY = "Give --model.text-pooling mean to pool the transformer alone."
_WHAT = "Sentence-transformers settings"
_LEGACY = "pooling_mode_"
_NAMES = {"cls_token": "cls", "mean_tokens": "mean", "lasttoken": "last"}


@dataclass(frozen=True)
class SentenceSettings:
    """How captions are pooled; the defaults are those of a plain Transformers folder."""

    pooling: Pooling = "mean"
    normalise: bool = False
    """Whether what is pooled is brought to unit length."""
    prompt: str = ""
    """What stands before each caption."""
    longest: int | None = None
    """Tokens, special ones included."""


def read_sentence_settings(folder: Path) -> SentenceSettings:
    """The settings of a folder with a modules.json, as its `encode` follows them; else the defaults.

    Raises:
        PairJEPAError: its modules do more than pooling by the first position, the mean or the last, and normalisation.
    """
    if not (folder / "modules.json").is_file():
        return SentenceSettings()
    try:
        return _read(folder)
    except (KeyError, TypeError, AttributeError) as error:
        raise PairJEPAError(
            f"model.text must be a sentence-transformers folder as it was saved, got {folder}, whose settings lack "
            f"{error}. {_ANYWAY}"
        ) from None


def _read(folder: Path) -> SentenceSettings:
    modules = {m["type"].rsplit(".", 1)[-1]: m["path"] for m in read_json(folder / "modules.json", _WHAT)}
    others = [name for name in modules if name not in ("Transformer", "Pooling", "Normalize")]
    pool = read_json(folder / modules["Pooling"] / "config.json", _WHAT) if "Pooling" in modules else {}
    mode: Any = pool.get("pooling_mode") or "+".join(
        name.removeprefix(_LEGACY) for name, on in pool.items() if name.startswith(_LEGACY) and on
    )
    mode = _NAMES.get(mode, mode)
    prompts = _optional(folder / "config_sentence_transformers.json")
    prompt = (prompts.get("prompts") or {}).get(prompts.get("default_prompt_name")) or ""
    if mode not in get_args(Pooling):
        others.append(f"pooling by {mode or 'nothing'}")
    if prompt and not pool.get("include_prompt", True):
        others.append("a prompt that is not pooled")
    if others:
        raise PairJEPAError(
            f"model.text must pool by cls, mean or the last token, got {folder}, which has {' and '.join(others)}. "
            f"{_ANYWAY}"
        )
    longest = _optional(folder / "sentence_bert_config.json").get("max_seq_length")
    return SentenceSettings(mode, "Normalize" in modules, prompt, longest)


def modules_beyond_pair(folder: Path) -> list[str]:
    """What the modules.json of a pretrained pair's folder puts behind its embeddings; none for a plain folder."""
    if not (folder / "modules.json").is_file():
        return []
    kinds = [module["type"].rsplit(".", 1)[-1] for module in read_json(folder / "modules.json", _WHAT)]
    return [kind for kind in kinds if kind not in ("Transformer", "CLIPModel", "Normalize")]


def prepend(tokenizer: Any, prompt: str) -> None:
    """Make a tokenizer put `prompt` before each text; as a part of it, it is exported and saved with it.

    Raises:
        PairJEPAError: the tokenizer is one of Python alone.
    """
    if not tokenizer.is_fast:
        raise PairJEPAError(
            f"model.text must have a fast tokenizer for its prompt {prompt!r}, got {type(tokenizer).__name__}. "
            f"{_ANYWAY}"
        )
    from tokenizers import normalizers

    fast = tokenizer.backend_tokenizer
    own = [fast.normalizer] if fast.normalizer is not None else []
    fast.normalizer = normalizers.Sequence([normalizers.Prepend(prompt), *own])


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path, _WHAT) if path.is_file() else {}
