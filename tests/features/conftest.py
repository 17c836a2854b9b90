"""Tiny randomly initialised models of Transformers, saved to folders."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf

from pairjepa.backbones.loading import quiet
from pairjepa.backbones.tiny import train_tokenizer
from pairjepa.util.files import write_json

CAPTIONS = [
    "a red dog runs",
    "a blue cat",
    "two dogs and a cat play in the snow",
    "a red dog runs",
    "a bird .",
]

_VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 64,
    "patch_size": 16,
}
_CNN = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1]}
_BERT = {"num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64, "hidden_size": 32}
_TEXT_TOWER = {**_BERT, "vocab_size": 40, "max_position_embeddings": 40, "bos_token_id": 2, "eos_token_id": 3}

IMAGE_CONFIGS: dict[str, Any] = {
    # PyTorch 2.13 has crashed in the backward pass of narrower ones
    "resnet": lambda: hf.ResNetConfig(
        embedding_size=16, layer_type="basic", hidden_sizes=[16, 16, 24, 32], depths=[1, 1, 2, 1]
    ),
    "mobilenet_v2": lambda: hf.MobileNetV2Config(depth_multiplier=0.25, finegrained_output=True),
    "efficientnet": lambda: hf.EfficientNetConfig(
        hidden_dim=320, width_coefficient=0.25, depth_coefficient=0.2, image_size=64
    ),
    "convnext": lambda: hf.ConvNextConfig(**_CNN),
    "swin": lambda: hf.SwinConfig(
        image_size=64, embed_dim=16, depths=[1, 1, 2], num_heads=[1, 2, 4], window_size=4
    ),
    "vit": lambda: hf.ViTConfig(**_VIT),
    "dinov2": lambda: hf.Dinov2Config(mlp_ratio=2, **_VIT),
    "dinov2_registers": lambda: hf.Dinov2WithRegistersConfig(mlp_ratio=2, num_register_tokens=4, **_VIT),
    "ijepa": lambda: hf.IJepaConfig(**_VIT),
    "clip": lambda: hf.CLIPConfig(text_config=_TEXT_TOWER, vision_config=_VIT),
}
TEXT_CONFIGS: dict[str, Any] = {
    "bert": lambda: hf.BertConfig(vocab_size=40, **_BERT),
    "roberta": lambda: hf.RobertaConfig(vocab_size=40, pad_token_id=0, **_BERT),
    "distilbert": lambda: hf.DistilBertConfig(vocab_size=40, dim=32, n_layers=4, n_heads=2, hidden_dim=64),
    "modernbert": lambda: hf.ModernBertConfig(
        vocab_size=40, pad_token_id=0, bos_token_id=2, eos_token_id=3, cls_token_id=2, sep_token_id=3, **_BERT
    ),
}


def save_model(config: Any, folder: Path) -> Path:
    """A randomly initialised model of `config` in `folder`; batch norms get statistics that are not 0 and 1."""
    with quiet(), torch.random.fork_rng():
        torch.manual_seed(42)
        model = hf.AutoModel.from_config(config)
        for name, buffer in model.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.uniform_(0.5, 1.5)
        model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory):
    """`image_folder("vit")`: a saved image model without preprocessing."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = save_model(IMAGE_CONFIGS[name](), tmp_path_factory.mktemp(name) / name)
            write_json(
                made[name] / "preprocessor_config.json",
                {"image_processor_type": "ViTImageProcessor", "size": 64},
            )
        return made[name]

    return make


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory):
    """`text_folder("bert")`: a saved text model with a tokenizer."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = save_model(TEXT_CONFIGS[name](), tmp_path_factory.mktemp(name) / name)
            train_tokenizer(CAPTIONS).save_pretrained(made[name])
        return made[name]

    return make
