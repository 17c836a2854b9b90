"""A text backbone cut between two layers: the lower ones, whose hidden states are cached, and the upper ones, tuned.

Axes: as in `text`.
"""

import copy
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pairjepa.backbones.text import TextBackbone
from pairjepa.util.errors import UsageError
from pairjepa.util.files import digest

CHUNK = 128
"""Captions of about the same length that the upper layers forward at once."""
EQUAL = 1e-3
"""Features in two steps may differ from those in one by this share of their norm."""


class LowerLayers(TextBackbone):
    """The embeddings and the first layers of a text backbone: captions → the hidden states behind them."""

    def __init__(self, text: TextBackbone, layers: int) -> None:
        """The modules are those of `text`, not copies."""
        nn.Module.__init__(self)
        self.model = _with_layers(text.model, slice(layers))
        self.tokenizer, self.max_tokens = text.tokenizer, text.max_tokens
        self.width = text.model.config.hidden_size  # type: ignore[union-attr,assignment]
        self.digest = digest(text.digest, layers)
        self.eval()

    def forward(
        self, input_ids: Int[Tensor, "batch token"], attention_mask: Int[Tensor, "batch token"]
    ) -> Float[Tensor, "batch token width"]:
        """Hidden states of collated captions."""
        states: Tensor = self._run(input_ids, attention_mask, states=False).last_hidden_state
        return states


class UpperLayers(nn.Module):
    """The layers above `LowerLayers`: hidden states → the features of the whole backbone, with gradient."""

    def __init__(self, text: TextBackbone, layers: int) -> None:
        """The modules are those of `text`, not copies.

        Raises:
            UsageError: the backbone has not so many layers, or cannot be cut there.
        """
        super().__init__()
        self.text, self._layers = text, layers
        # a list: not a second owner of the weights
        self._model = [_with_layers(text.model, slice(layers, None))]
        self._model[0].embeddings = _Given()
        self._check(LowerLayers(text, layers))

    def forward(
        self, states: Float[Tensor, "batch token width"], attention_mask: Int[Tensor, "batch token"]
    ) -> Float[Tensor, "batch feature"]:
        """Features, as the backbone itself gives them; captions of about the same length together."""
        lengths = attention_mask.sum(1)
        order = lengths.argsort(stable=True)
        states = states.to(next(self.text.parameters()).dtype)
        parts = []
        for rows in order.split(CHUNK):
            longest = int(lengths[rows[-1]])
            some, mask = states[rows, :longest], attention_mask[rows, :longest]
            output = self._model[0](inputs_embeds=some, attention_mask=mask, output_hidden_states=True)
            parts.append(self.text.pooled(output, mask, self._layers))
        return torch.cat(parts)[order.argsort()]

    @torch.no_grad()
    def _check(self, lower: LowerLayers) -> None:
        """A backbone that does more than layer after layer gives other features in two steps."""
        ids, mask = self.text.collate(self.text.tokenize(["a", "a dog and a man"]))
        whole, cut = self.text(ids, mask), self(lower(ids, mask), mask)
        if not (whole - cut).norm() <= EQUAL * whole.norm():
            raise _uncuttable(self.text.model, self._layers)


def upper_layers(text: TextBackbone, frozen: int) -> nn.ModuleList:
    """What is tuned of a text backbone whose first layers are frozen.

    Raises:
        UsageError: as `UpperLayers`.
    """
    return _layer_list(text.model, frozen)[1][frozen:]


class _Given(nn.Module):
    """Hidden states, in the place of a model's embeddings."""

    def forward(self, *positional: Any, **named: Any) -> Tensor:
        tensors = (value for value in (*positional, *named.values()) if isinstance(value, Tensor))
        return next(value for value in tensors if value.is_floating_point())


def _with_layers(model: nn.Module, chosen: slice) -> nn.Module:
    """The model with some of its layers alone, all of its modules shared."""
    path, layers = _layer_list(model, chosen.start or chosen.stop)
    shared = part = _shallow(model)
    *parents, name = path.split(".")
    for parent in parents:
        part._modules[parent] = part = _shallow(getattr(part, parent))
    part._modules[name] = layers[chosen]
    return shared


def _shallow(module: nn.Module) -> nn.Module:
    other = copy.copy(module)
    other._modules = dict(module._modules)
    return other


def _layer_list(model: nn.Module, at: int) -> tuple[str, nn.ModuleList]:
    """Where a model keeps its layers, as BERT and its kin do: `encoder.layer`, `transformer.layer`, `layers`."""
    total = getattr(model.config, "num_hidden_layers", 0)
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == total and hasattr(model, "embeddings"):
            if not 0 < at < total:
                raise UsageError(
                    f"model.text_frozen_layers must be from 1 to {total - 1} for this text backbone of {total} layers, "
                    f"got {at}."
                )
            return name, module
    raise _uncuttable(model, at)


def _uncuttable(model: nn.Module, at: int) -> UsageError:
    return UsageError(
        f"model.text_frozen_layers must be none for this text backbone ({model.config.model_type}), which is more than "  # type: ignore[union-attr]
        f"embeddings and layers, got {at}. Leave it out to tune the whole backbone."
    )
