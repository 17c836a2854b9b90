"""Cached gradients equal those of the whole batch."""

import weakref

import pytest
import torch
from torch import nn

from pairjepa.config.settings import ContextConfig, HeadConfig, ModelConfig, ObjectiveConfig, RunConfig
from pairjepa.model.joint import JointModel
from pairjepa.objectives import Labels, Objective
from pairjepa.training.monitor import Split
from pairjepa.training.processes import Group
from pairjepa.training.step import Batch, TrainStep, features, keep_statistics


def loss_of(features):
    """A loss that couples all samples of the batch."""
    return torch.logsumexp(features.float() @ features.float().T, dim=1).mean()


def gradients(backbone, x, micro):
    backbone.zero_grad()
    loss_of(features(backbone, (x,), micro)).backward()
    return [parameter.grad.clone() for parameter in backbone.parameters()]


@pytest.mark.parametrize("micro", [1, 3, 7, 50])
def test_chunked_gradients_equal_the_whole(micro):
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    x = torch.randn(7, 4, dtype=torch.float64)
    chunked, whole = gradients(backbone, x, micro), gradients(backbone, x, None)
    torch.testing.assert_close(chunked, whole)


def test_dropout_is_the_same_in_both_passes():
    """The gradient belongs to the very features that the loss saw, whatever is drawn in between."""
    backbone = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 1, bias=False))
    nn.init.ones_(backbone[1].weight)
    out = features(backbone, (torch.ones(8, 6),), 3)
    torch.rand(5)
    out.sum().backward()
    # with a weight of ones, the sum of its gradient is that of the dropped inputs, as is the sum of the features
    torch.testing.assert_close(backbone[1].weight.grad.sum(), out.sum().detach())


def test_batch_norm_counts_samples_once():
    torch.manual_seed(0)
    backbone, expected = (nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).train() for _ in range(2))
    expected.load_state_dict(backbone.state_dict())
    x = torch.arange(24.0).reshape(6, 4)
    features(backbone, (x,), 3).sum().backward()
    for chunk in x.split(3):
        expected(chunk)
    torch.testing.assert_close(backbone[1].running_mean, expected[1].running_mean)
    torch.testing.assert_close(backbone[1].running_var, expected[1].running_var)
    assert backbone[1].momentum == expected[1].momentum


def test_memory_is_that_of_a_chunk():
    """What a backbone keeps for its backward pass is gone before the next chunk is forwarded, in both passes."""
    backbone, kept, alive = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2)), [], []

    def watch(module, inputs, output):
        kept.append(weakref.ref(output))
        alive.append(sum(tensor() is not None for tensor in kept))

    backbone[1].register_forward_hook(watch)
    features(backbone, (torch.randn(20, 2),), 5).sum().backward()
    assert alive == [1] * 8


def test_features_that_are_there_pass_through():
    x = torch.randn(3, 2)
    assert features(None, (x,), 1) is x


def test_a_backbone_that_does_not_learn_is_forwarded_once():
    calls = []
    backbone = nn.Linear(2, 2).requires_grad_(False)
    backbone.register_forward_hook(lambda *_: calls.append(1))
    assert not features(backbone, (torch.randn(5, 2),), 2).requires_grad
    assert calls == [1]


def test_under_autocast():
    """As on a GPU, where weights are cast to bfloat16: casts made without a gradient must not be used for it."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
    x = torch.randn(12, 8)
    results = []
    for micro in (None, 5):
        with torch.autocast("cpu", torch.bfloat16):
            out = features(backbone, (x,), micro)
        backbone.zero_grad()
        loss_of(out).backward()
        results.append([parameter.grad.clone() for parameter in backbone.parameters()])
    torch.testing.assert_close(results[1], results[0], rtol=0.05, atol=0.01)
    assert all(gradient.abs().sum() > 0 for gradient in results[0])


@pytest.mark.parametrize("alone", [0.0, 0.25, 1.0])
def test_each_sample_is_asked_by_its_image_alone_and_with_words(alone):
    """Two are captions of one image: it asks for both of them, words ask for their own."""
    torch.manual_seed(0)
    head = HeadConfig("residual", hidden_dim=8)
    config = RunConfig(
        model=ModelConfig(dim=6, predictor=head, text_projection=head),
        context=ContextConfig(caption="tokens", full_mask_prob=alone),
    )
    parts = {
        "joint": JointModel(config.model, config.context, 5, 4),
        "objective": Objective(ObjectiveConfig()),
    }
    image, text, masked = torch.randn(3, 5), torch.randn(3, 4), torch.randn(3, 4)
    inputs = FixedFeatures()
    step = TrainStep(nn.ModuleDict(parts), Split(inputs, inputs, None, inputs), config, Group())
    labels, own = Labels(torch.tensor([0, 0, 1]), torch.arange(3)), Labels(torch.arange(3), torch.arange(3))
    total, terms = step(Batch((image,), (text,), (masked,), labels, seed=0))

    joint, objective = parts.values()
    losses = [
        objective(joint.predict(image, words), joint.target(text), right).total
        for words, right in ((None, labels), (masked, own))
    ]
    assert losses[1] != objective(joint.predict(image, masked), joint.target(text), labels).total
    torch.testing.assert_close(total, alone * losses[0] + (1 - alone) * losses[1])
    torch.testing.assert_close(terms["info_nce"], total.detach())


class FixedFeatures:
    """Inputs that are features already."""

    backbone = None


@pytest.mark.parametrize(("image", "kept"), [("of/hub", True), ("tiny-resnet", False)])
def test_a_pretrained_backbone_keeps_its_statistics(image, kept):
    """Those of random weights, and of heads, are learned."""
    parts = {name: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)) for name in ("joint", "image")}
    module = nn.ModuleDict(parts).train()
    keep_statistics(ModelConfig(image=image, image_lr_scale=0.1), module)
    for part in parts.values():
        part(torch.arange(12.0).reshape(4, 3))
    assert bool(parts["image"][1].running_mean.eq(0).all()) == kept
    assert parts["joint"][1].running_mean.ne(0).any()
