"""LoRA: beside each linear layer of a frozen backbone two small matrices learn, W + 2 B A, and B starts at zero.

Source: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv 2106.09685. The layers are those of
`peft`, which only training needs: weights that are loaded to be used are merged.
"""

import torch
from torch import Tensor, nn

from pairjepa.util.errors import UsageError

SCALE = 2
"""α over the rank."""
_A, _B = ".lora_A.default.weight", ".lora_B.default.weight"


def linear_layers(tower: nn.Module, side: str) -> list[str]:
    """Names of the layers that LoRA goes beside.

    Raises:
        UsageError: there is none.
    """
    # not those of nn.MultiheadAttention, which reads their weights past their forward
    names = [name for name, part in tower.named_modules() if type(part) is nn.Linear]
    if not names:
        raise UsageError(
            f"model.{side}_lora must go with a backbone that has linear layers, as ViT, CLIP and BERT do, "
            f"got one that has none. Tune it whole: --model.{side}-lr-scale 0.1."
        )
    return names


def add_lora(tower: nn.Module, rank: int, side: str, seed: int) -> None:
    """Freeze a backbone and put LoRA beside all of its linear layers, in place.

    Args:
        tower: the backbone.
        rank: of the two matrices.
        side: image or text, for the error.
        seed: of A; the global random state is left alone.

    Raises:
        UsageError: as `linear_layers`.
    """
    names = linear_layers(tower, side)
    from peft import LoraConfig, inject_adapter_in_model

    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=SCALE * rank, target_modules=names), tower)


def is_lora(name: str) -> bool:
    """Whether a weight's name is one of LoRA's."""
    return name.endswith((_A, _B))


def merged(weights: dict[str, Tensor], lora: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a backbone without LoRA, with what LoRA learned added to them."""
    added = {
        name.removesuffix(_B) + ".weight": SCALE * up @ lora[name.removesuffix(_B) + _A]
        for name, up in lora.items()
        if name.endswith(_B)
    }
    return {name: tensor + added[name] if name in added else tensor for name, tensor in weights.items()}
