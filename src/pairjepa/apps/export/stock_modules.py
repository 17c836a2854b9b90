"""Modules of sentence-transformers for what a run does and the library has no module of its own for.

What the stock modules lack is said with those that there are:

- Features side by side: `Pooling(("cls", "mean"))` puts the mean over positions behind `cls_token_embeddings`, into
  which a `Dense` of the identity has copied what came before. The pooled stages of a CNN differ in shape, so each has
  a `Transformer` of its own: the backbone is stored and run once for each. The layers of a text backbone do not:
  `WeightedLayerPooling` picks one out of a single run.
- A mirrored view: a `Dense` over the last axis of the pixels, their columns, with ones on the other diagonal.
- The mean over two views: `Pooling` multiplies tokens by the attention mask and adds them up, so a mask that a `Dense`
  has made of the first view's vector, over tokens that are the rows of the identity, is that vector as tokens. Such
  tokens are what a `ViTModel` without layers gives for any picture.
- A residual head: `Dense` with `use_residual` gives the hidden layer and the linear map side by side, the next adds.

Standardisers and BatchNorm, being fixed, are a part of the map that follows.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pairjepa.apps.export.dense import Map

if TYPE_CHECKING:
    from sentence_transformers.base.modules import Module

FIRST_VIEW = "first_view"


def transformer(folder: Path, modality: str, output: Any, key: str = "token_embeddings") -> "Module":
    """The backbone in `folder`; one of its outputs, or a path into them, goes under `key`."""
    from sentence_transformers.sentence_transformer.modules import Transformer

    way: Any = {modality: {"method": "forward", "method_output_name": output}}
    return Transformer(str(folder), modality_config=way, module_output_name=key)


def dense(maps: Sequence[Map]) -> list["Module"]:
    """A head: one `Dense` a map."""
    from sentence_transformers.sentence_transformer.modules import Dense

    modules: list[Module] = []
    for one in maps:
        out, width = one.weight.shape
        module = Dense(
            width,
            out,
            activation_function=nn.ReLU() if one.relu else nn.Identity(),
            init_weight=one.weight.float(),
            init_bias=one.bias.float(),
            use_residual=one.skip is not None,
        )
        if one.skip is not None:
            module.residual.weight.copy_(one.skip)
        modules.append(module)
    return modules


def copied(width: int, key: str) -> "Module":
    """Put the vector under another key too."""
    from sentence_transformers.sentence_transformer.modules import Dense

    return Dense(
        width,
        width,
        bias=False,
        activation_function=nn.Identity(),
        init_weight=torch.eye(width),
        module_output_name=key,
    )


def set_aside(width: int) -> "Module":
    """Put the vector where the next `Pooling(("cls", "mean"))` finds it."""
    return copied(width, "cls_token_embeddings")


def as_tokens(dim: int, size: int, processor: Any, folder: Path) -> list["Module"]:
    """The first view's vector as an attention mask over tokens of which number i is the unit vector i.

    Pooling divides by the sum of the mask, so token `dim` brings it to 1.
    """
    from sentence_transformers.sentence_transformer.modules import Dense
    from transformers import ViTConfig, ViTModel

    patch = max(p for p in range(1, size + 1) if size % p == 0 and (size // p) ** 2 > dim)
    tokens, width = (size // patch) ** 2 + 1, dim + 1
    vit = ViTModel(
        ViTConfig(
            hidden_size=width,
            num_hidden_layers=0,
            num_attention_heads=1,
            intermediate_size=1,
            image_size=size,
            patch_size=patch,
            layer_norm_eps=1e-12,
        ),
        add_pooling_layer=False,
    )
    for parameter in vit.parameters():
        parameter.zero_()
    rows = torch.arange(tokens).clamp(max=dim)
    vit.embeddings.position_embeddings[0, torch.arange(tokens), rows] = 1
    vit.layernorm.weight.fill_(math.sqrt((1 - 1 / width) / width))  # of a unit vector: the norm undoes itself
    vit.layernorm.bias.fill_(1 / width)
    vit.save_pretrained(folder)
    processor.save_pretrained(folder)  # unused, but a Transformer must have one
    mask = nn.functional.pad(torch.eye(dim), (0, 0, 0, tokens - dim))
    mask[dim] = -1
    bias = torch.zeros(tokens)
    bias[dim] = 1
    return [
        Dense(
            dim,
            tokens,
            activation_function=nn.Identity(),
            init_weight=mask,
            init_bias=bias,
            module_input_name=FIRST_VIEW,
            module_output_name="attention_mask",
        ),
        transformer(folder, "image", "last_hidden_state"),
    ]


def mirrored(size: int) -> "Module":
    """Exchange left and right of the pixels."""
    from sentence_transformers.sentence_transformer.modules import Dense

    return Dense(
        size,
        size,
        bias=False,
        activation_function=nn.Identity(),
        init_weight=torch.eye(size).flip(0),
        module_input_name="pixel_values",
    )
