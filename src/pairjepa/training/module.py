"""Everything of a run that has weights, built from its configuration."""

from typing import Any

import torch
from torch import nn

from pairjepa.config import ModelConfig, RunConfig
from pairjepa.features.image_backbone import ImageBackbone
from pairjepa.features.text_backbone import TextBackbone
from pairjepa.model.joint import JointModel, TokenWidths
from pairjepa.objectives import Objective

SLOW = 0.1  # of the learning rate, for a slow target; 0.05 to 0.1 in VL-JEPA (Chen et al. 2025)


def tuned(model: ModelConfig, side: str) -> bool:
    """Whether a side's backbone learns too."""
    return getattr(model, f"{side}_tune") is not None


def build_module(config: RunConfig, image: ImageBackbone, text: TextBackbone) -> nn.ModuleDict:
    """`joint` and `objective`, freshly initialised from the run's seed, and the backbones that are tuned."""
    with torch.random.fork_rng():
        torch.manual_seed(config.training.seed)
        parts: dict[str, nn.Module] = {
            "joint": JointModel(
                config.model, config.context, image.width, text.width, _tokens(config, image, text)
            ),
            "objective": Objective(config.objective),
        }
    parts |= {side: part for side, part in (("image", image), ("text", text)) if tuned(config.model, side)}
    return nn.ModuleDict(parts)


def parameter_groups(config: RunConfig, module: nn.ModuleDict) -> list[dict[str, Any]]:
    """Parameter groups: weight matrices decay, vectors and scalars do not; backbones have their own rate."""
    peak = config.training.learning_rate
    slow = SLOW if config.context.target == "slow" else 1.0
    joint = module["joint"]
    target = {id(p) for p in joint.text_projection.parameters()}  # type: ignore[union-attr]
    parts = [
        (peak, [p for p in joint.parameters() if id(p) not in target]),
        (peak * slow, [p for p in joint.parameters() if id(p) in target]),
        (peak, list(module["objective"].parameters())),
    ]
    for side, factor in (("image", config.model.image_tune), ("text", config.model.text_tune)):
        if factor is not None:
            parts.append((peak * factor, list(module[side].parameters())))
    groups = []
    for rate, parameters in parts:
        learning = [p for p in parameters if p.requires_grad]
        for decay, chosen in (
            (config.training.weight_decay, [p for p in learning if p.ndim > 1]),
            (0.0, [p for p in learning if p.ndim <= 1]),
        ):
            if chosen:
                groups.append({"params": chosen, "lr": rate, "weight_decay": decay})
    return groups


def _tokens(config: RunConfig, image: ImageBackbone, text: TextBackbone) -> TokenWidths | None:
    if config.model.predictor.kind != "transformer":
        return None
    words = text.model.get_input_embeddings().weight.shape[1]  # type: ignore[operator]
    return TokenWidths(image.pooled, words)


def best_device() -> torch.device:
    """A GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
