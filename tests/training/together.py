"""What `test_distributed.py` computes twice: alone, and as one of several processes, for which this is a script."""

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Any
from unittest import mock

os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}

import torch
from safetensors.torch import save_file
from torch import nn

import pairjepa
from pairjepa.config.recipes import recipe
from pairjepa.config.settings import ObjectiveConfig
from pairjepa.model.sharded import whole
from pairjepa.objectives import TERMS, Everyone, Labels, Objective
from pairjepa.training import inputs, loop, shares
from pairjepa.training.distributed import Group, Part, current, joined
from pairjepa.training.distributed import group as group_module

SMALL = {"data.source": "shapes:60", "model.image": "tiny-resnet", "model.text": "tiny-bert", "model.dim": 16}
STEPS = {"training.epochs": 1, "training.batch_size": 25, "training.learning_rate": 1e-4}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "frozen": (
        "contrastive",
        {
            "objective.weights": dict.fromkeys(TERMS, 0.5),
            "training.captions_per_image": 2,
            "model.predictor.kind": "mlp",  # which has BatchNorm
            "model.predictor.hidden": 24,
        },
    ),
    "masked": (
        "masked",
        {
            "model.image_grid": 2,
            "model.image_projection.kind": "identity",
            "model.predictor.kind": "transformer",
            "model.predictor.hidden": 64,
            "model.predictor.dropout": 0.1,
            "context.cell_dropout": 0.3,
        },
    ),
    "reference-contrastive": ("reference-contrastive", {"model.image_size": 64}),
    "reference-masked": ("reference-masked", {"model.image_size": 64}),
    "in chunks": (
        "tiny-masked",
        {"training.micro_batch": 6},
    ),  # the last one of 24 or 25 samples may be one sample
    "interrupted": (
        "tiny",
        {"training.epochs": 2, "training.batch_size": 15, "training.learning_rate": 1e-3},
    ),
}
SHARDED = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "false",
}


def train(name: str, run: Path, stop_after: int | None = None) -> dict[str, torch.Tensor]:
    """Train a case and give the numbers, gradients and weights of its steps.

    Args:
        name: in `CASES`.
        run: the run folder.
        stop_after: the last process gets Ctrl-C after this many steps.
    """
    kept: dict[str, torch.Tensor] = {}
    init, step, to_device = loop.Trainer.__init__, loop.Trainer._step, loop.to_device

    def watched(trainer: Any, config: Any, module: nn.Module, **options: Any) -> None:
        for side in (options[split].masked for split in ("train", "seen", "dev")):
            if side is not None and side.backbone is not None:
                side.backbone.double()
        init(trainer, config, module.double(), **options)

        def before(*_: Any) -> None:
            for parameter, value in module.named_parameters():
                if value.grad is not None:
                    kept[f"{trainer.number}/gradient/{parameter}"] = whole(value.grad).clone()

        trainer.number = 0
        trainer.optimizer.register_step_pre_hook(before)

    def counted(trainer: Any, *arguments: Any) -> dict[str, float]:
        numbers = step(trainer, *arguments)
        for term, number in numbers.items():
            kept[f"{trainer.number}/value/{term}"] = torch.tensor(number)
        for weight, value in trainer.module.state_dict().items():
            kept[f"{trainer.number}/weight/{weight}"] = whole(value).clone()
        trainer.number += 1
        if trainer.number == stop_after and current().rank == current().size - 1:
            os.kill(os.getpid(), signal.SIGINT)
        return numbers

    def double(batch: tuple[torch.Tensor, ...], device: torch.device) -> tuple[torch.Tensor, ...]:
        return tuple(t.double() if t.is_floating_point() else t for t in batch)

    base, settings = CASES[name]
    loop.Trainer.__init__, loop.Trainer._step = watched, counted  # type: ignore[method-assign]
    loop.to_device = inputs.to_device = shares.to_device = double  # float64 tells wiring from rounding
    try:
        pairjepa.train(recipe(base, SMALL | STEPS | settings), None, run)
    finally:
        loop.Trainer.__init__, loop.Trainer._step = init, step  # type: ignore[method-assign]
        loop.to_device = inputs.to_device = shares.to_device = to_device
    return kept


def term(name: str, group: Group) -> dict[str, torch.Tensor]:
    """Value and gradients of one term of the objective; samples of one image and equal words stand in all processes."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(2, 11, 5, generator=generator, dtype=torch.float64)
    images, texts = torch.tensor([0, 1, 2, 3, 4, 5, 0, 1, 6, 7, 8]), torch.tensor([*range(9), 0, 3])
    parts = Part.of_each(11, group.size, None)
    counts, rows = [len(part.rows) for part in parts], parts[group.rank].rows
    prediction, target = (side[rows].requires_grad_() for side in vectors)
    objective = Objective(ObjectiveConfig(weights={name: 2.0}, label_smoothing=0.1)).double()
    everyone = None
    if group.size > 1:
        gathered = group.gather(prediction, counts), group.gather(target, counts)
        everyone = Everyone(*gathered, Labels(images, texts), group.size)
    torch.manual_seed(1)
    value = objective(prediction, target, Labels(images[rows], texts[rows]), everyone)
    value.total.backward()
    group.add_gradients(objective.parameters())
    temperature = objective.log_temperature.grad
    return {
        "value": torch.tensor(group.add([value.terms[name].item()])),
        "prediction": group.gather(prediction.grad, counts),
        "target": group.gather(target.grad, counts),
        "temperature": torch.zeros(()) if temperature is None else temperature,
    }


def main(folder: Path) -> None:
    """Everything that takes several processes, in one group of them; the last process does not survive it."""
    with joined() as group:

        def keep(name: str, tensors: dict[str, torch.Tensor]) -> None:
            contiguous = {key: tensor.contiguous() for key, tensor in tensors.items()}
            save_file(contiguous, folder / f"{name}.{group.rank}.safetensors")

        for name in TERMS:
            keep(name, term(name, group))
        for name in sorted(CASES.keys() - {"interrupted"}):
            with mock.patch.object(group_module, "BUCKET", 2_000):  # gradients go in several
                keep(name, train(name, folder / name))
        with contextlib.suppress(KeyboardInterrupt):
            train("interrupted", folder / "interrupted", stop_after=2)
        with mock.patch.dict(os.environ, SHARDED):
            keep("sharded", train("reference-contrastive", folder / "sharded"))
            with contextlib.suppress(KeyboardInterrupt):
                train("interrupted", folder / "interrupted", stop_after=2)
        if group.rank == group.size - 1:
            with mock.patch.object(loop.Trainer, "_step", dies):
                train("frozen", folder / "killed")
        train("frozen", folder / "killed")


def dies(*_: Any) -> None:
    """A process that is gone without a word, while the others wait for it within a step."""
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
