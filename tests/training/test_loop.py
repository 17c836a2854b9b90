"""The loop: which epoch is kept, what counts as a positive, and what happens on a GPU."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import pairjepa
from pairjepa.backbones.image import ImageBackbone
from pairjepa.backbones.tiny import tiny_preprocessing, tiny_resnet
from pairjepa.config.recipes import recipe
from pairjepa.config.settings import RunConfig
from pairjepa.objectives import Labels, info_nce
from pairjepa.pairs import Pairs
from pairjepa.training import loop, monitor
from pairjepa.training.inputs import CachedFeatures, Pixels, all_features, to_device
from pairjepa.util.errors import PairJEPAError


def config(**settings: Any) -> RunConfig:
    small = {
        "data.source": "shapes:100",
        "model.image": "tiny-resnet",
        "model.text": "tiny-bert",
        "model.dim": 16,
        "model.predictor.kind": "mlp",  # which the closed formula never replaces
        "training.epochs": 3,
        "training.batch_size": 40,
    }
    return recipe("contrastive", small | {key.replace("__", "."): value for key, value in settings.items()})


def test_the_epoch_is_chosen_by_dev_recall_not_by_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss falls to the end, the dev recalls are best in the second epoch; training recalls do not count."""
    recalls = iter([50.0, 80.0, 60.0, 300.0])  # dev, dev, dev, and at the end train
    measure = monitor.measure
    after: list[dict[str, torch.Tensor]] = []

    def measured(*arguments: Any) -> dict[str, Any]:
        return measure(*arguments) | {"rsum": next(recalls)}

    def line(*arguments: Any) -> str:
        after.append({k: v.clone() for k, v in modules[-1].state_dict().items()})
        return "epoch"

    modules: list[nn.Module] = []
    build = loop.Trainer.__init__

    def built(self: Any, config: Any, module: nn.Module, **options: Any) -> None:
        modules.append(module)
        build(self, config, module, **options)

    monkeypatch.setattr(loop.Trainer, "__init__", built)
    monkeypatch.setattr(monitor, "measure", measured)
    monkeypatch.setattr(loop, "line", line)
    run = pairjepa.train(config(), None, tmp_path / "run")
    losses = [line["loss"] for line in run.metrics()]
    assert losses == sorted(losses, reverse=True)
    assert run.summary is not None
    assert (run.summary["best_epoch"], run.summary["dev_rsum"]) == (2, 80.0)
    kept = load_file(run.model_file)
    assert all(torch.equal(kept[name], after[1][name]) for name in kept)
    assert not all(torch.equal(kept[name], after[2][name]) for name in kept)


def test_the_best_weights_are_kept_when_a_later_epoch_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are written with checkpoints, which are far apart; but also when the training ends otherwise."""
    steps = loop.Trainer._steps
    after: list[dict[str, torch.Tensor]] = []

    def failing(self: Any, epoch: int, *arguments: Any) -> float:
        if epoch == 2:
            after.append({k: v.clone() for k, v in self.module.state_dict().items()})
            raise PairJEPAError("The loss must stay finite.")
        return steps(self, epoch, *arguments)

    monkeypatch.setattr(loop.Trainer, "_steps", failing)
    with pytest.raises(PairJEPAError, match="must stay finite"):
        pairjepa.train(config(), None, tmp_path / "run")
    kept = load_file(tmp_path / "run" / "model.safetensors")
    assert kept.keys() == after[0].keys()
    assert all(torch.equal(kept[name], after[0][name]) for name in kept)


def test_identical_captions_of_other_images_are_positives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with class names: every image of a class is a positive of every caption of it."""
    pairs = Pairs.open("shapes:100")
    words = ["a cat", "a dog"]
    captions = pa.array([[words[row % 2]] for row in range(pairs.n_images)])
    at = pairs.table.column_names.index("captions")
    classes = Pairs(pairs.table.set_column(at, "captions", captions), "classes")
    seen = []
    positives_of = info_nce.positives_of

    def watched(labels: Labels) -> torch.Tensor:
        seen.append((labels.image, positives_of(labels)))
        return seen[-1][1]

    monkeypatch.setattr(info_nce, "positives_of", watched)
    pairjepa.train(config(training__epochs=1), classes, tmp_path / "run")
    kind = np.flatnonzero(pairs.table["split"].to_numpy() == "train") % 2
    for owner, positives in seen:
        expected = kind[owner.numpy()][:, None] == kind[owner.numpy()]
        assert positives.numpy().tolist() == expected.tolist()


class Table:
    """A feature table in memory."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape = values, values.shape

    def gather(self, rows: np.ndarray, views: np.ndarray | None = None) -> np.ndarray:
        values = self.values[rows] if views is None else self.values[rows, views]
        return values.astype(np.float32)


def test_moments_of_large_features_are_exact() -> None:
    """Over rows of this split and views; a mean far from zero cancels no digits away."""
    values = np.random.default_rng(0).normal(1e4, 0.5, (50, 2, 3)).astype(np.float32)
    rows = np.arange(5, 45)
    mean, deviation = CachedFeatures(Table(values), rows).moments()  # type: ignore[arg-type]
    flat = values[rows].reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(mean, flat.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(deviation, flat.std(axis=0), rtol=1e-4)


def test_views_of_cached_features_are_chosen_by_row() -> None:
    values = np.arange(24.0).reshape(4, 2, 3)
    inputs = CachedFeatures(Table(values), np.array([3, 1, 0]))  # type: ignore[arg-type]
    (batch,) = inputs.batch(np.array([2, 0]), np.array([1, 0]))
    assert batch.tolist() == [values[0, 1].tolist(), values[3, 0].tolist()]
    (_, every), *_ = all_features(inputs, torch.device("cpu"))
    assert every.tolist() == values[[3, 1, 0]].tolist()


def test_pixels_go_where_the_backbone_is() -> None:
    """`meta` stands in for a GPU: a tensor left behind on the CPU cannot be combined with one that is there."""
    backbone = ImageBackbone(tiny_resnet(0), tiny_preprocessing()).to("meta")
    inputs = Pixels(backbone, Pairs.open("shapes:10"), ("whole", "whole-mirrored"))
    batch = to_device(inputs.batch(np.arange(4), np.array([0, 1, 0, 1])), torch.device("meta"))
    assert batch[0].device.type == "meta"
    assert backbone(*batch).shape == (4, backbone.width)


def test_pixels_are_those_of_their_view() -> None:
    backbone = ImageBackbone(tiny_resnet(0), tiny_preprocessing())
    pairs = Pairs.open("shapes:10")
    (batch,) = Pixels(backbone, pairs, ("whole", "whole-mirrored")).batch(np.array([3, 3]), np.array([0, 1]))
    torch.testing.assert_close(batch[1], batch[0].flip(-1))
    prepared = np.stack([backbone.prepare(pairs.image(3), "whole")])
    torch.testing.assert_close(batch[:1], backbone.normalise(torch.from_numpy(prepared)))
