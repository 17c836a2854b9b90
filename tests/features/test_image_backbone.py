"""Image features of every family against the model's own outputs, pooled by hand."""

import numpy as np
import pytest
import torch
import transformers as hf

from pairjepa.backbones.encoders import load_image_backbone
from pairjepa.backbones.image import ImageBackbone, stage_ends
from pairjepa.backbones.loading import quiet
from pairjepa.config.settings import ModelConfig
from pairjepa.training.step import keep_statistics
from pairjepa.util.errors import PairJEPAError, UsageError
from pairjepa.util.files import write_json

from .conftest import IMAGE_CONFIGS, save_model
from .pictures import picture

# Stages found by itself; at 64 px, patches of 16, there are 16 patch tokens.
STAGES = {
    "resnet": (1, 2, 3),  # 4 is the output
    "mobilenet_v2": (11, 14, 15),
    "efficientnet": (5, 6, 7),
    "convnext": (2, 3, 4),
    "swin": (0, 1, 3),
    "vit": (2, 3, 4),
    "dinov2": (2, 3, 4),
    "dinov2_registers": (2, 3, 4),
    "ijepa": (2, 3, 4),
    "clip": (2, 3, 4),
}
PREFIX = {"vit": 1, "dinov2": 1, "dinov2_registers": 5, "clip": 1}
CLASS_TOKEN = {"vit"}
NO_POOLER = {"vit", "ijepa"}


def images(backbone: ImageBackbone, count: int = 3) -> torch.Tensor:
    pixels = np.stack([backbone.prepare(picture(i), "whole") for i in range(count)])
    return backbone.normalise(torch.from_numpy(pixels))


@pytest.mark.parametrize("name", IMAGE_CONFIGS)
def test_features_are_the_output_and_the_pooled_stage_ends(name, image_folder):
    folder = image_folder(name)
    backbone = load_image_backbone(ModelConfig(image=str(folder)), seed=0)
    assert backbone.stages == STAGES[name]

    with quiet():
        config = hf.AutoConfig.from_pretrained(folder)
        model = hf.AutoModel.from_pretrained(folder, config=getattr(config, "vision_config", config)).eval()
    pixels = images(backbone)
    with torch.no_grad():
        raw = model(pixel_values=pixels.contiguous(), output_hidden_states=True)
        features = backbone(pixels)
    if name in NO_POOLER:
        expected = [raw.last_hidden_state[:, 0] if name in CLASS_TOKEN else raw.last_hidden_state.mean(1)]
    else:
        expected = [raw.pooler_output.reshape(3, -1)]
    for index in STAGES[name]:
        state = raw.hidden_states[index]
        pooled = state.mean((2, 3)) if state.ndim == 4 else state[:, PREFIX.get(name, 0) :].mean(1)
        expected.append(pooled)
    torch.testing.assert_close(features, torch.cat(expected, 1), rtol=1e-4, atol=1e-5)
    assert features.shape == (3, backbone.width)
    assert features.dtype == torch.float32


@pytest.mark.parametrize("name", IMAGE_CONFIGS)
def test_positions_are_what_is_pooled(name, image_folder):
    """Each position of the last map as the output would be of it alone, and the stages, whose mean stays."""
    backbone = load_image_backbone(ModelConfig(image=str(image_folder(name))), seed=0)
    pixels = images(backbone)
    with torch.no_grad():
        positions = backbone.positions(pixels)
        features = backbone(pixels)
        last = backbone.model(pixel_values=pixels).last_hidden_state
        norm = {"convnext": "layernorm", "clip": "post_layernorm"}.get(name)
        if last.ndim == 4:
            last = last.flatten(2).transpose(1, 2)
        tokens = last[:, PREFIX.get(name, 0) :]
        if norm is not None:
            tokens = getattr(backbone.model, norm)(tokens)
    side = {16: 4, 4: 2}[tokens.shape[1]]
    assert positions.shape == (3, side, side, backbone.pooled)
    width = tokens.shape[2]
    torch.testing.assert_close(positions[..., :width].flatten(1, 2), tokens, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(positions[..., width:].mean((1, 2)), features[:, width:], rtol=1e-4, atol=1e-5)


def test_tokens_behind_the_patches_are_none_of_them(tmp_path):
    small = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64}
    config = hf.YolosConfig(image_size=[64, 64], patch_size=16, num_detection_tokens=10, **small)
    backbone = load_image_backbone(ModelConfig(image=str(save_model(config, tmp_path)), image_size=64), 0)
    assert backbone.stages
    pixels = images(backbone)
    with torch.no_grad():
        raw = backbone.model(pixel_values=pixels, output_hidden_states=True)
        found = backbone(pixels).split(32, dim=1)[1:]
    for index, features in zip(backbone.stages, found, strict=True):
        torch.testing.assert_close(features, raw.hidden_states[index][:, 1:17].mean(1), rtol=1e-4, atol=1e-5)


def test_positions_of_a_backbone_that_pools_in_its_own_way(tmp_path):
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    folder = save_model(hf.SiglipVisionConfig(image_size=64, patch_size=16, **small), tmp_path)
    backbone = load_image_backbone(ModelConfig(image=str(folder), image_size=64), 0)
    with torch.no_grad(), pytest.raises(PairJEPAError, match="in a way of its own"):
        backbone.positions(images(backbone))


@pytest.mark.parametrize("name", ["resnet", "vit"])
def test_saved_and_loaded_gives_equal_features(name, image_folder, tmp_path):
    backbone = load_image_backbone(
        ModelConfig(image=str(image_folder(name)), image_size=48, image_stages=(1,)), 0
    )
    backbone.save(tmp_path)
    again = load_image_backbone(ModelConfig(), seed=7, folder=tmp_path)
    with torch.no_grad():
        assert torch.equal(backbone(images(backbone)), again(images(again)))
    assert (again.digest, again.stages, again.preprocessing) == (
        backbone.digest,
        (1,),
        backbone.preprocessing,
    )


