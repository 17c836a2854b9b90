"""Train the heads with the trainer and with a bare PyTorch loop over the same tensors in memory.

    python benchmarks/head_training.py DATA --image IMG --text TXT [--recipe contrastive] [--epochs 16]

The features come from the cache, and are computed first where they are not there. The bare loop has the same heads,
objective, optimizer, schedule and batches, and PyTorch's own dropout; it neither measures dev, nor chooses an epoch,
nor could it be interrupted.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sides import Measured, main, ratio

from pairjepa.backbones.encoders import load_backbones
from pairjepa.config.recipes import recipe
from pairjepa.config.settings import RunConfig
from pairjepa.model.build import build_module
from pairjepa.objectives import Labels
from pairjepa.objectives.info_nce import info_nce
from pairjepa.pairs import Pairs
from pairjepa.pairs.data import read_data
from pairjepa.training.material import Material
from pairjepa.training.plan import Plan
from pairjepa.training.train import fit_material
from pairjepa.util.memory import keep_freed_memory


def arguments(parser: argparse.ArgumentParser) -> None:
    """What is trained on."""
    parser.add_argument("data")
    parser.add_argument("--image", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--recipe", default="contrastive")
    parser.add_argument("--epochs", type=int, default=16)


def trainer(given: argparse.Namespace) -> Measured:
    """`train` from the moment that the features are there, dev measured after each epoch."""
    material = _material(given)
    with tempfile.TemporaryDirectory() as folder:
        material.split("train"), material.split("dev")
        start = time.perf_counter()
        run = fit_material(material, Path(folder) / "run")
        seconds = time.perf_counter() - start
        summary: Any = run.summary
    return {"seconds": seconds, "training_seconds": summary["cost"]["training_seconds"]}


def bare(given: argparse.Namespace) -> Measured:
    """The loop alone."""
    material, config = _material(given), _config(given)
    split = material.split("train")
    images, texts = _all(split.images), _all(split.texts)[:, 0]
    module = build_module(config, material.image, material.text)
    _with_pytorchs_dropout(module)
    material.fit_standardizers(module["joint"], split)  # type: ignore[arg-type]
    joint: Any = module["joint"]
    objective: Any = module["objective"]
    plan = Plan(split.owner, images.shape[1], config.training)
    keep_freed_memory()
    settings = config.training
    decayed = [p for p in module.parameters() if p.ndim > 1 and p.requires_grad]
    others = [p for p in module.parameters() if p.ndim <= 1 and p.requires_grad]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
    start, step = time.perf_counter(), 0
    for epoch in range(1, settings.epochs + 1):
        module.train()
        for samples in plan.epoch(epoch):
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * plan.lr_multiplier(step)
            rows = torch.from_numpy(samples.images)
            prediction = joint.predict(images[rows, torch.from_numpy(samples.views)])
            target = joint.target(texts[torch.from_numpy(samples.captions)])
            loss = info_nce(
                prediction,
                target,
                labels=Labels(rows, rows),
                temperature=objective.temperature,
                label_smoothing=config.objective.label_smoothing,
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    return {"seconds": time.perf_counter() - start}


def _with_pytorchs_dropout(module: torch.nn.Module) -> None:
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, torch.nn.Dropout):
                setattr(parent, name, torch.nn.Dropout(child.p))


def _all(inputs: Any) -> torch.Tensor:
    rows = np.arange(len(inputs))
    views = [inputs.batch(rows, np.full(len(rows), view))[0] for view in range(inputs.views)]
    return torch.stack(views, dim=1)


def _config(given: argparse.Namespace) -> RunConfig:
    settings = {"model.image": given.image, "model.text": given.text, "training.epochs": given.epochs}
    return recipe(given.recipe, {"data.source": given.data, **settings})


def _material(given: argparse.Namespace) -> Material:
    pairs = Pairs.open(given.data)
    config = _config(given)
    data = read_data(pairs, 1.0)
    material = Material(config, data, *load_backbones(config, pairs.captions_of("train").to_pylist()))
    return material


def summary(sides: dict[str, Measured], given: argparse.Namespace) -> dict[str, Any]:
    """Ratio to the bare loop."""
    ratios = {"pairjepa / bare": ratio(sides["pairjepa"], sides["bare"])}
    return {"recipe": given.recipe, "epochs": given.epochs, "ratios": ratios}


SIDES = {"pairjepa": trainer, "bare": bare}

if __name__ == "__main__":
    sys.exit(main(__doc__, SIDES, arguments, summary))
