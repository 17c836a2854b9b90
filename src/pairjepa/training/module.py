"""Everything of a run that has weights, built from its configuration."""

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pairjepa.backbones.layers import upper_layers
from pairjepa.config.settings import ModelConfig, RunConfig, pretrained


def keep_statistics(model: ModelConfig, module: nn.ModuleDict) -> None:
    """Put frozen layers, and BatchNorm of tuned pretrained backbones, into evaluation mode: its statistics are learned.

    A few hundred pairs are too few for new ones, and some families forget the old ones in a step (momentum 0.99).
    """
    for side in ("image", "text"):
        if side in module and pretrained(model, side):
            for part in module[side].modules():
                if isinstance(part, _BatchNorm):
                    part.eval()
    if model.text_frozen_layers is not None:  # no dropout in the frozen ones
        text: Any = module["text"]
        learns = text.training
        text.eval()
        upper_layers(text, model.text_frozen_layers).train(learns)


SLOW = 0.1  # of the learning rate, for a slow target; 0.05 to 0.1 in VL-JEPA (Chen et al. 2025)


def parameter_groups(config: RunConfig, module: nn.ModuleDict) -> list[dict[str, Any]]:
    """Parameter groups: weight matrices decay, vectors and scalars do not; backbones have their own learning rate."""
    peak = config.training.learning_rate
    slow = SLOW if config.context.target == "slow" else 1.0
    joint = module["joint"]
    target = {id(p) for p in joint.text_projection.parameters()}  # type: ignore[union-attr]
    parts = [
        (peak, [p for p in joint.parameters() if id(p) not in target]),
        (peak * slow, [p for p in joint.parameters() if id(p) in target]),
        (peak, list(module["objective"].parameters())),
    ]
    for side, factor in (("image", config.model.image_lr_scale), ("text", config.model.text_lr_scale)):
        if side in module:
            parts.append((peak * (factor or 1.0), list(module[side].parameters())))
    groups = []
    for learning_rate, parameters in parts:
        learning = [p for p in parameters if p.requires_grad]
        for decay, chosen in (
            (config.training.weight_decay, [p for p in learning if p.ndim > 1]),
            (0.0, [p for p in learning if p.ndim <= 1]),
        ):
            if chosen:
                groups.append({"params": chosen, "lr": learning_rate, "weight_decay": decay})
    return groups
