"""The joint model: what the context sees, where gradients go, and how a target moves."""

from dataclasses import replace

import pytest
import torch

from pairjepa.backbones.words import ABSENT, MASKED, VISIBLE
from pairjepa.config.settings import ContextConfig, HeadConfig, ModelConfig
from pairjepa.model.joint import EMA_MOMENTUM, JointModel

RESIDUAL = HeadConfig("residual", hidden_dim=8)
CONFIG = ModelConfig(
    dim=6, predictor=RESIDUAL, text_projection=RESIDUAL, image_projection=HeadConfig("identity")
)
MASKED_CONTEXT = ContextConfig(caption="tokens")


def model(context=MASKED_CONTEXT, config=CONFIG):
    torch.manual_seed(0)
    return JointModel(config, context, 5, 4).eval()


IMAGE, CAPTION = torch.randn(3, 5), torch.randn(3, 4)


@pytest.mark.parametrize("kind", ["residual", "gated"])
def test_words_are_seen_where_they_are_given(kind):
    joint = model(config=replace(CONFIG, predictor=replace(RESIDUAL, kind=kind)))
    assert not torch.allclose(joint.predict(IMAGE, CAPTION), joint.predict(IMAGE))


def test_a_closed_gate_leaves_the_words_alone_and_an_open_one_adds_the_image():
    joint = model(config=replace(CONFIG, predictor=replace(RESIDUAL, kind="gated")))
    torch.nn.init.zeros_(joint.predictor.gate.linear.weight)
    torch.nn.init.constant_(joint.predictor.gate.linear.bias, -100.0)
    words = joint.predict(IMAGE, CAPTION)
    torch.testing.assert_close(words, joint.predict(IMAGE * 9, CAPTION))
    torch.nn.init.constant_(joint.predictor.gate.linear.bias, 100.0)
    torch.testing.assert_close(joint.predict(IMAGE, CAPTION), words + joint.predict(IMAGE))


def test_gated_is_residual_where_one_side_is_seen():
    gated = replace(CONFIG, predictor=replace(RESIDUAL, kind="gated"))
    for context in (ContextConfig(), replace(MASKED_CONTEXT, image=False)):
        assert model(context, gated).state_dict().keys() == model(context).state_dict().keys()


def test_contrastive_context_never_sees_a_caption():
    assert not hasattr(model(ContextConfig()), "caption_projection")


def test_text_only_control_never_sees_an_image():
    joint = model(replace(MASKED_CONTEXT, image=False))
    torch.testing.assert_close(joint.predict(IMAGE, CAPTION), joint.predict(IMAGE * 9, CAPTION))


@pytest.mark.parametrize("target", ["full", "slow", "frozen", "ema"])
def test_target_gradient(target):
    config = replace(CONFIG, caption_projection=RESIDUAL)
    joint = model(replace(MASKED_CONTEXT, target=target), config)
    (joint.predict(IMAGE, CAPTION) * joint.target(CAPTION)).sum().backward()
    learns = target in ("full", "slow")
    assert all((p.grad is not None) is learns for p in joint.text_projection.parameters())
    assert all(p.grad is not None for p in joint.predictor.parameters())


def test_ema_follows_the_caption_side_slowly():
    config = replace(CONFIG, caption_projection=RESIDUAL)
    joint = model(replace(MASKED_CONTEXT, target="ema"), config)
    before = joint.text_projection.linear.weight.clone()
    torch.testing.assert_close(before, joint.caption_projection.linear.weight)
    with torch.no_grad():
        joint.caption_projection.linear.weight.add_(1.0)
    joint.update_ema_target()
    torch.testing.assert_close(joint.text_projection.linear.weight, before + 1 - EMA_MOMENTUM)


def test_other_targets_do_not_follow():
    joint = model()
    before = {name: value.clone() for name, value in joint.state_dict().items()}
    joint.update_ema_target()
    assert all(torch.equal(before[name], value) for name, value in joint.state_dict().items())


