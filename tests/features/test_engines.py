"""Engines: the same features as PyTorch, never mixed, and refused where they differ."""

import contextlib
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from pairjepa.backbones.encoders import load_image_backbone, load_text_backbone
from pairjepa.backbones.masking import Masking
from pairjepa.config.settings import ModelConfig
from pairjepa.features import engines, work
from pairjepa.features.cache import FeatureStore
from pairjepa.features.engines import choice
from pairjepa.features.engines.onnx import _Pixels
from pairjepa.features.engines.onnx_graph import pixel_inputs, write_graph
from pairjepa.features.work import ImageWork, TextWork
from pairjepa.util.errors import PairJEPAError, UsageError

from .conftest import CAPTIONS
from .filled import image_features, masked_text_features, text_features
from .pictures import MemoryPairs

VIEWS = ("whole", "whole-mirrored", "centre")
OTHERS = ["onnx"]
ROWS = list(range(9))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Shards and batches so small that a handful of items fills several; and `auto` makes a graph for them."""
    monkeypatch.setattr(work, "IMAGE_SHARD", 4)
    monkeypatch.setattr(work, "IMAGE_BATCH", 3)
    monkeypatch.setattr(work, "TEXT_SHARD", 3)
    monkeypatch.setattr(work, "TEXT_BATCH", 2)
    monkeypatch.setattr(choice, "FEW", 8)


@pytest.fixture
def backbone():
    return load_image_backbone(ModelConfig(image="tiny-resnet"), 0)


@pytest.fixture
def pairs():
    return MemoryPairs(ROWS)


class Noisy:
    """An engine that works, and gives PyTorch's features plus noise."""

    def __init__(self, backbone, noise: float) -> None:
        self.torch, self.noise = engines.make("torch", backbone), noise

    def results(self, batches):
        for features in self.torch.results(batches):
            yield features + self.noise * np.linspace(-1, 1, features.shape[1], dtype=np.float32)


@pytest.fixture
def with_onnx(monkeypatch):
    """`with_onnx(Noisy(...))`, `with_onnx(engines.Unconvertible("..."))`: what stands in for ONNX Runtime."""
    real = engines.make

    def use(stand_in):
        def make(name, made_for):
            if name == "torch":
                return real(name, made_for)
            if isinstance(stand_in, Exception):
                raise stand_in
            return stand_in

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


def test_maps_are_averaged_by_windows_in_a_graph(image_folder, tmp_path):
    """Which ONNX Runtime computes in the layout of its convolutions."""
    config = ModelConfig(image=str(image_folder("efficientnet")), image_stages=(-1,))
    backbone = load_image_backbone(config, 0)
    write_graph(_Pixels(backbone), pixel_inputs(backbone), ["features"], tmp_path / "graph.onnx")
    operators = [
        node.op_type for node in onnx.load(tmp_path / "graph.onnx", load_external_data=False).graph.node
    ]
    squeezed = sum(isinstance(module, nn.AdaptiveAvgPool2d) for module in backbone.modules())
    assert operators.count("AveragePool") == squeezed + 1 > 1
    assert "ReduceMean" not in operators


def test_bfloat16_is_near_and_kept_apart(image_folder, text_folder, pairs, tmp_path):
    image = load_image_backbone(ModelConfig(image=str(image_folder("vit"))), 0)
    text = load_text_backbone(ModelConfig(text=str(text_folder("bert"))), 0)
    exact = [images(image, pairs, tmp_path, "torch"), all_rows(text_features(text, CAPTIONS, tmp_path))]
    near = [
        images(image, pairs, tmp_path, "bfloat16"),
        all_rows(text_features(text, CAPTIONS, tmp_path, "bfloat16")),
    ]
    for one, other in zip(exact, near, strict=True):
        assert other.dtype == np.float32
        assert (one != other).any()
        assert choice.lowest_cosine(one.reshape(-1, one.shape[-1]), other.reshape(-1, one.shape[-1])) > 0.999
    assert len(list((tmp_path / "features").iterdir())) == 4


def test_auto_on_apples_device_is_torch(backbone, pairs, monkeypatch):
    monkeypatch.setattr(choice, "best_device", lambda: torch.device("mps"))
    assert choice.choose(ImageWork.of(backbone, pairs, pairs.facts, VIEWS), 100) == "torch"


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


@pytest.mark.parametrize(
    ("side", "count", "gpu", "packages", "expected"),
    [
        ("image", 9, False, True, "onnx"),
        ("image", 8, False, True, "torch"),
        ("image", 9, True, True, "bfloat16"),
        ("image", 9, False, False, "torch"),
        ("text", 10**6, False, True, "torch"),
    ],
)
def test_auto(backbone, pairs, text_folder, monkeypatch, side, count, gpu, packages, expected):
    """By what is installed, the kind of backbone and how much there is to do; nothing is measured."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": False}, raising=False)
    if not packages:
        monkeypatch.setattr(engines, "find_spec", lambda name: None)
    one = ImageWork.of(backbone, pairs, pairs.facts, VIEWS)
    if side == "text":
        text = load_text_backbone(ModelConfig(text=str(text_folder("bert"))), 0)
        one = TextWork.of(text, CAPTIONS)
    assert choice.choose(one, count) == expected


@pytest.mark.parametrize(
    ("tower", "count", "expected"),
    [
        ("vit", 9, "bfloat16"),
        ("vit", 8, "torch"),
        ("tiny-resnet", 9, "onnx"),
        ("bert", 9, "bfloat16"),
        ("bert", 8, "torch"),
    ],
)
def test_auto_on_a_cpu_with_amx(
    image_folder, text_folder, pairs, tmp_path, monkeypatch, tower, count, expected
):
    """Transformers are computed by tiles; convolutions would be slower than by ONNX Runtime, and further off."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    if tower == "bert":
        one = TextWork.of(load_text_backbone(ModelConfig(text=str(text_folder("bert"))), 0), CAPTIONS)
    else:
        image = tower if tower == "tiny-resnet" else str(image_folder(tower))
        one = ImageWork.of(load_image_backbone(ModelConfig(image=image), 0), pairs, pairs.facts, VIEWS)
    assert choice.choose(one, count) == expected


