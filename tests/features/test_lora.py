"""LoRA and tuned towers: what learns, what is kept, and that use needs no `peft`."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import pairjepa
from pairjepa.apps.export import export
from pairjepa.backbones.encoders import load_backbones
from pairjepa.config.recipes import recipe
from pairjepa.config.settings import RunConfig
from pairjepa.features.engines import choice
from pairjepa.model.build import build_module
from pairjepa.model.lora import add_lora
from pairjepa.model.weights import load_weights, weights, write_tensors
from pairjepa.pairs.data import read_data
from pairjepa.training import train
from pairjepa.training.material import Material
from pairjepa.util.errors import PairJEPAError, UsageError

from .pictures import picture
from .test_pair import CAPTIONS, clip, save, siglip


def config(pair: Path, **given: Any) -> RunConfig:
    values = {"data.source": "shapes:60", "model.pair": str(pair), "training.epochs": 2}
    return recipe("adapt", values | {f"model.{name}": value for name, value in given.items()})


def vectors(run: Path) -> np.ndarray:
    embedder = pairjepa.Embedder.load(run)
    return np.concatenate([embedder.encode_image([picture(0)]), embedder.encode_text(CAPTIONS)])


@pytest.mark.parametrize("make", [clip, siglip], ids=lambda make: make.__name__)
def test_lora_of_a_pair(make: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Epoch 0 is the pair; the run keeps nothing of the backbone; it is used without peft."""
    pytest.importorskip("peft")
    save(tmp_path / "pair", make)
    run = pairjepa.train(config(tmp_path / "pair", image_lora=2, text_lora=2), None, tmp_path / "run")
    assert run.summary is not None
    assert run.summary["pretrained_dev_rsum"] is not None
    kept = load_file(run.model_file)
    assert {name.split(".")[0] for name in kept} == {"joint", "objective", "image", "text"}
    assert all(".lora_" in name for name in kept if name.startswith(("image.", "text.")))
    assert not (run.path / "image").exists()
    monkeypatch.setitem(sys.modules, "peft", None)
    rows = vectors(run.path)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    result = pairjepa.evaluate(run.path, "dev")
    assert result["rsum"] == pytest.approx(run.summary["dev_rsum"])
    assert result["baselines"]["pretrained"]["rsum"] == run.summary["pretrained_dev_rsum"]


