"""A pretrained pair (CLIP, SigLIP and their kin): both towers with the pooling and projections that they share.

Axes: `batch`, `size` = pixels of the input, `token` = positions of a caption, `dim` = shared space.
"""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from pairjepa.backbones.image import SETTINGS, ImageBackbone, read_settings
from pairjepa.backbones.loading import architecture, load_pair_model, quiet, weights_digest
from pairjepa.backbones.preprocessing import Preprocessing, read_preprocessing
from pairjepa.backbones.probe import usable
from pairjepa.backbones.text import TextBackbone, longest_caption, tokenizer_parts
from pairjepa.util.errors import PairJEPAError, UsageError
from pairjepa.util.files import digest

PADS_TO_FULL_LENGTH = ("siglip",)
"""Families (and SigLIP2 of a fixed size) whose text tower knows captions padded to its full length, and no mask."""
CAUSAL_BY_MASK = ("aimv2",)
"""Families whose SDPA attention reads a caption in both directions where no caption of the batch is padded."""


class PairImage(ImageBackbone):
    """The image tower of a pretrained pair: its features are its own projected embeddings, before L2 normalisation."""

    def __init__(self, model: nn.Module, preprocessing: Preprocessing, weights: str) -> None:
        """Wrap the whole model; `weights` is its digest."""
        nn.Module.__init__(self)
        self.model, self.preprocessing = model, preprocessing
        self.register_buffer("_mean", torch.tensor(preprocessing.mean), persistent=False)
        self.register_buffer("_std", torch.tensor(preprocessing.std), persistent=False)
        self.stages, self.grid = (), None
        size = preprocessing.size
        with torch.no_grad():
            self.width = self.pooled = self.forward(torch.zeros(1, 3, size, size)).shape[1]
        self.digest = digest(weights, architecture(model), preprocessing.to_dict(), "pair")
        self.eval()

    @property
    def tower(self) -> nn.Module:
        """What learns where the pair is tuned: all of this side but its projection."""
        return _tower(self.model, "vision_model")

    def forward(self, pixels: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch dim"]:
        """Embeddings of normalised pictures, as the model's own `get_image_features` gives them."""
        return _embedding(self.model.get_image_features(pixel_values=pixels))  # type: ignore[operator]

    def positions(self, pixels: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch row column dim"]:
        """Embeddings of each patch: its token in the place of the class token, where that is what is projected.

        Source: the dense features of CLIP (Zhou et al. 2022, arXiv 2112.01071, without its change of the last layer).

        Raises:
            PairJEPAError: the pair pools its positions in a way of its own, as SigLIP does.
        """
        model: Any = self.model
        if not hasattr(model, "visual_projection") or not hasattr(model.vision_model, "post_layernorm"):
            raise PairJEPAError("This pair pools the positions of a picture in a way of its own.")
        tokens = model.vision_model(pixel_values=pixels).last_hidden_state[:, 1:]
        side = round(tokens.shape[1] ** 0.5)
        projected: Tensor = model.visual_projection(model.vision_model.post_layernorm(tokens))
        return projected.unflatten(1, (side, side))


class PairText(TextBackbone):
    """The text tower of a pretrained pair: its features are its own projected embeddings, before L2 normalisation."""

    def __init__(self, model: nn.Module, tokenizer: Any, max_tokens: int | None, weights: str) -> None:
        """Wrap the whole model; captions are cut at `max_tokens`, or where the tower's positions end.

        Raises:
            UsageError: the tower takes fewer tokens than `max_tokens`.
        """
        nn.Module.__init__(self)
        self.model, self.tokenizer, self.pooling, self.layers = model, tokenizer, "mean", ()
        tower: Any = model.config.text_config  # type: ignore[union-attr]
        longest = longest_caption(model, tower, tokenizer) or 512
        if max_tokens is not None and max_tokens > longest:
            raise UsageError(f"model.max_tokens must be at most {longest} for this pair, got {max_tokens}.")
        family: Any = model.config.model_type  # type: ignore[union-attr]
        self._full = longest if family in PADS_TO_FULL_LENGTH else None
        self._left = self._full is not None and tokenizer.padding_side == "left"
        self.max_tokens = min(max_tokens or longest, longest)
        with torch.no_grad():
            self.width = self.forward(*self.collate(self.tokenize(["a"]))).shape[1]
        padding = [self.max_tokens, self._full, *(["left"] if self._left else [])]
        self.digest = digest(weights, architecture(model), tokenizer_parts(tokenizer), padding, "pair")
        self.eval()

    @property
    def tower(self) -> nn.Module:
        """As `PairImage.tower`."""
        return _tower(self.model, "text_model")

    @property
    def padding(self) -> dict[str, Any]:
        """What a tokenizer of Transformers must be told, where padding is a part of the model."""
        if self._full is None:
            return {}
        return {"padding": "max_length", "max_length": self._full, "return_attention_mask": False}

    def forward(
        self, input_ids: Int[Tensor, "batch token"], attention_mask: Int[Tensor, "batch token"]
    ) -> Float[Tensor, "batch dim"]:
        """Embeddings of collated captions, as the model's own `get_text_features` gives them."""
        embed: Any = self.model.get_text_features
        if self._full is None:
            return _embedding(embed(input_ids=input_ids, attention_mask=attention_mask))
        missing = self._full - input_ids.shape[1]
        ids = F.pad(input_ids, (0, missing), value=self.tokenizer.pad_token_id or 0)
        if self._left:
            first = self._full - attention_mask.sum(1, keepdim=True)
            ids = ids.gather(1, (torch.arange(self._full, device=ids.device) - first) % self._full)
        return _embedding(embed(input_ids=ids))


def load_pair(folder: Path, max_tokens: int | None = None) -> tuple[PairImage, PairText]:
    """Both towers of a dual encoder that Transformers loads by itself.

    Args:
        folder: a local Transformers folder.
        max_tokens: captions are cut there; None is the longest that the text tower takes.

    Raises:
        PairJEPAError: it is no dual encoder, its weights are not whole, it has no tokenizer or no preprocessing, a
            tower fails, or the sides do not fit.
        UsageError: `max_tokens` is more than the tower takes.
    """
    model: Any
    model, tokenizer = load_pair_model(folder)
    if model.config.model_type in CAUSAL_BY_MASK:
        model.set_attn_implementation("eager")
    weights = weights_digest(model)
    saved = (folder / SETTINGS).is_file()  # by `save_pair`
    preprocessing = read_settings(folder)[0] if saved else read_preprocessing(folder, None)
    with usable("model.pair", folder):
        image = PairImage(model, preprocessing, weights)
        text = PairText(model, tokenizer, max_tokens, weights)
    if image.width != text.width:
        raise PairJEPAError(
            f"model.pair must put both sides into one space, got {folder}, whose images are {image.width} numbers "
            f"and whose captions are {text.width}. Give the towers apart, as model.image and model.text."
        )
    return image, text


def save_pair(image: ImageBackbone, text: TextBackbone, folder: Path) -> None:
    """Write a pair as `load_pair` reads it, with its preprocessing."""
    image.save(folder)
    with quiet():
        text.tokenizer.save_pretrained(folder)


def pair_temperature(model: nn.Module) -> float | None:
    """τ of a pretrained pair: the inverse of its logit scale; None if it has none."""
    if (scale := getattr(model, "logit_scale", None)) is not None:
        return float(torch.exp(-scale.detach()))
    found = getattr(model, "temperature", None)  # ALIGN divides by it
    return float(found.detach()) if found is not None else None


def _tower(model: nn.Module, name: str) -> nn.Module:
    tower = getattr(model, name, None)
    if not isinstance(tower, nn.Module):
        raise UsageError(
            f"model.pair must keep its tower as {name} to be tuned, as CLIP and SigLIP do, "
            f"got {type(model).__name__}. Leave out model.*_lr_scale and model.*_lora: adapters alone."
        )
    return tower


def _embedding(output: Any) -> Tensor:
    """Transformers gives a tensor, or an output whose `pooler_output` is the projected embedding."""
    found: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    if found.ndim != 2:  # FLAVA gives a vector a token
        raise ValueError(f"its embedding has the shape {tuple(found.shape)}, not a vector a row")
    return found