def test_what_is_there_is_used_whatever_computed_it(backbone, pairs, tmp_path, monkeypatch):
    """Features that 0.1 made with OpenVINO, too; what of them is missing is computed afresh, and nothing is mixed."""
    named = ImageWork.of(backbone, pairs, pairs.facts, VIEWS)
    kept = FeatureStore(tmp_path, named.made_of() | {"engine": "openvino"}, named.item_shape)
    kept.write(work.strings(named.keys)[:4], np.full((4, len(VIEWS), backbone.width), 7, np.float32))
    for engine in ("auto", "openvino"):  # as the record of a run may name it
        assert (images(backbone, MemoryPairs(ROWS[:4]), tmp_path, engine) == 7).all()
    monkeypatch.setattr(choice, "FEW", 100)
    got = images(backbone, pairs, tmp_path, "auto")
    np.testing.assert_array_equal(got, images(backbone, pairs, tmp_path / "torch", "torch"))


@pytest.mark.parametrize(
    ("stand_in", "reason"),
    [
        (lambda backbone: Noisy(backbone, 0.1), r"agree to a cosine of 0\.9\d+, less than 0\.9999"),
        (lambda backbone: Noisy(backbone, np.nan), "agree to a cosine of nan"),
        (lambda backbone: engines.Unconvertible("no rule for aten::odd"), "no rule for aten::odd"),
    ],
)
def test_an_engine_that_differs_is_passed_over_or_refused(
    backbone, pairs, tmp_path, capsys, with_onnx, stand_in, reason
):
    with_onnx(stand_in(backbone))
    got = images(backbone, pairs, tmp_path / "auto", "auto")
    said = capsys.readouterr().err
    assert "image features: engine torch, for onnx does not compute this backbone as it does: " in said
    np.testing.assert_array_equal(got, images(backbone, pairs, tmp_path / "torch", "torch"))
    with pytest.raises(PairJEPAError, match=rf"model\.engine must .* got onnx: .*{reason}.*\. Take --engine"):
        images(backbone, pairs, tmp_path / "named", "onnx")
    assert not list((tmp_path / "named").rglob("*.npy"))


def test_a_graph_that_fails_at_another_shape_is_refused(backbone, pairs, tmp_path, with_onnx):
    class Fails:
        def results(self, batches):
            raise RuntimeError("shape 3 is not 2\nat op 7")

    with_onnx(Fails())
    with pytest.raises(PairJEPAError, match=r"got onnx: shape 3 is not 2\. Take"):
        images(backbone, pairs, tmp_path, "onnx")


def test_begun_with_an_engine_that_is_gone(backbone, pairs, tmp_path, monkeypatch):
    """What is complete is used without it; what is not is computed afresh, and nothing is mixed."""
    images(backbone, MemoryPairs(ROWS[:4]), tmp_path, "onnx")
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    assert stores(tmp_path) == 1
    for engine in ("auto", "onnx"):
        images(backbone, MemoryPairs(ROWS[:4]), tmp_path, engine)
    assert stores(tmp_path) == 1
    got = images(backbone, pairs, tmp_path, "auto")
    np.testing.assert_array_equal(got, images(backbone, pairs, tmp_path / "torch", "torch"))


def test_an_engine_must_be_known_and_installed(backbone, pairs, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"Unknown engine 'onx'\. Did you mean 'onnx'"):
        images(backbone, pairs, tmp_path, "onx")
    with pytest.raises(UsageError, match=r"Unknown engine 'openvino'\. .* Take onnx: OpenVINO reads"):
        engines.check_engine("openvino")
    assert not stores(tmp_path)
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(PairJEPAError, match=r"'onnxruntime', which is not installed.*pairjepa\[onnx\]"):
        images(backbone, pairs, tmp_path, "onnx")
    assert not pairs.decoded


def test_a_work_can_be_sent_elsewhere(text_folder):
    """Where the backbone is loaded anew."""
    backbone, again = (load_text_backbone(ModelConfig(text=str(text_folder("bert"))), 0) for _ in range(2))
    sent = TextWork.of(backbone, CAPTIONS)
    there = replace(pickle.loads(pickle.dumps(sent)), backbone=again)
    expected = work.compute_shard(sent, engines.make("torch", backbone), work.strings(sent.keys)[:3])
    got = work.compute_shard(there, engines.make("torch", again), work.strings(there.keys)[:3])
    np.testing.assert_array_equal(got, expected)


def test_named_engines_leave_the_backbone_as_it_was(backbone, pairs, tmp_path):
    backbone.train()
    images(backbone, pairs, tmp_path, "onnx")
    assert backbone.training
    assert all(parameter.requires_grad for parameter in backbone.parameters())
    assert not torch.is_inference(next(backbone.parameters()))
