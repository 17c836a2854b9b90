"""Backbones from folders and from random weights, through Transformers, which is kept quiet."""

import contextlib
import json
import re
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pairjepa.backbones.location import Side
from pairjepa.backbones.sentence import modules_beyond_pair
from pairjepa.config.settings import Weights
from pairjepa.util.arrays import arrays_digest
from pairjepa.util.errors import PairJEPAError, UsageError, first_line, hindrance, missing_extra

# Written by Transformers into a config, and without influence on what is computed.
_NO_INFLUENCE = {
    "_name_or_path",
    "architectures",
    "dtype",
    "id2label",
    "label2id",
    "torch_dtype",
    "transformers_version",
}
# Absent from many complete checkpoints: heads that are taken away here, and the token of masked pre-training.
_MAY_BE_MISSING = re.compile(r"(^|\.)pooler\.|mask_token")


MEND = "Put it back, or train the run again in another folder."
"""What to do about a damaged backbone that a run has kept."""


def load_transformer(
    folder: Path, side: Side, weights: Weights, seed: int, mend: str = "Choose another folder."
) -> nn.Module:
    """The bare model of a Transformers folder, in float32, in evaluation mode.

    A folder of two towers (CLIP, SigLIP) gives the one that is asked for. Whatever has to start from random weights is
    drawn from `seed`; the global random state is left alone. `mend` says what to do about a damaged folder.

    Raises:
        PairJEPAError: Transformers does not know the model, its weights are not whole, or it is of the other side.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding
    from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING

    setting = f"model.{side}"
    with quiet(), torch.random.fork_rng([]), _errors_of(setting, folder, mend):
        torch.default_generator.manual_seed(seed)
        config = _side_config(AutoConfig.from_pretrained(folder, trust_remote_code=False), side, folder)
        # of T5 and its like the encoder alone, whether or not the folder has a decoder too
        encodes = side == "text" and type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING
        auto: Any = AutoModelForTextEncoding if encodes else AutoModel
        if weights == "random":
            model = auto.from_config(config, dtype=torch.float32, trust_remote_code=False)
        else:
            model, found = auto.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                trust_remote_code=False,
                weights_only=True,
                output_loading_info=True,
            )
            missing = sorted(k for k in found["missing_keys"] if not _MAY_BE_MISSING.search(k))
            if missing:
                named = ", ".join([*missing[:3], "…"][: len(missing)])
                raise PairJEPAError(
                    f"{setting} must be a folder with all weights of its model, got {folder}, "
                    f"which lacks {len(missing)} of them ({named}). "
                    f"Is config.json that of another model? {setting}_weights random starts from none."
                )
    without_trained_pooler(model)
    return model.eval()


def load_pair_model(folder: Path) -> tuple[nn.Module, Any]:
    """A dual encoder with its projections, in float32 and evaluation mode, and its tokenizer.

    Raises:
        PairJEPAError: it is no dual encoder that embeds both sides, or its weights or tokenizer are not whole.
    """
    from transformers import AutoConfig, AutoModel

    with quiet(), _errors_of("model.pair", folder, "Choose another folder."):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        kind = getattr(config, "model_type", "unknown")
        if not hasattr(config, "vision_config") or not hasattr(config, "text_config"):
            raise PairJEPAError(
                f"model.pair must be a dual encoder such as CLIP or SigLIP, got {folder} ({kind}). "
                "A single encoder is given as model.image or model.text."
            )
        if kind == "siglip2":
            raise PairJEPAError(
                f"model.pair must take pictures of one size, got {folder}, a SigLIP2 of any size (NaFlex). "
                "Choose one of a fixed size, such as google/siglip2-base-patch16-224."
            )
        if added := modules_beyond_pair(folder):
            raise PairJEPAError(
                f"model.pair must be a dual encoder alone, got {folder}, whose modules.json adds "
                f"{' and '.join(added)}. Choose the pair that it was made of."
            )
        model, found = AutoModel.from_pretrained(
            folder, dtype=torch.float32, trust_remote_code=False, weights_only=True, output_loading_info=True
        )
        if not hasattr(model, "get_image_features") or not hasattr(model, "get_text_features"):
            raise PairJEPAError(
                f"model.pair must embed images and texts apart, got {folder} ({kind}). "
                "Choose CLIP, SigLIP, SigLIP2, AltCLIP, Chinese-CLIP, MetaCLIP or ALIGN."
            )
        missing = sorted(found["missing_keys"])
        if missing:
            raise PairJEPAError(
                f"model.pair must be a folder with all weights of its model, got {folder}, which lacks "
                f"{len(missing)} of them ({missing[0]}). Save the whole model there."
            )
    return model.eval(), load_tokenizer(folder, "model.pair")


def load_tokenizer(folder: Path, setting: str = "model.text") -> Any:
    """The tokenizer of a Transformers folder.

    Raises:
        PairJEPAError: there is none, or it is one of SentencePiece, which is not installed.
    """
    from transformers import AutoTokenizer

    reason = "it has no words"
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        # Without its files Transformers makes one up, of special tokens alone.
        if len(tokenizer) > len(tokenizer.all_special_tokens):
            return tokenizer
    except Exception as error:  # a broken file can break it anywhere
        if find_spec("sentencepiece") is None and any(folder.glob("*.model")):
            raise missing_extra("sentencepiece", "sentencepiece") from None
        reason = first_line(error)
    raise PairJEPAError(
        f"{setting} must be a folder with its tokenizer, got {folder}. Save the tokenizer there too ({reason})."
    )


def random_transformer(config: Any, seed: int) -> nn.Module:
    """A model with random weights drawn from `seed`, without touching the global random state."""
    from transformers import AutoModel

    with quiet(), torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        model = AutoModel.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    without_trained_pooler(model)
    return model.eval()


def without_trained_pooler(model: nn.Module) -> None:
    """Take away the dense layer with tanh over the first token (BERT, RoBERTa, ViT, DeiT).

    It belongs to a pre-training task, is often not in the checkpoint, and would then be random. Poolers that only
    average or normalise (CNNs, BEiT) stay.
    """
    pooler = getattr(model, "pooler", None)
    if isinstance(pooler, nn.Linear) or hasattr(pooler, "dense"):
        model.pooler = None  # type: ignore[assignment]


def chosen_states(setting: str, indices: tuple[int, ...], states: int) -> tuple[int, ...]:
    """Indices of a model's hidden states; -1 alone is none of them. Raises `UsageError` if one is out of range."""
    if indices == (-1,):
        return ()
    if outside := [index for index in indices if not 0 <= index < states]:
        rule = (
            f"from 0 to {states - 1}, the hidden states of this backbone" if states else "-1, as it has none"
        )
        raise UsageError(f"{setting} must be {rule}, got {outside[0]}. -1 alone pools none.")
    return indices


