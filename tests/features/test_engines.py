"""Engines: the same features as PyTorch, chosen when they pay, never mixed, and refused where they differ."""

import contextlib
import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pairjepa.backbones.encoders import load_image_backbone, load_text_backbone
from pairjepa.backbones.masking import Masking
from pairjepa.config.settings import ModelConfig
from pairjepa.features import choice, engines, work
from pairjepa.features.cache import FeatureStore
from pairjepa.features.extract import image_features, masked_text_features, text_features
from pairjepa.features.work import ImageWork, TextWork
from pairjepa.util.errors import PairJEPAError, UsageError

from .conftest import CAPTIONS
from .pictures import MemoryPairs

VIEWS = ("whole", "whole-mirrored", "centre")
OTHERS = [name for name in engines.ENGINES if name != "torch"]
ROWS = list(range(9))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Shards and batches so small that a handful of items fills several; conversions that always pay."""
    monkeypatch.setattr(work, "IMAGE_SHARD", 4)
    monkeypatch.setattr(work, "IMAGE_BATCH", 3)
    monkeypatch.setattr(work, "TEXT_SHARD", 3)
    monkeypatch.setattr(work, "TEXT_BATCH", 2)
    monkeypatch.setattr(choice, "CONVERSION", dict.fromkeys(OTHERS, 0.0))


@pytest.fixture
def backbone():
    return load_image_backbone(ModelConfig(image="tiny-resnet"), 0)


@pytest.fixture
def pairs():
    return MemoryPairs(ROWS)


class Scaled:
    """An engine that works, gives PyTorch's features plus `noise`, and takes `seconds` a batch."""

    def __init__(self, backbone, noise: float = 0.0, seconds: float = 0.0) -> None:
        self.torch, self.noise, self.seconds, self.batches = (
            engines.make("torch", backbone),
            noise,
            seconds,
            0,
        )

    def results(self, batches):
        for features in self.torch.results(batches):
            self.batches += 1
            choice.time.sleep(self.seconds)
            yield features + self.noise * np.linspace(-1, 1, features.shape[1], dtype=np.float32)


@pytest.fixture
def with_engines(monkeypatch, backbone):
    """`with_engines(openvino=Scaled(...), onnx=engines.Unconvertible("..."))`: these stand in for the real ones."""
    real = engines.make

    def use(**stand_ins):
        monkeypatch.setattr(engines, "installed", lambda name: name == "torch" or name in stand_ins)

        def make(name, made_for):
            found = stand_ins.get(name)
            if isinstance(found, Exception):
                raise found
            return found if found is not None else real(name, made_for)

        monkeypatch.setattr(engines, "make", make)

    return use


def all_rows(table) -> np.ndarray:
    return table.gather(np.arange(len(table)))


def stores(cache: Path) -> int:
    return len(list(cache.glob("features/*")))


def images(backbone, pairs, cache: Path, engine: str) -> np.ndarray:
    return all_rows(image_features(backbone, pairs, pairs.facts, VIEWS, cache, engine))


@pytest.mark.parametrize("engine", OTHERS)
@pytest.mark.parametrize("model", ["resnet", "vit"])
def test_image_features_are_those_of_torch(image_folder, pairs, tmp_path, engine, model):
    backbone = load_image_backbone(ModelConfig(image=str(image_folder(model))), 0)
    expected = images(backbone, pairs, tmp_path, "torch")
    got = images(backbone, pairs, tmp_path, engine)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5)
    assert stores(tmp_path) == 2
    np.testing.assert_array_equal(images(backbone, pairs, tmp_path, "torch"), expected)


