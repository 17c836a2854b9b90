"""Backbones that are no function of their input are refused when they are loaded, each in a sentence."""

import shutil

import pytest
import torch
import transformers as hf

from pairjepa.backbones import encoders
from pairjepa.backbones.encoders import load_backbones
from pairjepa.backbones.tiny import train_tokenizer
from pairjepa.cli import main
from pairjepa.config.settings import ModelConfig, RunConfig
from pairjepa.util.errors import PairJEPAError, UsageError
from pairjepa.util.files import write_json

from .conftest import CAPTIONS, IMAGE_CONFIGS, TEXT_CONFIGS, save_model

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
UNUSABLE = "must be a backbone that can be used here"
IMAGES = {
    "mae": (
        lambda: hf.ViTMAEConfig(**SMALL, image_size=64, patch_size=8),
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


def config(**model):
    return RunConfig(model=ModelConfig(**{"image": "tiny-resnet", "text": "tiny-bert"} | model))


@pytest.mark.parametrize("name", IMAGES)
def test_image_backbones_that_are_refused(tmp_path, name):
    make, match = IMAGES[name]
    make().save_pretrained(tmp_path)
    write_json(
        tmp_path / "preprocessor_config.json", {"image_processor_type": "ViTImageProcessor", "size": 64}
    )
    with pytest.raises(PairJEPAError, match=match) as error:
        load_backbones(config(image=str(tmp_path), image_weights="random"), CAPTIONS)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("name", TEXTS)
def test_text_backbones_that_are_refused(tmp_path, name):
    make, match = TEXTS[name]
    save_model(make(), tmp_path)
    train_tokenizer(CAPTIONS).save_pretrained(tmp_path)
    with pytest.raises(PairJEPAError, match=match) as error:
        load_backbones(config(text=str(tmp_path)), CAPTIONS)
    assert str(tmp_path) in str(error.value)


def test_a_training_is_refused_before_anything_is_computed(tmp_path, capsys):
    make, match = IMAGES["mae"]
    save_model(make(), tmp_path / "mae")
    write_json(
        tmp_path / "mae" / "preprocessor_config.json",
        {"image_processor_type": "ViTImageProcessor", "size": 64},
    )
    command = ["train", "contrastive", "--data", "shapes:40", "--model.image", str(tmp_path / "mae")]
    assert main([*command, "--model.text", "tiny-bert", "--run", str(tmp_path / "run")]) == 1
    assert match in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_equal_captions_are_refused(tmp_path):
    model = hf.BertModel(hf.BertConfig(vocab_size=40, **SMALL))
    torch.nn.init.zeros_(model.embeddings.word_embeddings.weight)
    torch.nn.init.zeros_(model.embeddings.position_embeddings.weight)
    model.save_pretrained(tmp_path)
    train_tokenizer(CAPTIONS).save_pretrained(tmp_path)
    with pytest.raises(PairJEPAError, match="must tell two captions apart"):
        load_backbones(config(text=str(tmp_path)), CAPTIONS)


def test_a_causal_model_is_refused(tmp_path):
    save_model(hf.GPT2Config(vocab_size=40, n_embd=32, n_layer=2, n_head=2), tmp_path)
    train_tokenizer(CAPTIONS).save_pretrained(tmp_path)
    with pytest.raises(PairJEPAError, match=r"must be an encoder, got .* a decoder \(gpt2\)"):
        load_backbones(config(text=str(tmp_path)), CAPTIONS)


def test_weights_of_zeros_are_named(image_folder, tmp_path, capsys):
    model = hf.AutoModel.from_pretrained(image_folder("resnet"))
    torch.nn.init.zeros_(model.embedder.embedder.convolution.weight)
    model.save_pretrained(tmp_path)
    load_backbones(config(image=str(tmp_path)), CAPTIONS)
    assert "gives the same features for two pictures: its weights are damaged" in capsys.readouterr().err


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", [*IMAGE_CONFIGS, *TEXT_CONFIGS])
def test_sound_backbones_pass(image_folder, text_folder, tmp_path, name, dtype):
    side = "image" if name in IMAGE_CONFIGS else "text"
    folder = (image_folder if side == "image" else text_folder)(name)
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    hf.AutoModel.from_pretrained(folder, dtype=dtype).save_pretrained(tmp_path)
    load_backbones(config(**{side: str(tmp_path)}), CAPTIONS)


def test_a_pair_is_probed(tmp_path, monkeypatch):
    tower = {**SMALL, "image_size": 64, "patch_size": 16}
    text = {**SMALL, "vocab_size": 40, "max_position_embeddings": 40}
    save_model(hf.SiglipConfig(text_config=text, vision_config=tower), tmp_path)
    train_tokenizer(CAPTIONS).save_pretrained(tmp_path)
    preprocessing = {"image_processor_type": "SiglipImageProcessor", "size": {"height": 64, "width": 64}}
    write_json(tmp_path / "preprocessor_config.json", preprocessing)
    pair = RunConfig(model=ModelConfig(pair=str(tmp_path)))
    image, _ = load_backbones(pair, ())
    monkeypatch.setattr(type(image), "forward", lambda self, pixels: torch.rand(len(pixels), 32))
    with pytest.raises(PairJEPAError, match=r"model.pair must give the same features for the same picture"):
        load_backbones(pair, ())


def test_the_backbones_of_a_run_are_not_probed_again(tmp_path, monkeypatch):
    monkeypatch.setattr(encoders, "check_image", lambda *_: pytest.fail("probed again"))
    (tmp_path / "run.json").write_text("{}")  # by which a run that has begun is known
    load_backbones(config(), CAPTIONS, tmp_path)


@pytest.mark.parametrize("make", [hf.RobertaConfig, hf.MPNetConfig])
def test_positions_after_the_padding_s_count(tmp_path, make):
    save_model(make(vocab_size=40, max_position_embeddings=50, pad_token_id=1, **SMALL), tmp_path)
    train_tokenizer(CAPTIONS).save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="must be at most 48"):
        load_backbones(config(text=str(tmp_path), max_tokens=50), CAPTIONS)
    long = " ".join(["dog"] * 60)
    _, text = load_backbones(config(text=str(tmp_path), max_tokens=48), CAPTIONS)
    assert text(*text.collate(text.tokenize([long]))).shape[0] == 1
