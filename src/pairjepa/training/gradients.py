"""Backbones in small chunks under a loss over a large batch: cached gradients.

Source: Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup". The cut lies
right behind the backbone, so the heads and the loss see the whole batch and only the backbone is forwarded twice.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def features_with_gradient(
    backbone: nn.Module | None, batch: tuple[Tensor, ...], micro_batch: int | None, seed: int
) -> tuple[Tensor, Callable[[], None]]:
    """Features of a batch, and what is to be called after the loss's `backward`.

    Args:
        backbone: None if `batch` holds features already.
        batch: the backbone's arguments, samples first.
        micro_batch: samples in a chunk; None forwards all at once.
        seed: of the backbone's dropout, the same in both passes over a chunk.
    """
    if backbone is None:
        return batch[0], lambda: None
    if micro_batch is None or micro_batch >= len(batch[0]):
        return backbone(*batch), lambda: None

    chunks = list(zip(*(tensor.split(micro_batch) for tensor in batch), strict=True))
    with torch.no_grad(), _still_statistics(backbone):
        parts = []
        for number, chunk in enumerate(chunks):
            torch.manual_seed(seed + number)
            parts.append(backbone(*chunk))
    features = torch.cat(parts).requires_grad_()

    def backward() -> None:
        if features.grad is None:
            return  # no term of the objective has a gradient for this side
        for number, (chunk, gradient) in enumerate(
            zip(chunks, features.grad.split(micro_batch), strict=True)
        ):
            torch.manual_seed(seed + number)
            backbone(*chunk).backward(gradient)

    return features, backward


@contextmanager
def _still_statistics(module: nn.Module) -> Iterator[None]:
    """BatchNorm's running statistics must not count the same samples twice."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