@pytest.mark.parametrize("engine", OTHERS)
def test_text_features_are_those_of_torch(text_folder, tmp_path, engine):
    """Captions of many lengths, in batches of more and fewer than the two that the graph is made from."""
    backbone = load_text_backbone(ModelConfig(text=str(text_folder("bert"))), 0)
    captions = [" ".join(["a red dog runs in the snow"] * n)[: 5 * n] for n in range(1, 10)] + CAPTIONS
    masking = Masking("words", 0.2, 0.8)
    for features, extra in ((text_features, ()), (masked_text_features, (masking, 2))):
        expected = all_rows(features(backbone, captions, *extra, tmp_path, "torch"))
        got = all_rows(features(backbone, captions, *extra, tmp_path, engine))
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("engine", OTHERS)
def test_stopped_and_called_again_goes_on_with_the_same_engine(backbone, pairs, tmp_path, engine):
    """Also where the engine is not named: what is begun is gone on with."""

    class Stopping(MemoryPairs):
        def image(self, row, draft=None):
            if row == 6:
                raise KeyboardInterrupt
            return super().image(row)

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    expected = images(backbone, pairs, whole, engine)
    stopping = Stopping(ROWS)
    with contextlib.suppress(KeyboardInterrupt):
        images(backbone, stopping, parts, engine)
    assert len(list(parts.rglob("*.npy"))) == 1
    fresh = load_image_backbone(ModelConfig(image="tiny-resnet"), 0)
    np.testing.assert_array_equal(images(fresh, pairs, parts, "auto"), expected)
    assert stores(parts) == 1


def test_the_fastest_is_taken_and_said(backbone, pairs, tmp_path, capsys, with_engines):
    fast, slow = Scaled(backbone), Scaled(backbone, seconds=0.05)
    with_engines(onnx=slow, openvino=fast)
    torch_time = Scaled(backbone, seconds=0.02)
    with_engines(onnx=slow, openvino=fast, torch=torch_time)
    images(backbone, pairs, tmp_path, "auto")
    said = capsys.readouterr().err
    assert "image features: engine openvino (openvino " in said
    assert "x as fast as torch, cosine ≥ 1.000000" in said
    assert "onnx 0." in said
    assert fast.batches > slow.batches


