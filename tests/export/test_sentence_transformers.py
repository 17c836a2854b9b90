"""A folder that sentence-transformers loads without trusting anyone's code, and that encodes as the run does."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pairjepa
from pairjepa.apps.export.sentence_transformers import export_sentence_transformers
from pairjepa.backbones.loading import random_transformer
from pairjepa.embedder.embedder import Embedder
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


def test_the_recipe_contrastive(embedder: Embedder, tmp_path: Path, pictures: Sequence[Picture]) -> None:
    """Lower stages, residual heads, two views."""
    export_sentence_transformers(embedder, tmp_path / "st")
    same(embedder, tmp_path / "st", pictures)
    types = [module["type"] for module in json.loads((tmp_path / "st" / "modules.json").read_text())]
    types += json.loads((tmp_path / "st" / "router_config.json").read_text())["types"].values()
    assert all(name.startswith("sentence_transformers.") for name in types)
    assert not [path for path in (tmp_path / "st").rglob("*") if path.suffix in (".py", ".bin", ".pkl")]


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


def test_a_masked_run_on_a_vit_with_other_heads(tmp_path: Path, pictures: Sequence[Picture]) -> None:
    """The class token, captions of the first token, BatchNorm, a caption side that has to be left out."""
    values = {
        "model.image": str(vit(tmp_path / "vit")),
        "model.text": "tiny-bert",
        "model.image_tune": None,
        "model.text_tune": None,
        "model.image_views": ["centre", "centre-mirrored"],
        "model.image_size": None,
        "context.target": "full",
    }
    run = pairjepa.train(pairjepa.recipe("reference-masked", SMALL | values), None, tmp_path / "run")
    embedder = Embedder.load(run)
    export_sentence_transformers(embedder, tmp_path / "st")
    same(embedder, tmp_path / "st", pictures)


@pytest.mark.parametrize("recipe", ["masked", "reference-contrastive", "tiny", "tiny-masked"])
def test_the_other_recipes(tmp_path: Path, recipe: str) -> None:
    """The export compares what it has written with the run."""
    run = pairjepa.train(pairjepa.recipe(recipe, SMALL | FROZEN), None, tmp_path / "run")
    export_sentence_transformers(Embedder.load(run), tmp_path / "st")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"model.image_views": ["whole", "centre"]},
            "model.image_views must be one view, or one and its mirror",
        ),
        ({"model.dim": 1024, "model.image_size": 32}, "model.dim must be less than the pixels"),
        ({"model.text_pooling": "cls"}, r"model.text_layers must be -1 where .* got \(1,\)"),
        (
            {"model.predictor.kind": "transformer", "model.predictor.hidden": 64, "model.image_grid": 2},
            "model.predictor.kind must not be transformer",
        ),
    ],
)
def test_what_stock_modules_cannot_say(tmp_path: Path, values: dict[str, Any], words: str) -> None:
    run = pairjepa.train(pairjepa.recipe("contrastive", SMALL | FROZEN | values), None, tmp_path / "run")
    with pytest.raises(UsageError, match=f"{words}.* to be exported to sentence-transformers.*--to onnx"):
        export_sentence_transformers(Embedder.load(run), tmp_path / "st")
    assert not (tmp_path / "st").exists()
