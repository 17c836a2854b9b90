"""A folder that sentence-transformers loads without trusting anyone's code, and that encodes as the run does."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pairjepa
from pairjepa.apps.export.sentence_transformers import export_sentence_transformers
from pairjepa.backbones.encoders import load_backbones
from pairjepa.backbones.loading import random_transformer
from pairjepa.embedder.embedder import Embedder
from pairjepa.model.build import build_module
from pairjepa.pairs.pictures import Picture
from pairjepa.util.errors import UsageError

from .conftest import CAPTIONS, FROZEN, SMALL

pytest.importorskip("sentence_transformers")


def same(embedder: Embedder, folder: Path, pictures: Sequence[Picture]) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    np.testing.assert_allclose(
        model.encode(list(pictures)), embedder.encode_image(pictures), atol=3e-5, strict=True
    )
    np.testing.assert_allclose(model.encode(CAPTIONS), embedder.encode_text(CAPTIONS), atol=3e-5, strict=True)


def vit(folder: Path) -> Path:
    from transformers import ViTConfig, ViTImageProcessorPil

    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
    )
    random_transformer(config, 0).save_pretrained(folder)  # type: ignore[operator]
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


ONE = {"model.image_views": ["whole"], "model.image_stages": [-1], "model.text_layers": [-1]}


def exported(recipe: str, values: dict[str, Any], tmp_path: Path, pictures: Sequence[Picture]) -> Path:
    """Train, export, compare."""
    values = SMALL | {"model.image": str(vit(tmp_path / "vit")), "model.text": "tiny-bert"} | values
    run = pairjepa.train(pairjepa.recipe(recipe, values), None, tmp_path / "run")
    embedder = Embedder.load(run)
    export_sentence_transformers(embedder, tmp_path / "st")
    same(embedder, tmp_path / "st", pictures)
    return tmp_path / "st"


def test_the_recipe_contrastive(tmp_path: Path, pictures: Sequence[Picture]) -> None:
    """Residual heads; of stock modules alone."""
    folder = exported("contrastive", ONE, tmp_path, pictures)
    types = [module["type"] for module in json.loads((folder / "modules.json").read_text())]
    types += json.loads((folder / "router_config.json").read_text())["types"].values()
    assert all(name.startswith("sentence_transformers.") for name in types)
    assert not [path for path in folder.rglob("*") if path.suffix in (".py", ".bin", ".pkl")]


def test_the_recipe_masked(tmp_path: Path, pictures: Sequence[Picture]) -> None:
    """A caption side that has to be left out; a head whose skip would be square."""
    exported("masked", ONE | {"model.predictor.hidden_dim": 16}, tmp_path, pictures)


def test_other_heads_and_poolings(tmp_path: Path, pictures: Sequence[Picture]) -> None:
    """BatchNorm, captions of the first token, the middle of the picture."""
    values = {"model.image_lr_scale": None, "model.text_lr_scale": None, "model.image_size": None}
    exported("reference-masked", values | {"context.target": "full"}, tmp_path, pictures)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"model.image_views": ["whole", "whole-mirrored"]},
            "model.image_views must be whole or centre alone",
        ),
        ({"model.image_views": ["centre-mirrored"]}, "model.image_views must be whole or centre alone"),
        ({"model.image_stages": [1]}, "model.image_stages must be -1, got 1"),
        ({"model.text_layers": [1]}, "model.text_layers must be -1, got 1"),
        ({}, "model.image must be a backbone of patches, such as a ViT, got ResNetModel"),
        (
            {"model.predictor.kind": "transformer", "model.predictor.hidden_dim": 64, "model.image_grid": 2},
            "model.predictor.kind must not be transformer",
        ),
    ],
)
def test_what_stock_modules_cannot_say(tmp_path: Path, values: dict[str, Any], words: str) -> None:
    config = pairjepa.recipe("contrastive", SMALL | FROZEN | ONE | values)
    image, text = load_backbones(config, CAPTIONS)
    untrained = Embedder(config, build_module(config, image, text), image, text, "0" * 16)
    with pytest.raises(UsageError, match=f"{words}.* to be exported to sentence-transformers.*--to onnx"):
        export_sentence_transformers(untrained, tmp_path / "st")
    assert not (tmp_path / "st").exists()