def test_with_little_to_do_torch_is_taken_without_a_trial(backbone, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(work, "IMAGE_SHARD", 9)
    monkeypatch.setattr(engines, "make", real_only_torch(engines.make))
    got = images(backbone, pairs, tmp_path / "auto", "auto")
    np.testing.assert_array_equal(got, images(backbone, pairs, tmp_path / "torch", "torch"))
    assert pairs.decoded.count(0) == 2
    pairs.decoded.clear()
    images(backbone, pairs, tmp_path / "auto", "auto")
    assert not pairs.decoded


def real_only_torch(make):
    def only(name, backbone):
        assert name == "torch"
        return make(name, backbone)

    return only


def test_a_conversion_that_does_not_pay_is_not_made(backbone, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "CONVERSION", dict.fromkeys(OTHERS, 1e6))
    monkeypatch.setattr(engines, "make", real_only_torch(engines.make))
    images(backbone, pairs, tmp_path, "auto")
    assert stores(tmp_path) == 1


@pytest.mark.parametrize(
    ("stand_in", "reason"),
    [
        (lambda backbone: Scaled(backbone, noise=0.1), r"agree to a cosine of 0\.9\d+, less than 0\.9999"),
        (lambda backbone: Scaled(backbone, noise=np.nan), "agree to a cosine of nan"),
        (lambda backbone: engines.Unconvertible("no rule for aten::odd"), "no rule for aten::odd"),
    ],
)
def test_an_engine_that_differs_is_passed_over_or_refused(
    backbone, pairs, tmp_path, capsys, with_engines, stand_in, reason
):
    with_engines(openvino=stand_in(backbone))
    got = images(backbone, pairs, tmp_path / "auto", "auto")
    said = capsys.readouterr().err
    assert "engine torch (openvino is passed over, " in said
    np.testing.assert_array_equal(got, images(backbone, pairs, tmp_path / "torch", "torch"))
    with pytest.raises(
        PairJEPAError, match=rf"model\.engine must .* got openvino: .*{reason}.*\. Take --engine"
    ):
        images(backbone, pairs, tmp_path / "named", "openvino")
    assert not list((tmp_path / "named").rglob("*.npy"))


def test_a_graph_that_fails_at_another_shape_is_refused(backbone, pairs, tmp_path, with_engines):
    class Fails:
        def results(self, batches):
            raise RuntimeError("shape 3 is not 2\nat op 7")

    with_engines(onnx=Fails())
    with pytest.raises(PairJEPAError, match=r"got onnx: shape 3 is not 2\. Take"):
        images(backbone, pairs, tmp_path, "onnx")


def test_begun_with_an_engine_that_is_gone(backbone, pairs, tmp_path, capsys, monkeypatch):
    """What is complete is used without it; what is not is computed afresh, and nothing is mixed."""
    named = ImageWork.of(backbone, pairs, pairs.facts, VIEWS)
    store = choice.open_store(named, "openvino", tmp_path)
    shape = (4, 3, backbone.width)
    store.write(named.keys[:4], np.full(shape, 7, np.float32))
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    got = images(backbone, pairs, tmp_path, "auto")
    assert (
        "begun with openvino, which cannot go on. This needs the package 'openvino'"
        in capsys.readouterr().err
    )
    np.testing.assert_array_equal(got, images(backbone, pairs, tmp_path / "torch", "torch"))

    four = MemoryPairs(ROWS[:4])
    (tmp_path / "features" / FeatureStore(tmp_path, named.made_of(), named.item_shape).key).rename(
        tmp_path / "away"
    )
    assert (images(backbone, four, tmp_path, "auto") == 7).all()


def test_an_engine_must_be_known_and_installed(backbone, pairs, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"Unknown engine 'openvno'\. Did you mean 'openvino'"):
        images(backbone, pairs, tmp_path, "openvno")
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(PairJEPAError, match=r"'onnxruntime', which is not installed.*pairjepa\[onnx\]"):
        images(backbone, pairs, tmp_path, "onnx")
    assert not pairs.decoded
    assert not stores(tmp_path)


def test_the_choice_holds_for_the_backbone(text_folder, tmp_path, capsys, with_engines):
    """Masked captions are computed by what the captions were, without another trial."""
    text = load_text_backbone(ModelConfig(text=str(text_folder("bert"))), 0)
    with_engines(torch=Scaled(text, seconds=0.02), onnx=Scaled(text))
    captions = [f"{word} dog {n}" for word in ("red", "blue", "two") for n in range(4)]
    text_features(text, captions, tmp_path, "auto")
    assert "text features: engine onnx" in capsys.readouterr().err
    masked_text_features(text, captions, Masking("words", 0.2, 0.8), 2, tmp_path, "auto")
    assert "engine" not in capsys.readouterr().err
    assert {json.loads(path.read_text())["engine"] for path in tmp_path.rglob("manifest.json")} == {"onnx"}


def test_a_work_can_be_sent_elsewhere(text_folder):
    """Where the backbone is loaded anew."""
    backbone, again = (load_text_backbone(ModelConfig(text=str(text_folder("bert"))), 0) for _ in range(2))
    sent = TextWork.of(backbone, CAPTIONS)
    there = replace(pickle.loads(pickle.dumps(sent)), backbone=again)
    expected = work.compute_shard(sent, engines.make("torch", backbone), sent.keys[:3])
    got = work.compute_shard(there, engines.make("torch", again), there.keys[:3])
    np.testing.assert_array_equal(got, expected)


def test_named_engines_leave_the_backbone_as_it_was(backbone, pairs, tmp_path):
    backbone.train()
    images(backbone, pairs, tmp_path, "openvino")
    assert backbone.training
    assert all(parameter.requires_grad for parameter in backbone.parameters())
    assert not torch.is_inference(next(backbone.parameters()))