def weights_digest(model: nn.Module) -> str:
    """32 hex digits over names, shapes, types and bytes of all weights and buffers."""
    tensors = model.state_dict().items()
    return arrays_digest({name: tensor.detach().cpu().contiguous().numpy() for name, tensor in tensors})


def architecture(model: nn.Module) -> dict[str, Any]:
    """The model's configuration without what changes nothing (labels, versions), JSON-ready."""
    config = json.loads(model.config.to_json_string(use_diff=False))  # type: ignore[union-attr,operator]
    return {key: value for key, value in config.items() if key not in _NO_INFLUENCE}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Transformers' load reports, bars and warnings from the user's terminal."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def _errors_of(setting: str, folder: Path, mend: str) -> Iterator[None]:
    """Whatever Transformers says about a folder, as one sentence."""
    try:
        yield
    except PairJEPAError:
        raise
    except Exception as error:  # a broken file can break it anywhere
        raise PairJEPAError(
            f"{setting} {folder} cannot be loaded by Transformers ({first_line(error)}). {hindrance(error) or mend}"
        ) from None


def _side_config(config: Any, side: Side, folder: Path) -> Any:
    """The part of a configuration that is of this side; an error if there is none."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING, MODEL_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING

    tower = getattr(config, "vision_config" if side == "image" else "text_config", None)
    if tower is not None:
        config = tower
    kind = getattr(config, "model_type", "unknown")
    if type(config) not in MODEL_MAPPING and tower is not None:
        raise PairJEPAError(
            f"model.{side} must be a tower that can be pooled apart from its pair, got {folder}, whose {side} tower "
            f"({kind}) has a pooling of its own. Give the whole pair as --model.pair."
        )
    if type(config) not in MODEL_MAPPING:
        raise PairJEPAError(
            f"model.{side} must be a model that Transformers loads by itself, got {folder} ({kind}). "
            f"{'Choose another backbone.' if tower is None else 'Take both towers: --model.pair.'}"
        )
    known: Any = MODEL_MAPPING[type(config)]
    takes = (known[0] if isinstance(known, tuple) else known).main_input_name
    kinds = {"pixel_values": "an image model", "input_ids": "a text model"}
    wanted = kinds["pixel_values" if side == "image" else "input_ids"]
    other = kinds.get(takes, f"a model of {takes}")
    if other != wanted:
        raise PairJEPAError(
            f"model.{side} must be {wanted}, got {folder}, which is {other} ({kind}). "
            "Have model.image and model.text been exchanged?"
        )
    if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING and type(config) not in MODEL_FOR_MASKED_LM_MAPPING:
        raise PairJEPAError(
            f"model.{side} must be an encoder, got {folder}, a decoder ({kind}), whose words see nothing of those "
            "behind them. Choose a BERT-like model or a sentence encoder."
        )
    if getattr(config, "is_encoder_decoder", False) and type(config) not in MODEL_FOR_TEXT_ENCODING_MAPPING:
        raise PairJEPAError(
            f"model.{side} must be an encoder, got {folder}, an encoder with a decoder ({kind}). "
            "Choose a BERT-like model."
        )
    return config