def test_no_stage_is_kept_as_none(image_folder, tmp_path):
    backbone = load_image_backbone(ModelConfig(image=str(image_folder("resnet")), image_stages=(-1,)), 0)
    assert (backbone.stages, backbone.width) == ((), 32)
    backbone.save(tmp_path)
    assert load_image_backbone(ModelConfig(), 0, folder=tmp_path).stages == ()


def test_lite2_shaped_network_ends_in_its_three_lower_stages():
    """The stages of EfficientNet-Lite2, by shape: 120 and 208 channels differ in resolution or width only."""
    shapes = [(32, 8)] + [(16, 8)] + [(24, 4)] * 3 + [(48, 4)] * 3 + [(88, 2)] * 4 + [(120, 2)] * 4
    shapes += [(208, 1)] * 5 + [(352, 1)]
    states = [torch.zeros(1, channels, side, side) for channels, side in shapes]
    output = torch.ones(1, 1280)
    assert stage_ends(output, [s.mean((2, 3)) for s in states], states) == (15, 20, 21)


def test_normalise_is_channels_last(image_folder):
    backbone = load_image_backbone(ModelConfig(image=str(image_folder("resnet"))), 0)
    pixels = images(backbone)
    assert pixels.shape == (3, 3, 64, 64)
    assert pixels.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"image_stages": (9,)}, UsageError, "model.image_stages must be from 0 to 4, .* got 9"),
        ({"image_stages": (1, -1)}, UsageError, "got -1"),
        (
            {"image_size": 1},
            UsageError,
            "model.image_size must be a size that the image backbone takes, got 1",
        ),
    ],
)
def test_settings_that_cannot_be(settings, error, match, image_folder):
    name = "vit" if "image_size" in settings else "resnet"
    with pytest.raises(error, match=match):
        load_image_backbone(ModelConfig(image=str(image_folder(name)), **settings), 0)


def test_maps_with_channels_last_are_not_pooled(tmp_path):
    config = hf.SamVisionConfig(
        hidden_size=32,
        output_channels=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=64,
        num_pos_feats=4,
        mlp_dim=16,
        window_size=2,
    )
    folder = str(save_model(config, tmp_path / "sam"))
    write_json(tmp_path / "sam" / "preprocessor_config.json", {"size": 64})
    with pytest.raises(PairJEPAError, match=r"image_stages must be -1 .* maps of \(4, 4, 32\)"):
        load_image_backbone(ModelConfig(image=folder), 0)
    assert load_image_backbone(ModelConfig(image=folder, image_stages=(-1,)), 0).width == 8


def test_a_model_of_one_channel_is_refused(tmp_path):
    folder = save_model(
        hf.ResNetConfig(num_channels=1, embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1]), tmp_path
    )
    with pytest.raises(UsageError, match="3 channels, got 1"):
        load_image_backbone(ModelConfig(image=str(folder)), 0)


def test_digest_follows_what_features_depend_on(image_folder):
    base = ModelConfig(image=str(image_folder("resnet")))
    digests = [
        load_image_backbone(config, seed).digest
        for config, seed in [
            (base, 0),
            (ModelConfig(image=base.image, image_size=48), 0),
            (ModelConfig(image=base.image, image_stages=(1,)), 0),
            (ModelConfig(image=base.image, image_weights="random"), 0),
            (ModelConfig(image=base.image, image_weights="random"), 1),
        ]
    ]
    assert len(set(digests)) == len(digests)
    other_views = ModelConfig(image=base.image, image_views=("centre",))
    assert load_image_backbone(other_views, seed=3).digest == digests[0]


def test_digest_sees_one_changed_weight_and_no_other_folder(image_folder, tmp_path):
    backbone = load_image_backbone(ModelConfig(image=str(image_folder("vit"))), 0)
    backbone.save(tmp_path / "copy")
    assert load_image_backbone(ModelConfig(), 0, folder=tmp_path / "copy").digest == backbone.digest
    with torch.no_grad():
        next(backbone.model.parameters()).view(-1)[0] += 1e-3
    backbone.save(tmp_path / "changed")
    assert load_image_backbone(ModelConfig(), 0, folder=tmp_path / "changed").digest != backbone.digest


def test_gradients_reach_the_weights(image_folder):
    backbone = load_image_backbone(ModelConfig(image=str(image_folder("resnet"))), 0)
    backbone(images(backbone)).sum().backward()
    assert all(p.grad is not None for p in backbone.parameters())


@pytest.mark.parametrize("weights", ["pretrained", "random"])
def test_batchnorm_of_a_tuned_pretrained_backbone_keeps_its_statistics(weights, image_folder):
    config = ModelConfig(image=str(image_folder("resnet")), image_lr_scale=1.0, image_weights=weights)
    module = torch.nn.ModuleDict({"image": load_image_backbone(config, 0)}).train()
    keep_statistics(config, module)
    before = {name: value.clone() for name, value in module.named_buffers() if "running_mean" in name}
    module["image"](torch.randn(4, 3, 64, 64)).sum().backward()
    after = dict(module.named_buffers())
    kept = [bool(torch.equal(value, after[name])) for name, value in before.items()]
    assert len(kept) > 3
    assert all(kept) == any(kept) == (weights == "pretrained")
    assert all(p.grad is not None for p in module.parameters() if p.ndim == 1)  # its gain and bias learn
