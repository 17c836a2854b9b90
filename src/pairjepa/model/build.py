"""Everything of a run that has weights, built from its configuration."""

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from pairjepa.backbones.image import ImageBackbone
from pairjepa.backbones.layers import upper_layers
from pairjepa.backbones.pair import pair_temperature
from pairjepa.backbones.text import TextBackbone
from pairjepa.config.settings import ObjectiveConfig, RunConfig, tuned
from pairjepa.model.joint import JointModel
from pairjepa.objectives import Objective


def build_module(config: RunConfig, image: ImageBackbone, text: TextBackbone) -> nn.ModuleDict:
    """`joint` and `objective`, freshly initialised from the run's seed, and the backbones that are tuned."""
    if config.model.pair is not None:  # its own width, and its own τ where none is given
        config = replace(config, model=replace(config.model, dim=image.width))
        config = replace(config, objective=_as_pretrained(config.objective, getattr(image, "model", image)))
    tokens = None
    if config.model.predictor.kind == "transformer":
        model: Any = text.model
        tokens = image.pooled, model.get_input_embeddings().weight.shape[1]
    with torch.random.fork_rng([]):  # weights are drawn on the CPU: no GPU is touched
        torch.default_generator.manual_seed(config.training.seed)
        parts: dict[str, nn.Module] = {
            "joint": JointModel(config.model, config.context, image.width, text.width, tokens),
            "objective": Objective(config.objective),
        }
    if (frozen := config.model.text_frozen_layers) is not None:
        text.requires_grad_(False)
        upper_layers(text, frozen).requires_grad_(True)
    parts |= {
        side: part.tower for side, part in (("image", image), ("text", text)) if tuned(config.model, side)
    }
    return nn.ModuleDict(parts)


def _as_pretrained(objective: ObjectiveConfig, pair: nn.Module) -> ObjectiveConfig:
    """With the pair's own τ and bias where none are given."""
    if objective.temperature is None:
        temperature = min(max(pair_temperature(pair) or 0.07, 1e-3), 1.0)
        objective = replace(objective, temperature=temperature)
    bias = getattr(pair, "logit_bias", None)  # SigLIP's
    if objective.bias is None and bias is not None:
        objective = replace(objective, bias=float(bias.detach()))
    return objective
