"""How much of what the adapters add is kept: between the pretrained pair and the fully adapted one.

Source: weight-space interpolation with a fine-tuned model (WiSE-FT, Wortsman et al. 2022, arXiv 2109.01903).
"""

from collections.abc import Callable
from typing import Any

from torch import nn

from pairjepa.model.heads import Adapter

SCALES = (0.0, 0.25, 0.5, 0.75, 1.0)


def adapters(module: nn.Module) -> list[Adapter]:
    """The adapters in a module."""
    return [part for part in module.modules() if isinstance(part, Adapter)]


def set_scale(module: nn.Module, fixed: float | None, dev_rsum: Callable[[], float]) -> dict[str, Any]:
    """Give all adapters one scale: `fixed`, or the largest of the best on dev.

    Args:
        module: with the weights of the best epoch.
        fixed: of `model.adapter_scale`.
        dev_rsum: measures the module.

    Returns:
        What the summary says of it: the scale, its dev rsum, and those of all that were tried.
    """
    tried = {}
    for scale in SCALES if fixed is None else (fixed,):
        for adapter in adapters(module):
            adapter.scale.fill_(scale)
        tried[scale] = dev_rsum()
    best = max(tried, key=lambda scale: (tried[scale], scale))
    for adapter in adapters(module):
        adapter.scale.fill_(best)
    return {
        "adapter_scale": best,
        "dev_rsum": tried[best],
        "adapter_scales": {f"{s:g}": r for s, r in tried.items()},
    }
