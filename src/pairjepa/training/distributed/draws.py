"""Dropout of some rows of a batch as if the whole batch were here."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten

_IN_PLACE = {aten.bernoulli_.float, aten.uniform_.default, aten.normal_.default}
_LIKE = {aten.rand_like.default, aten.randn_like.default}
_OF_SIZE = {aten.rand.default, aten.randn.default}


class WholeBatchDraws(TorchDispatchMode):
    """Random numbers are drawn for all rows of a batch, and those of this process's rows are used.

    What is drawn in another shape than the batch's is left as it is. Dropout inside a fused attention kernel of a GPU
    cannot be reached: it is random all the same, but not that of one process.
    """

    def __init__(self, rows: np.ndarray, total: int) -> None:
        """`rows`: which of the `total` rows are here."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._rows, self._total = rows, total

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Take over the operations that draw."""
        kwargs = kwargs or {}
        if func in _IN_PLACE and (each := self._each(args[0].shape)):
            drawn = func(self._whole(args[0], each), *args[1:], **kwargs)
            return args[0].copy_(self._here(drawn, each))
        if func in _LIKE and (each := self._each(args[0].shape)):
            return self._here(func(self._whole(args[0], each), *args[1:], **kwargs), each).clone()
        if func in _OF_SIZE and (each := self._each(args[0])):
            return self._here(func([self._total * each, *args[0][1:]], *args[1:], **kwargs), each).clone()
        if func is aten.native_dropout.default and args[2] and (each := self._each(args[0].shape)):
            ones = torch.ones_like(self._whole(args[0], each))
            mask = self._here(func(ones, *args[1:], **kwargs)[1], each).clone()
            return args[0] * mask / (1 - args[1]), mask
        return func(*args, **kwargs)

    def _each(self, shape: Any) -> int:
        """How many first indices belong to a row of the batch; 0 for another thing than the batch."""
        own = len(self._rows)
        return 0 if not shape or not own or shape[0] % own else shape[0] // own

    def _whole(self, like: Tensor, each: int) -> Tensor:
        """As `like` would be for all rows, lying in memory in the same order of axes."""
        order = sorted(range(like.ndim), key=lambda axis: -like.stride()[axis])
        shape = [self._total * each, *like.shape[1:]]
        laid = torch.empty([shape[axis] for axis in order], dtype=like.dtype, device=like.device)
        return laid.permute([order.index(axis) for axis in range(like.ndim)])

    def _here(self, whole: Tensor, each: int) -> Tensor:
        first, count = int(self._rows[0]), len(self._rows)
        if self._rows[-1] - first + 1 == count:
            return whole[first * each : (first + count) * each]
        rows = (self._rows[:, None] * each + np.arange(each)).reshape(-1)
        return whole[torch.from_numpy(rows).to(whole.device)]