def test_frozen_features_are_predicted_from_the_prediction_and_get_no_gradient():
    joint = model(config=replace(CONFIG, auxiliary="features"))
    text = CAPTION.clone().requires_grad_()
    predicted, features = joint.auxiliary(IMAGE, text, joint.predict(IMAGE), joint.target(text))
    torch.testing.assert_close(features, joint.text_standardizer(CAPTION))
    assert not features.requires_grad
    predicted.sum().backward()
    assert joint.predictor.linear.weight.grad.abs().max() > 0


def test_the_context_is_predicted_from_the_target():
    config = replace(CONFIG, auxiliary="context", image_projection=HeadConfig("linear"))
    joint = model(ContextConfig(), config)
    target = joint.target(CAPTION)
    predicted, context = joint.auxiliary(IMAGE, CAPTION, joint.predict(IMAGE), target)
    torch.testing.assert_close(predicted, joint.auxiliary_head(target))
    torch.testing.assert_close(joint.predictor(context), joint.predict(IMAGE))
    assert context.requires_grad


def test_without_an_auxiliary_target_nothing_is_added():
    joint = model()
    assert joint.auxiliary(IMAGE, CAPTION, joint.predict(IMAGE), joint.target(CAPTION)) == ()
    assert not any(name.startswith("auxiliary") for name in joint.state_dict())


class TestOverTokens:
    """The transformer over image cells, words and mask tokens."""

    CONFIG = ModelConfig(
        dim=6,
        image_grid=2,
        max_tokens=7,
        predictor=HeadConfig("transformer", hidden_dim=64),
        image_projection=HeadConfig("identity"),
    )
    IMAGE = torch.randn(3, 5 + 4 * 2)  # 5 pooled, 4 cells of 2

    def model(self, context=MASKED_CONTEXT):
        torch.manual_seed(0)
        return JointModel(self.CONFIG, context, 13, 4, (5, 8)).eval()

    @staticmethod
    def words(kinds, seed=0):
        kinds = torch.tensor(kinds)
        words = torch.randn(*kinds.shape, 8, generator=torch.Generator().manual_seed(seed))
        return torch.cat([words * (kinds == VISIBLE)[..., None], kinds[..., None]], dim=2)

    KINDS = [[VISIBLE, MASKED, VISIBLE, ABSENT]] * 3

    def test_padding_changes_nothing(self):
        joint, words = self.model(), self.words(self.KINDS)
        padded = torch.cat([words, torch.randn(3, 3, 9)], dim=1)
        padded[:, 4:, -1] = ABSENT
        torch.testing.assert_close(joint.predict(self.IMAGE, padded), joint.predict(self.IMAGE, words))

    def test_words_and_their_order_are_seen(self):
        joint, words = self.model(), self.words(self.KINDS)
        out = joint.predict(self.IMAGE, words)
        assert not torch.allclose(out, joint.predict(self.IMAGE, words[:, [2, 1, 0, 3]]))
        assert not torch.allclose(out, joint.predict(self.IMAGE, self.words(self.KINDS, seed=1)))

    def test_cells_are_seen_and_dropped_only_in_training(self):
        joint = self.model(replace(MASKED_CONTEXT, cell_dropout=0.5))
        moved = self.IMAGE.clone()
        moved[:, 5:] = moved[:, 5:].flip(1)
        out = joint.predict(self.IMAGE)
        assert not torch.allclose(out, joint.predict(moved))
        torch.testing.assert_close(out, joint.predict(self.IMAGE))
        joint.train()
        assert not torch.allclose(joint.predict(self.IMAGE), joint.predict(self.IMAGE))

    def test_text_only_control(self):
        joint = self.model(replace(MASKED_CONTEXT, image=False))
        words = self.words(self.KINDS)
        torch.testing.assert_close(joint.predict(self.IMAGE, words), joint.predict(self.IMAGE * 9, words))
