"""What the oracle tests of all families share."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor


@pytest.fixture
def agree() -> Callable[..., None]:
    """Check that two functions of the same float64 tensors have equal values and equal gradients."""

    def check(fast: Callable[..., Tensor], slow: Callable[..., Tensor], *tensors: Tensor) -> None:
        leaves = [tensor.double().requires_grad_() for tensor in tensors]
        results = []
        for function in (fast, slow):
            value = function(*leaves)
            results.append((value, *torch.autograd.grad(value, leaves)))
        for one, other in zip(*results, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)

    return check
