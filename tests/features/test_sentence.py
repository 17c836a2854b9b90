"""A sentence-transformers folder as `model.text` gives what its own `encode` gives."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from pairjepa.backbones.encoders import load_text_backbone
from pairjepa.backbones.sentence import SentenceSettings, read_sentence_settings
from pairjepa.config.settings import ModelConfig
from pairjepa.util.checksums import seal
from pairjepa.util.errors import PairJEPAError, UsageError

from .conftest import CAPTIONS

PLAIN: dict[str, Any] = {"text_layers": (-1,), "max_tokens": 16}


def save(folder: Path, transformer: Path, pooling: str, normalise: bool, prompt: str = "") -> Any:
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    modules = [Transformer(str(transformer)), Pooling(32, pooling), *([Normalize()] if normalise else [])]
    named: Any = {"prompts": {"own": prompt}, "default_prompt_name": "own"} if prompt else {}
    model = SentenceTransformer(modules=modules, device="cpu", **named)
    model.save_pretrained(str(folder), create_model_card=False)
    return model


@pytest.mark.parametrize(
    ("pooling", "normalise", "prompt"),
    [
        ("mean", True, ""),
        ("cls", False, ""),
        ("cls", True, "a red "),
        ("mean", False, "two dogs: "),
        ("lasttoken", True, ""),
    ],
)
def test_captions_are_encoded_as_by_the_folder_itself(
    pooling: str, normalise: bool, prompt: str, text_folder: Any, tmp_path: Path
) -> None:
    model = save(tmp_path / "st", text_folder("bert"), pooling, normalise, prompt)
    text = load_text_backbone(ModelConfig(text=str(tmp_path / "st"), **PLAIN), 0)
    with torch.no_grad():
        found = text(*text.collate(text.tokenize(CAPTIONS)))
    torch.testing.assert_close(found, torch.from_numpy(model.encode(CAPTIONS)), rtol=1e-4, atol=1e-5)
    text.save(tmp_path / "kept")
    seal(tmp_path / "kept")
    again = load_text_backbone(ModelConfig(), 0, folder=tmp_path / "kept")
    with torch.no_grad():
        assert torch.equal(again(*again.collate(again.tokenize(CAPTIONS))), found)
    plain = load_text_backbone(ModelConfig(text=str(text_folder("bert")), **PLAIN), 0)
    for tokens, alone in zip(text.tokenize_words(CAPTIONS), plain.tokenize_words(CAPTIONS), strict=True):
        assert len(tokens.open) == len(alone.open)  # a prompt is never hidden


def test_an_own_pooling_is_the_user_s(text_folder: Any, tmp_path: Path) -> None:
    save(tmp_path, text_folder("bert"), "cls", True, "a ")
    asked = load_text_backbone(ModelConfig(text=str(tmp_path), text_pooling="mean", **PLAIN), 0)
    (tmp_path / "modules.json").unlink()
    plain = load_text_backbone(ModelConfig(text=str(tmp_path), **PLAIN), 0)
    assert asked.digest == plain.digest


def test_settings_of_older_versions(tmp_path: Path) -> None:
    assert read_sentence_settings(tmp_path) == SentenceSettings()
    kinds = ("Transformer", "Pooling", "Normalize")
    modules = [{"path": f"{n}_{kind}" if n else "", "type": f"models.{kind}"} for n, kind in enumerate(kinds)]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "1_Pooling").mkdir()
    pooling = tmp_path / "1_Pooling/config.json"
    pooling.write_text(json.dumps({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}))
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 12}))
    assert read_sentence_settings(tmp_path) == SentenceSettings("cls", True, "", 12)
    pooling.write_text(json.dumps({"pooling_mode_max_tokens": True}))
    with pytest.raises(
        PairJEPAError, match=r"must pool by cls, mean or the last token.*pooling by max_tokens"
    ):
        read_sentence_settings(tmp_path)
    (tmp_path / "modules.json").write_text(
        json.dumps([*modules, {"path": "3_Dense", "type": "models.Dense"}])
    )
    with pytest.raises(PairJEPAError, match=r"which has Dense"):
        read_sentence_settings(tmp_path)
    (tmp_path / "modules.json").write_text("[{}]")
    with pytest.raises(PairJEPAError, match=r"whose settings lack 'type'"):
        read_sentence_settings(tmp_path)


def test_no_caption_is_longer_than_the_folder_says(text_folder: Any, tmp_path: Path) -> None:
    save(tmp_path, text_folder("bert"), "mean", True)
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 12}))
    with pytest.raises(UsageError, match=r"max_tokens must be at most 12"):
        load_text_backbone(ModelConfig(text=str(tmp_path), max_tokens=16), 0)
