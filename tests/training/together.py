"""What `test_processes.py` computes twice: alone, and as one of several processes, for which this is a script."""

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
from torch.nn.modules.batchnorm import _BatchNorm

import pairjepa
from pairjepa.config.recipes import recipe
from pairjepa.config.settings import ObjectiveConfig
from pairjepa.objectives import TERMS, Labels, Objective
from pairjepa.training import inputs, loop
from pairjepa.training import step as steps
from pairjepa.training.processes import Group, current, joined

SMALL = {
    "data.source": "shapes:60",
    "model.image": "tiny-resnet",
    "model.text": "tiny-bert",
    "model.dim": 16,
    "training.epochs": 1,
    "training.batch_size": 25,
    "training.learning_rate": 1e-4,
}
TRANSFORMER = {
    "model.image_grid": 2,
    "model.image_projection.kind": "identity",
    "model.predictor.kind": "transformer",
    "model.predictor.hidden_dim": 64,
    "model.predictor.dropout": 0.0,
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "frozen": (
        "contrastive",
        {
            "objective.weights": {name: 0.5 for name in TERMS if name != "distillation"},
            "model.auxiliary": "features",
            "training.captions_per_image": 2,
        },
    ),
    "stop gradient": ("contrastive", {"objective.stop_gradient": True}),
    "masked": ("masked", TRANSFORMER),
    "tuned": ("tiny-masked", {}),
    "in chunks": ("tiny-masked", {"training.micro_batch": 5}),
    "upper layers": (
        "contrastive",
        {
            "model.text_lr_scale": 0.5,
            "model.text_frozen_layers": 1,
            "training.epochs": 2,
            "training.tuned_epochs": 1,
        },
    ),
    "lora": ("contrastive", {"model.text_lora": 2, "training.micro_batch": 5, "training.tuned_epochs": 1}),
    "interrupted": (
        "tiny",
        {"training.epochs": 2, "training.batch_size": 15, "training.learning_rate": 1e-3},
    ),
}
STEPS = {
    2: ["upper layers", "lora", "frozen", "stop gradient", "masked", "tuned", "in chunks"],
    3: ["frozen", "in chunks"],
}
"""Processes → the cases whose steps are compared."""


def without_draws(module: nn.Module) -> None:
    """No dropout, and BatchNorm by its running statistics: what depends on which samples are together."""
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
        if isinstance(part, _BatchNorm):
            part.eval()
            part.train = lambda mode=True, part=part: part  # type: ignore[method-assign,misc]


def train(name: str, run: Path, stop_after: int | None = None) -> dict[str, torch.Tensor]:
    """Train a case and give the numbers, gradients and weights of its steps.

    Args:
        name: in `CASES`.
        run: the run folder.
        stop_after: the last process gets Ctrl-C after this many steps.
    """
    kept: dict[str, torch.Tensor] = {}
    init, step, to_device = loop.Trainer.__init__, loop.Trainer._step, steps.to_device

    def watched(trainer: Any, config: Any, module: nn.Module, **options: Any) -> None:
        for split in (one for stage in options["stages"] for one in vars(stage).values()):
            if split.masked is not None and split.masked.backbone is not None:
                split.masked.backbone.double()
        without_draws(module)
        init(trainer, config, module.double(), **options)

        def before(*_: Any) -> None:
            for parameter, value in module.named_parameters():
                if value.grad is not None:
                    kept[f"{trainer.number}/gradient/{parameter}"] = value.grad.clone()

        trainer.number = 0
        trainer.optimizer.register_step_pre_hook(before)

    def counted(trainer: Any, *arguments: Any) -> dict[str, float]:
        numbers = step(trainer, *arguments)
        for term, number in numbers.items():
            kept[f"{trainer.number}/value/{term}"] = torch.tensor(number)
        for weight, value in trainer.module.state_dict().items():
            kept[f"{trainer.number}/weight/{weight}"] = value.clone()
        trainer.number += 1
        if trainer.number == stop_after and current().rank == current().size - 1:
            os.kill(os.getpid(), signal.SIGINT)
        return numbers

    def double(batch: tuple[torch.Tensor, ...], device: torch.device) -> tuple[torch.Tensor, ...]:
        return tuple(t.double() if t.is_floating_point() else t for t in batch)

    base, settings = CASES[name]
    loop.Trainer.__init__, loop.Trainer._step = watched, counted  # type: ignore[method-assign]
    steps.to_device = inputs.to_device = double  # float64 tells wiring from rounding
    try:
        pairjepa.train(recipe(base, SMALL | settings), None, run)
    finally:
        loop.Trainer.__init__, loop.Trainer._step = init, step  # type: ignore[method-assign]
        steps.to_device = inputs.to_device = to_device
    return kept


def term(name: str, group: Group) -> dict[str, torch.Tensor]:
    """Value and gradients of one term; samples of one image and equal words stand in all processes."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(4, 11, 5, generator=generator, dtype=torch.float64)
    teacher = torch.randn(2, 11, 6, generator=generator, dtype=torch.float64)  # whole in each process
    labels = Labels(torch.tensor([0, 1, 2, 3, 4, 5, 0, 1, 6, 7, 8]), torch.tensor([*range(9), 0, 3]))
    sides = local = [side[group.local_rows(11)].requires_grad_() for side in vectors]
    if group.size > 1:
        sides = [group.gather(side, 11) for side in local]
    objective = Objective(ObjectiveConfig(weights={name: 2.0}, label_smoothing=0.1)).double()
    torch.manual_seed(1)
    value = objective(*sides[:2], labels, tuple(sides[2:]), (sides[3], labels.text < 7), tuple(teacher))
    value.total.backward()
    gradients = [torch.zeros_like(side) if side.grad is None else side.grad for side in local]
    temperature = objective.log_temperature.grad
    return {
        "value": value.total.detach(),
        # DistributedDataParallel will divide by the processes
        **{f"gradient/{side}": gradient / group.size for side, gradient in enumerate(gradients)},
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
        for name in STEPS[group.size]:
            keep(name, train(name, folder / name))
        if group.size == 2:
            with contextlib.suppress(KeyboardInterrupt):
                train("interrupted", folder / "interrupted", stop_after=2)
        if group.rank == group.size - 1:
            with mock.patch.object(loop.Trainer, "_step", fails if group.size == 3 else dies):
                train("frozen", folder / "killed")
        train("frozen", folder / "killed")


def dies(*_: Any) -> None:
    """A process that is gone without a word, while the others wait for it within a step."""
    os.kill(os.getpid(), signal.SIGKILL)


def fails(*_: Any) -> None:
    """A process that ends by an error of its own."""
    raise ValueError("out of luck")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
