"""SigLIP's loss against a loop over pairs, and against Transformers' own."""

import math

import pytest
import torch
from torch.nn import functional as F
from transformers import SiglipConfig, SiglipModel

from pairjepa.config.settings import ObjectiveConfig
from pairjepa.objectives import Labels, Objective
from pairjepa.objectives.sigmoid import sigmoid

LABELS = Labels(torch.tensor([0, 0, 1, 2, 3]), torch.tensor([0, 1, 2, 3, 2]))
"""Rows 0 and 1 are of one image, rows 2 and 4 have the same words."""


def naive(prediction, target, temperature, bias):
    """The formula, one pair at a time."""
    total = torch.zeros((), dtype=prediction.dtype)
    for i in range(5):
        for j in range(5):
            positive = i == j or {i, j} in ({0, 1}, {2, 4})
            score = F.cosine_similarity(prediction[i], target[j], dim=0) / temperature + bias
            total = total + torch.log1p(torch.exp(-score if positive else score)) / 5
    return total


@pytest.mark.parametrize("entries", [1, 12, 25, 99])
def test_value_and_gradient_equal_the_loop(entries):
    """In blocks of one row, of two with a shorter last one, and as a whole."""
    generator = torch.Generator().manual_seed(0)
    leaves = [
        *torch.randn(2, 5, 4, generator=generator, dtype=torch.float64).requires_grad_(),
        torch.tensor(0.2, dtype=torch.float64, requires_grad=True),
        torch.tensor(-1.0, dtype=torch.float64, requires_grad=True),
    ]
    leaves[:2] = [side.detach().requires_grad_() for side in leaves[:2]]
    fast = sigmoid(*leaves[:2], labels=LABELS, temperature=leaves[2], bias=leaves[3], entries=entries)
    slow = naive(*leaves)
    torch.testing.assert_close(fast, slow)
    for got, wanted in zip(*(torch.autograd.grad(value, leaves) for value in (fast, slow)), strict=True):
        torch.testing.assert_close(got, wanted)


def test_equals_the_loss_of_transformers():
    torch.manual_seed(0)
    tiny = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = SiglipConfig(
        text_config=tiny | {"vocab_size": 20, "max_position_embeddings": 6, "projection_size": 16},
        vision_config=tiny | {"image_size": 8, "patch_size": 4},
    )
    model = SiglipModel(config).eval()
    with torch.no_grad():
        model.logit_scale.fill_(math.log(10.0))
        model.logit_bias.fill_(-3.0)
        output = model(
            input_ids=torch.randint(20, (4, 6)), pixel_values=torch.randn(4, 3, 8, 8), return_loss=True
        )
    labels = Labels(torch.arange(4), torch.arange(4))
    found = sigmoid(output.image_embeds, output.text_embeds, labels=labels, temperature=0.1, bias=-3.0)
    torch.testing.assert_close(found, output.loss)


@pytest.mark.parametrize("learn", [True, False])
def test_the_bias_learns_as_the_temperature_does(learn):
    config = ObjectiveConfig(weights={"sigmoid": 1.0}, learn_temperature=learn)
    bias = Objective(config).bias
    assert bias.item() == -10
    assert bias.requires_grad is learn
    assert Objective(ObjectiveConfig()).bias is None
