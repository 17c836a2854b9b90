"""Backbones in small chunks under a loss over a large batch: cached gradients.

Source: Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup". The cut lies
right behind the backbone, so the heads and the loss see the whole batch and only the backbone is forwarded twice.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from pairjepa.training.distributed import Part, uncounted


def features_with_gradient(
    backbone: nn.Module | None,
    batch: tuple[Tensor, ...],
    micro_batch: int | None,
    seed: int,
    part: Part | None = None,
) -> tuple[Tensor, Callable[[], None]]:
    """Features of a batch, and what is to be called after the loss's `backward`.

    Args:
        backbone: None if `batch` holds features already.
        batch: the backbone's arguments, samples first.
        micro_batch: samples in a chunk, over all processes; None forwards all at once.
        seed: of the backbone's dropout, the same in both passes over a chunk.
        part: which samples `batch` has, where other processes have the others.
    """
    if backbone is None:
        return batch[0], lambda: None
    samples = len(batch[0]) if part is None else part.samples
    learns = any(parameter.requires_grad for parameter in backbone.parameters())
    if micro_batch is None or micro_batch >= samples or not learns:
        with nullcontext() if part is None else part.drawing():
            return backbone(*batch), lambda: None

    size = micro_batch
    split = part.split if part is not None else lambda tensor: tensor.split(size)
    chunks = list(zip(*map(split, batch), strict=True))

    def forward(number: int) -> Tensor:
        torch.manual_seed(seed + number)
        chunk = chunks[number]
        if len(chunk[0]) == 0:  # of a short last chunk: where all meet, this process must be too
            with uncounted():
                return backbone(*(tensor[:1] for tensor in batch))[:0]
        with nullcontext() if part is None else part.drawing(number):
            features: Tensor = backbone(*chunk)
        return features

    with torch.no_grad(), _still_statistics(backbone):
        parts = [forward(number) for number in range(len(chunks))]
    features = torch.cat(parts).requires_grad_()

    def backward() -> None:
        if features.grad is None:
            return  # no term of the objective has a gradient for this side
        for number, gradient in enumerate(split(features.grad)):
            forward(number).backward(gradient)

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