def test_merged_weights_compute_what_lora_computes(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    save(tmp_path / "pair", clip)
    settings = config(tmp_path / "pair", image_lora=3, text_lora=2)
    image, text = load_backbones(settings, ())
    before = torch.random.get_rng_state()
    for side, backbone in (("image", image), ("text", text)):
        add_lora(backbone.tower, getattr(settings.model, f"{side}_lora"), side, seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)
    module = build_module(settings, image, text)
    learning = [name for name, one in module.named_parameters() if one.requires_grad and "lora" in name]
    assert all(one.requires_grad == ("lora" in name) for name, one in module["image"].named_parameters())
    generator = torch.Generator().manual_seed(0)
    for name in learning:
        part = module.get_parameter(name)
        part.data = 0.1 * torch.randn(part.shape, generator=generator)
    pixels, tokens = torch.randn(2, 3, 32, 32, generator=generator), text.collate(text.tokenize(CAPTIONS))
    write_tensors(weights(module), tmp_path / "model.safetensors")
    with torch.no_grad():
        learned = image(pixels), text(*tokens)
    image, text = load_backbones(settings, ())
    with torch.no_grad():
        untouched = image(pixels), text(*tokens)
    module = build_module(settings, image, text)
    load_weights(module, tmp_path / "model.safetensors")
    with torch.no_grad():
        used = image(pixels), text(*tokens)
    for one, other, first in zip(learned, used, untouched, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
        assert not torch.allclose(one, first, atol=1e-2)


def test_lora_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("peft")
    save(tmp_path / "pair", clip)
    settings = config(tmp_path / "pair", text_lora=2)
    whole = pairjepa.train(settings, None, tmp_path / "whole")
    measured = train.Trainer._measured_epoch

    def stopped(self: Any, epoch: int, *arguments: Any) -> Any:
        if epoch == 2:
            raise KeyboardInterrupt
        self._saved = -1e9  # a checkpoint is due
        return measured(self, epoch, *arguments)

    monkeypatch.setattr(train.Trainer, "_measured_epoch", stopped)
    with pytest.raises(KeyboardInterrupt):
        pairjepa.train(settings, None, tmp_path / "halved")
    monkeypatch.undo()
    halved = pairjepa.train(settings, None, tmp_path / "halved")
    assert halved.model_file.read_bytes() == whole.model_file.read_bytes()


def test_the_pair_is_measured_by_what_measures_its_tuned_tower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch, or the row of the pair would not be epoch 0 to the last digit."""
    save(tmp_path / "pair", clip)
    monkeypatch.setattr(choice, "FEW", 0)
    settings = config(tmp_path / "pair", image_lora=2)
    data = read_data(pairjepa.Pairs.open("shapes:20"), 0.0)
    material = Material(settings, data, *load_backbones(settings, ()))
    assert len(material.image_features.gather(np.arange(20))) == 20
    assert material.engines == {"image": "torch"}


def test_a_tower_of_a_pair_is_tuned_whole(tmp_path: Path) -> None:
    save(tmp_path / "pair", clip)
    given = config(tmp_path / "pair", image_lr_scale=0.1)
    run = pairjepa.train(given, None, tmp_path / "run")
    names = {name for name in load_file(run.model_file) if name.startswith(("image.", "text."))}
    image, _ = load_backbones(given, ())
    assert names == {f"image.{name}" for name in image.tower.state_dict()}
    assert vectors(run.path).shape == (1 + len(CAPTIONS), 12)


def test_lora_that_cannot_be_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"model\.image_lora must be at least 1, got 0"):
        recipe("contrastive", {"model.image_lora": 0}).validate()
    tiny = {"data.source": "shapes:60", "model.image_lora": 2}
    monkeypatch.setattr(train, "find_spec", lambda name: None)
    with pytest.raises(PairJEPAError, match=r"pip install 'pairjepa\[lora\]'"):
        pairjepa.train(recipe("tiny", tiny), None, tmp_path / "run")
    monkeypatch.undo()
    pytest.importorskip("peft")
    with pytest.raises(UsageError, match=r"model\.image_lora must go with a backbone that has linear layers"):
        pairjepa.train(recipe("tiny", tiny), None, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("given", [{}, {"text_lora": 2}, {"image_lr_scale": 0.1}], ids=str)
def test_an_adapted_pair_goes_to_the_hub_whole(given: dict[str, Any], tmp_path: Path) -> None:
    """The folder holds the pair as it was, and names it without the path; the card has it as its base."""
    pytest.importorskip("peft")
    save(tmp_path / "my-pair", clip)
    if not given:
        (tmp_path / "my-pair/README.md").write_text("---\nlicense: mit\n---\n# My pair\n", "utf-8")
    run = pairjepa.train(config(tmp_path / "my-pair", **given), None, tmp_path / "run").path
    rows = vectors(run)
    export(run, "hub", tmp_path / "hub")
    shutil.rmtree(tmp_path / "my-pair")
    assert np.allclose(vectors(tmp_path / "hub"), rows, atol=1e-6)
    record = (tmp_path / "hub/run.json").read_text("utf-8")
    assert '"pair": "my-pair"' in record
    assert str(tmp_path) not in record
    card = (tmp_path / "hub/README.md").read_text("utf-8")
    own = "unknown here; its own terms hold" if given else "`mit`, which holds"
    assert f"- my-pair: {own} for what is made of it, too" in card
    export(tmp_path / "hub", "hub", tmp_path / "again")
    assert (tmp_path / "again/README.md").read_text("utf-8") == card.replace("# hub", "# again")
    with pytest.raises(PairJEPAError, match="was trained on a backbone that it does not hold itself"):
        pairjepa.Embedder.load(run)
