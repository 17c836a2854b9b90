"""Heads: shapes, what dropout does, and what a standardised row depends on."""

import pytest
import torch

from pairjepa.config.settings import ContextConfig, HeadConfig, ModelConfig
from pairjepa.model.heads import HEADS, Dropout, Standardizer, build_head, width_after
from pairjepa.model.joint import JointModel, mean_direction
from pairjepa.util.errors import UsageError


@pytest.mark.parametrize("kind", sorted(HEADS))
def test_width(kind):
    config, dim = HeadConfig(kind, hidden_dim=7), 5 if kind == "adapter" else 3
    head = build_head(5, dim, config)
    assert head(torch.randn(4, 5)).shape == (4, width_after(5, dim, config))


def test_residual_is_the_sum_of_its_branches():
    head = build_head(5, 3, HeadConfig("residual", hidden_dim=7)).eval()
    x = torch.randn(4, 5)
    torch.testing.assert_close(head(x), head.linear(x) + head.mlp(x))


def test_mlp_is_the_reference_predictor():
    kinds = [type(layer).__name__ for layer in build_head(5, 3, HeadConfig("mlp"))]
    assert kinds == ["Dropout", "Linear", "BatchNorm1d", "ReLU", "Dropout", "Linear"]


def test_dropout_keeps_the_mean_and_does_nothing_in_evaluation():
    torch.manual_seed(0)
    drop, x = Dropout(0.25), torch.ones(200, 200)
    out = drop(x)
    assert out.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert (out == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert drop.eval()(x) is x


def test_standardizer_leaves_a_dead_feature_at_zero():
    x = torch.randn(50, 3) * 4 + 2
    x[:, 1] = 5.0
    standardizer = Standardizer(3)
    standardizer.fit(x.mean(0), x.std(0))
    out = standardizer(x)
    assert out.isfinite().all()
    assert out[:, 1].abs().max() == 0
    assert out[:, 0].std().item() == pytest.approx(1.0, abs=1e-5)


def test_prediction_and_target_must_have_one_width():
    config = ModelConfig(dim=4, image_projection=HeadConfig("identity"), predictor=HeadConfig("identity"))
    with pytest.raises(
        UsageError, match=r"model\.predictor must end in the width of the target, got 9 and 4"
    ):
        JointModel(config, ContextConfig(), 9, 6)


def test_mean_direction_weighs_views_equally_whatever_their_length():
    views = torch.tensor([[[100.0, 0.0], [0.0, 1.0]]])
    torch.testing.assert_close(mean_direction(views), torch.tensor([[0.5**0.5, 0.5**0.5]]))


def test_a_constant_feature_is_centred_and_not_scaled():
    standardizer = Standardizer(2)
    standardizer.fit(torch.tensor([5.0, 1.0]), torch.tensor([1e-9, 2.0]))
    torch.testing.assert_close(standardizer(torch.tensor([[5.5, 3.0]])), torch.tensor([[0.5, 1.0]]))
