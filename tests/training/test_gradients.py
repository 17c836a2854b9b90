"""Cached gradients equal those of the whole batch."""

import pytest
import torch
from torch import nn

from pairjepa.training.gradients import features_with_gradient


def loss_of(features):
    """A loss that couples all samples of the batch."""
    return torch.logsumexp(features @ features.T, dim=1).mean()


@pytest.mark.parametrize("micro", [1, 3, 7, 50])
def test_chunked_gradients_equal_the_whole(micro):
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    x = torch.randn(7, 4, dtype=torch.float64)
    whole = torch.autograd.grad(loss_of(backbone(x)), list(backbone.parameters()))
    features, backward = features_with_gradient(backbone, (x,), micro, seed=0)
    loss_of(features).backward()
    backward()
    for parameter, expected in zip(backbone.parameters(), whole, strict=True):
        torch.testing.assert_close(parameter.grad, expected)


def test_dropout_is_the_same_in_both_passes():
    """The gradient belongs to the very features that the loss saw."""
    backbone = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 2, bias=False))
    x = torch.ones(8, 6)
    features, backward = features_with_gradient(backbone, (x,), 3, seed=5)
    features.sum().backward()
    backward()
    # features = dropped @ W.T, so with W of ones the gradient's column sums are those of the dropped inputs
    with torch.no_grad():
        backbone[1].weight.fill_(1.0)
    again, _ = features_with_gradient(backbone, (x,), 3, seed=5)
    torch.testing.assert_close(backbone[1].weight.grad.sum(), again.sum().detach())


def test_batch_norm_counts_samples_once():
    def run(micro):
        torch.manual_seed(0)
        backbone = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).train()
        x = torch.arange(24.0).reshape(6, 4)
        features, backward = features_with_gradient(backbone, (x,), micro, seed=0)
        features.sum().backward()
        backward()
        return backbone[1]

    chunked = run(3)
    torch.manual_seed(0)
    expected = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).train()
    x = torch.arange(24.0).reshape(6, 4)
    for chunk in x.split(3):
        expected(chunk)
    torch.testing.assert_close(chunked.running_mean, expected[1].running_mean)
    assert chunked.momentum == expected[1].momentum


def test_features_that_are_there_pass_through():
    x = torch.randn(3, 2)
    features, backward = features_with_gradient(None, (x,), 1, seed=0)
    assert features is x
    backward()


def test_a_backbone_that_does_not_learn_is_forwarded_once():
    backbone = nn.Linear(2, 2).requires_grad_(False)
    features, backward = features_with_gradient(backbone, (torch.randn(5, 2),), 2, seed=0)
    assert not features.requires_grad
    backward()
