"""Backbones that are no function of their input are refused when they are loaded, each in a sentence."""

import pytest
import transformers as hf

from pairjepa.backbones import probe
from pairjepa.backbones.encoders import load_image_backbone, load_text_backbone
from pairjepa.backbones.tiny import train_tokenizer
from pairjepa.config.settings import ModelConfig
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import write_json

from .conftest import CAPTIONS, save_model

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
UNUSABLE = "must be a backbone that can be used here"
IMAGES = {
    "mae": (
        lambda: hf.ViTMAEConfig(**SMALL, image_size=64, patch_size=16),
        "must give the same features for the same picture",
    ),
    "siglip2": (
        lambda: hf.Siglip2VisionConfig(**SMALL, num_patches=16, patch_size=16),
        "must be a backbone that can be used here.*TypeError",
    ),
    "hgnet": (lambda: hf.HGNetV2Config(), "must be a backbone that can be used here.*BackboneOutput"),
}
TEXTS = {
    "fnet": (lambda: hf.FNetConfig(vocab_size=40, **SMALL), "must ignore padding"),
    "convbert": (lambda: hf.ConvBertConfig(vocab_size=40, **SMALL), "must ignore padding"),
    "nystromformer": (
        lambda: hf.NystromformerConfig(vocab_size=40, **SMALL, num_landmarks=4, segment_means_seq_len=64),
        UNUSABLE,
    ),
    "squeezebert": (lambda: hf.SqueezeBertConfig(vocab_size=40, **SMALL, embedding_size=32), UNUSABLE),
    "funnel": (
        lambda: hf.FunnelConfig(
            vocab_size=40,
            block_sizes=[1, 1],
            d_model=32,
            n_head=2,
            d_head=16,
            d_inner=64,
            architectures=["FunnelModel"],
        ),
        UNUSABLE,
    ),
}


@pytest.mark.parametrize("name", IMAGES)
def test_image_backbones_that_are_refused(tmp_path, name):
    make, match = IMAGES[name]
    make().save_pretrained(tmp_path)
    write_json(
        tmp_path / "preprocessor_config.json", {"image_processor_type": "ViTImageProcessor", "size": 64}
    )
    with pytest.raises(PairJEPAError, match=match) as error:
        load_image_backbone(ModelConfig(image=str(tmp_path), image_weights="random"), 0)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("name", TEXTS)
def test_text_backbones_that_are_refused(tmp_path, name):
    make, match = TEXTS[name]
    save_model(make(), tmp_path)
    train_tokenizer(CAPTIONS).save_pretrained(tmp_path)
    with pytest.raises(PairJEPAError, match=match) as error:
        load_text_backbone(ModelConfig(text=str(tmp_path)), 0)
    assert str(tmp_path) in str(error.value)


def test_the_first_position_of_a_causal_model_is_refused(tmp_path):
    save_model(hf.GPT2Config(vocab_size=40, n_embd=32, n_layer=2, n_head=2), tmp_path)
    train_tokenizer(CAPTIONS).save_pretrained(tmp_path)
    with pytest.raises(PairJEPAError, match=r"must tell two captions apart.*--model.text-pooling mean"):
        load_text_backbone(ModelConfig(text=str(tmp_path), text_pooling="cls"), 0)
    load_text_backbone(ModelConfig(text=str(tmp_path)), 0)


def test_a_backbone_is_probed_once_a_process(image_folder, text_folder, monkeypatch):
    image = ModelConfig(image=str(image_folder("vit")))
    text = ModelConfig(text=str(text_folder("bert")))
    load_image_backbone(image, 0), load_text_backbone(text, 0)
    monkeypatch.setattr(probe, "_difference", lambda *_: pytest.fail("probed again"))
    load_image_backbone(image, 0), load_text_backbone(text, 0)
