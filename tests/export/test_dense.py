"""Heads as maps `relu(W x + b) + S x`: they compute what the heads do."""

import pytest
import torch
from torch import nn

from pairjepa.apps.export.dense import maps_of
from pairjepa.config.settings import HeadConfig
from pairjepa.model.heads import Standardizer, build_head, width_after


@pytest.mark.parametrize("given", [12, 24, 30])  # 24 = hidden + dim, where the skip would be square
@pytest.mark.parametrize(
    "kinds", [("identity", "residual"), ("linear", "mlp"), ("residual", "identity"), ("identity", "identity")]
)
def test_they_compute_what_the_heads_do(kinds: tuple[str, str], given: int) -> None:
    torch.manual_seed(0)
    standardizer = Standardizer(given)
    standardizer.fit(torch.randn(given), torch.rand(given) + 0.5)
    heads, width = [], given
    for kind in kinds:
        config = HeadConfig(kind, hidden=16)  # type: ignore[arg-type]
        heads.append(build_head(width, 8, config))
        width = width_after(width, 8, config)
        for norm in (module for module in heads[-1].modules() if isinstance(module, nn.BatchNorm1d)):
            norm.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
            norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    x = torch.randn(5, given)
    expected = nn.Sequential(standardizer, *heads).eval()(x)

    out = x.double()
    for one in maps_of(standardizer, heads):
        assert one.skip is None or one.skip.shape[0] != one.skip.shape[1]
        y = out @ one.weight.T + one.bias
        out = (y.relu() if one.relu else y) + (0 if one.skip is None else out @ one.skip.T)
    torch.testing.assert_close(out.float(), expected, rtol=1e-5, atol=1e-5)


def test_a_hidden_caption_is_zeros() -> None:
    """The predictor of a masked run takes image and caption; without the caption it is a map of the image alone."""
    torch.manual_seed(0)
    standardizer, predictor = Standardizer(6), build_head(6 + 4, 8, HeadConfig("residual", hidden=16)).eval()
    x = torch.randn(5, 6)
    expected = predictor(torch.cat([x, torch.zeros(5, 4)], dim=1))
    hidden, last = maps_of(standardizer, [predictor])
    assert hidden.skip is not None
    inner = (x.double() @ hidden.weight.T + hidden.bias).relu() + x.double() @ hidden.skip.T
    torch.testing.assert_close((inner @ last.weight.T + last.bias).float(), expected, rtol=1e-5, atol=1e-5)
