"""BatchNorm over the samples of all processes, on any device: PyTorch's SyncBatchNorm refuses CPUs."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pairjepa.training.distributed.group import current

PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_counted = 1.0


@contextmanager
def uncounted() -> Iterator[None]:
    """Within this, samples are no part of any mean or variance: they only bring this process to where others meet."""
    global _counted
    _counted = 0.0
    try:
        yield
    finally:
        _counted = 1.0


class SyncedBatchNorm(_BatchNorm):
    """In training, mean and variance of all processes' samples; else, and for one process, the ordinary BatchNorm."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Any that has channels second."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise; gradients take the way through the other processes' moments too."""
        group = current()
        if not self.training or group.size == 1:
            return super().forward(x)
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        values = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        here = values.new_tensor([_counted * x.numel() / x.shape[1]])
        total = group.sum(torch.cat([_counted * values.sum(axes), here]))
        mean, count = total[:-1] / total[-1], total[-1].detach()
        centred = values - mean.reshape(shape)
        variance = group.sum(_counted * centred.square().sum(axes)) / count
        if self.track_running_stats:
            self._follow(mean.detach(), variance.detach() * count / (count - 1).clamp(min=1))
        out = centred * (variance + self.eps).rsqrt().reshape(shape)
        if self.affine:
            out = out * self.weight.reshape(shape) + self.bias.reshape(shape)
        return out.to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Running statistics, as `_BatchNorm` moves them."""
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        self.num_batches_tracked.add_(1)
        momentum = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)


def synchronise(module: nn.Module) -> None:
    """Let every BatchNorm in `module` see all processes' samples; weights, names and references stay."""
    for part in module.modules():
        if type(part) in PLAIN:
            part.__class__ = SyncedBatchNorm
