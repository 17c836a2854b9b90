"""A small CLIP, trained from random weights and exported, is a pretrained pair like any other."""

from pathlib import Path

import numpy as np
import pytest
import torch

import pairjepa
from pairjepa.apps.export import export
from pairjepa.backbones.pair import load_pair, pair_temperature
from pairjepa.backbones.tiny import train_tokenizer
from pairjepa.config.settings import DataConfig
from pairjepa.util.errors import UsageError

from .conftest import CAPTIONS, SMALL


@pytest.fixture(scope="session")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Configurations and a tokenizer: a CLIP without weights."""
    from transformers import CLIPConfig, CLIPImageProcessorPil

    folder = tmp_path_factory.mktemp("clip")
    tokenizer = train_tokenizer(pairjepa.Pairs.open("shapes:60").captions.to_pylist(), 200)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"bos_token_id": tokenizer.cls_token_id, "eos_token_id": tokenizer.sep_token_id, "pad_token_id": 0}
    text = size | ids | {"vocab_size": len(tokenizer), "max_position_embeddings": 32}
    CLIPConfig(text_config=text, vision_config=size | {"image_size": 64, "patch_size": 16}).save_pretrained(
        folder
    )
    tokenizer.save_pretrained(folder)
    square = {"height": 64, "width": 64}
    CLIPImageProcessorPil(size=square, do_center_crop=False).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def trained(towers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of both towers from random weights."""
    random = {f"model.{side}_weights": "random" for side in ("image", "text")}
    bare = {"model.image_stages": (-1,), "model.text_layers": (-1,), "model.text_pooling": "last"}
    given = {"model.image": str(towers), "model.text": str(towers), **random, **bare, **SMALL}
    path = tmp_path_factory.mktemp("runs") / "clip"
    pairjepa.train(pairjepa.recipe("tiny", given), None, path)
    return path


def test_it_is_a_folder_of_transformers_and_a_pair(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import AutoTokenizer, CLIPModel

    folder = export(trained, "clip", tmp_path / "pair")
    embedder = pairjepa.Embedder.load(trained)
    model = CLIPModel.from_pretrained(folder).eval()
    assert pair_temperature(model) == pytest.approx(embedder.temperature)
    tokens = AutoTokenizer.from_pretrained(folder)(CAPTIONS[:3], padding=True, return_tensors="pt")
    with torch.no_grad():
        found = model.get_text_features(tokens["input_ids"], tokens["attention_mask"]).pooler_output
    wanted = embedder.encode_text(CAPTIONS[:3])
    assert np.abs(torch.nn.functional.normalize(found, dim=1).numpy() - wanted).max() < 1e-5
    assert load_pair(folder)[0].width == embedder.dim
    given = {"data.source": "shapes:60", "data.seed": 1, "model.pair": str(folder), "training.epochs": 1}
    run = pairjepa.train(pairjepa.recipe("adapt", given), None, tmp_path / "run")
    own = pairjepa.evaluate(run.path, "dev")
    with pytest.raises(UsageError, match=r"model\.pair must be none \(a CLIP has no adapters\)"):
        export(run.path, "clip", tmp_path / "again")
    trained_on = pairjepa.evaluate(run.path, "dev", data=DataConfig("shapes:60"))
    assert trained_on["data"]["other"]
    there = pairjepa.evaluate(trained, "dev")
    assert trained_on["baselines"]["pretrained"]["rsum"] == pytest.approx(there["rsum"])
    assert own["rsum"] >= own["baselines"]["pretrained"]["rsum"]
    capsys.readouterr()
    heads = pairjepa.train(pairjepa.recipe("contrastive", given), None, tmp_path / "heads")
    assert heads.summary is not None
    assert heads.summary["best_epoch"] == 0, "the closed formula's"
    assert "pretrained pair" not in capsys.readouterr().err


def test_what_is_no_clip_is_refused(contrastive: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"model\.image must be the image tower of a CLIP to be exported to clip"
    ):
        export(contrastive, "clip", tmp_path / "out")
