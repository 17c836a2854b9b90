"""The training loop: the same for every approach and for frozen and tuned backbones."""

import contextlib
import itertools
import math
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from pairjepa.config.settings import RunConfig, frozen_epochs, starts_as_pair
from pairjepa.metrics.baselines import chance
from pairjepa.metrics.retrieval import Relevance
from pairjepa.model.joint import JointModel
from pairjepa.model.weights import read_tensors, weights, write_tensors
from pairjepa.objectives import Labels, Objective
from pairjepa.run.folder import RunFolder
from pairjepa.training.checkpoint import load_checkpoint, save_checkpoint
from pairjepa.training.inputs import Pixels
from pairjepa.training.monitor import Split, Splits, line, measure_split, short_line
from pairjepa.training.plan import Plan, Samples
from pairjepa.training.processes import current, stop_between_steps
from pairjepa.training.step import Batch, TrainStep, data_parallel, keep_statistics, parameter_groups
from pairjepa.training.tracking import tracked
from pairjepa.training.watch import Watch
from pairjepa.util.errors import PairJEPAError, UsageError
from pairjepa.util.memory import keep_freed_memory, peak_rss
from pairjepa.util.progress import advise, say, update
from pairjepa.util.threads import ahead

PROBE_EVERY = 8  # epochs between two measurements of the train probe, which cost as much as dev


class Trainer:
    """Fits the heads, and the backbones that are tuned, on one split and chooses the epoch on another.

    Where several processes train together, each takes its part of every batch; the first one measures and writes.
    """

    def __init__(
        self,
        config: RunConfig,
        module: nn.ModuleDict,
        stages: Sequence[Splits],
        text_group: np.ndarray,
        run: RunFolder,
        device: torch.device,
        track: str | None = None,
        teacher: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        """Make ready.

        Args:
            config: of the run.
            module: `joint` (JointModel), `objective`, and the tuned ones of `image` and `text`.
            stages: what the training takes; where there are two, first while the heads learn alone.
            text_group: for each training caption a number that identical strings share.
            run: where metrics, weights and checkpoints go.
            device: where the module is.
            track: the tracker that gets the metrics, too.
            teacher: embeddings of the training images and captions by other runs.

        Raises:
            UsageError: there are too many processes for a batch.
        """
        self.config, self.module, self.run, self.device = config, module, run, device
        self.joint: JointModel = module["joint"]  # type: ignore[assignment]
        self.objective: Objective = module["objective"]  # type: ignore[assignment]
        self._track, self._stages, self._stage = track, stages, -1
        self._teacher = teacher
        self.group = current()
        module.train()
        keep_statistics(config.model, module)
        train, dev = stages[0].train, stages[0].dev
        self._local = TrainStep(module, train, config, self.group)
        self._enter(1)
        least = self.plan.images // self.plan.steps_per_epoch * self.plan.captions_per_image
        if least < 2 * self.group.size > 2:
            raise UsageError(
                f"training.batch_size must give each process two samples of every batch, got {least} for "
                f"{self.group.size} processes. Start fewer processes."
            )
        self._forward = data_parallel(self._local, device, self.group, stages=len(stages))
        self._text_group = torch.from_numpy(text_group)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(config, module), lr=config.training.learning_rate, fused=True
        )
        self._peaks = [group["lr"] for group in self.optimizer.param_groups]
        self._checkpoint = run.checkpoint_file
        self._best: dict[str, torch.Tensor] = {}  # weights of the best epoch, until they are written
        inputs = {"prediction": self.joint.image_standardizer, "target": self.joint.text_standardizer}
        self._watch = Watch(
            config,
            chance=chance(Relevance.by_owner(dev.owner, len(dev.images)))["rsum"],
            dev_images=len(dev.images),
            train_images=len(train.images),
            dim=self.joint.dim,
            constant=[side for side, standardizer in inputs.items() if standardizer.constant],
        )

    def fit(self) -> dict[str, Any] | None:
        """Train to the end, from the last checkpoint if there is one.

        Returns:
            The run's summary, in the first process; the others have none.

        Raises:
            KeyboardInterrupt: after a checkpoint was written.
        """
        position: dict[str, Any] = {"epoch": 1, "batch": 0, "sums": {}, "best": None, "seconds": 0.0}
        if self._checkpoint.is_file():
            position = load_checkpoint(self._checkpoint, self.module, self.optimizer)
            if position["best"] is not None:
                read_tensors(self.run.model_file)  # sound, or it says what to do
            say(f"Going on at epoch {position['epoch']}, step {position['batch'] + 1}.")
        elif self.run.has_epochs:
            say(f"{self.run.path} has no checkpoint to go on from: it is trained anew.")
        first = self.group.first
        history = self.run.keep_metrics(position["epoch"] - 1) if first else []
        told: set[str] = set()
        keep_freed_memory()
        with (
            torch.random.fork_rng([torch.cuda.current_device()] if self.device.type == "cuda" else []),
            stop_between_steps(together=self.group.size > 1) as stop,
            tracked(self._track if first else None, self.run, history) as send,
            contextlib.ExitStack() as at_the_end,
        ):
            at_the_end.callback(self._write_best)  # whatever ends the training
            self._saved = time.monotonic()
            if starts_as_pair(self.config.model) and position["best"] is None and first:
                self._measure_start(position)
            self.group.wait_for_all()
            for epoch in range(position["epoch"], self.config.training.epochs + 1):
                position["epoch"] = epoch
                self._enter(epoch)
                images_per_second = self._steps(epoch, position, stop)
                if first:
                    history.append(self._measured_epoch(epoch, position, images_per_second))
                    dev = history[-1]["dev"]["rsum"]
                    better = position["best"] is None or dev > position["best"]["rsum"]
                    if better:
                        position["best"] = {"epoch": epoch, "rsum": dev}
                        self._best = weights(self.module)
                    self.run.append_metrics(history[-1])
                    send(history[-1])
                    best, epochs = position["best"], self.config.training.epochs
                    update(short_line(history[-1], epochs, best), line(history[-1], epochs, better))
                    for kind, sentence in self._watch.warnings(history).items():
                        if kind not in told:
                            told.add(kind)
                            advise(sentence)
                position |= {"epoch": epoch + 1, "batch": 0, "sums": {}}
                self._save(position, stop)
        if not first:
            return None
        return {
            "best_epoch": position["best"]["epoch"],
            "dev_rsum": position["best"]["rsum"],
            "pretrained_dev_rsum": position.get("pretrained"),
            "warnings": list(self._watch.warnings(history).values()),
            "cost": {
                "training_seconds": position["seconds"],
                "trained_parameters": sum(p.numel() for p in self.module.parameters() if p.requires_grad),
                "peak_rss_bytes": peak_rss(),
            },
        }

    def _enter(self, epoch: int) -> None:
        """Take the inputs of an epoch: features while the heads learn alone, then what tuned backbones take."""
        training, alone = self.config.training, frozen_epochs(self.config)
        stage = int(epoch > alone > 0)  # without a first stage, that one is all
        if stage == self._stage:
            return
        self._stage, splits = stage, self._stages[stage]
        self.train_split, self.train_probe, self.dev = splits.train, splits.train_probe, splits.dev
        train, masked = splits.train, splits.train.masked
        self.plan = Plan(
            train.owner,
            train.images.views,
            training,
            masked.views if masked is not None else 1,
            shards=train.images.shards if isinstance(train.images, Pixels) else None,
            weights=train.weights,
            span=(alone, training.epochs) if stage or not alone else (0, alone),
        )
        self._local.split = train

    def _measure_start(self, position: dict[str, Any]) -> None:
        """Epoch 0 is the pretrained pair itself, or the run that the training starts from: it may stay the best."""
        dev, start = self._measured(self.dev)["rsum"], self.config.training.start
        position["best"], self._best = {"epoch": 0, "rsum": dev}, weights(self.module)
        what = "the pretrained pair as it is" if self.config.context.image else "the pair's text tower alone"
        if start is None:
            position["pretrained"] = dev
        else:
            what = f"the weights of {start}"
        say(f"epoch 0, {what}: dev rsum {dev:.1f}")

    def _steps(self, epoch: int, position: dict[str, Any], stop: threading.Event) -> float:
        """The steps of an epoch that are still to do; images a second."""
        begun, before, images = time.monotonic(), position["seconds"], 0
        with contextlib.closing(self._read(epoch, position["batch"])) as batches:
            for number, (step, batch) in enumerate(batches, position["batch"] + 1):
                for name, value in self._step(batch, step).items():
                    position["sums"][name] = position["sums"].get(name, 0.0) + value
                position["batch"] = number
                images += len(batch.labels.image.unique())
                position["seconds"] = before + time.monotonic() - begun
                if number < self.plan.steps_per_epoch:
                    self._save(position, stop)
        return images / max(time.monotonic() - begun, 1e-9)

    def _measured_epoch(
        self, epoch: int, position: dict[str, Any], images_per_second: float
    ) -> dict[str, Any]:
        """A line of `metrics.jsonl`."""
        begun = time.monotonic()
        means = {name: value / self.plan.steps_per_epoch for name, value in position["sums"].items()}
        dev = self._measured(self.dev)
        due = epoch % PROBE_EVERY == 0 or epoch == self.config.training.epochs
        probe = self._measured(self.train_probe) if due else None
        position["seconds"] += time.monotonic() - begun
        return {
            "epoch": epoch,
            "step": epoch * self.plan.steps_per_epoch,
            "loss": means.pop("loss"),
            "terms": means,
            "temperature": float(self.objective.temperature.detach()),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "dev": dev,
            "train": probe,
            "possible_rank": {
                "prediction": min(self.joint.dim, len(self.dev.images) - 1),
                "target": min(self.joint.dim, len(self.dev.owner) - 1),
            },
            "images_per_second": images_per_second,
            "seconds": position["seconds"],
        }

    def _read(self, epoch: int, first: int) -> Generator[tuple[int, Batch], None, None]:
        """Steps of an epoch from its batch `first` on; images are decoded during the step before."""

        def read(batch: tuple[int, Samples]) -> tuple[int, Batch]:
            step = (epoch - 1) * self.plan.steps_per_epoch + batch[0]
            return step, self._inputs(batch[1], step)

        batches = itertools.islice(enumerate(self.plan.epoch(epoch)), first, None)
        if isinstance(self.train_split.images, Pixels):
            yield from ahead(read, batches, 2, threads=1)
        else:
            yield from map(read, batches)

    def _inputs(self, samples: Samples, step: int) -> Batch:
        """This process's part of a batch."""
        local, split = samples.rows(self.group.local_rows(len(samples.images))), self.train_split
        images = split.images.batch(local.images, local.views)
        texts = split.texts.batch(local.captions, np.zeros_like(local.captions))
        masked = None if split.masked is None else split.masked.batch(local.captions, local.masks)
        labels = Labels(
            torch.from_numpy(samples.images), self._text_group[torch.from_numpy(samples.captions)]
        )
        batch = Batch(images, texts, masked, labels, self.plan.step_seed(step))
        if split.twins is not None:
            rows, there = split.twins.draw(samples.captions, batch.seed)
            rows = rows[self.group.local_rows(len(rows))]
            twins = split.twins.texts.batch(rows, np.zeros_like(rows))
            batch = replace(batch, twins=twins, has_twin=torch.from_numpy(there))
        if self._teacher is not None:
            sides = (self._teacher[0][samples.images], self._teacher[1][samples.captions])
            batch = replace(batch, teacher=tuple(torch.from_numpy(side).float() for side in sides))
        return batch

    def _step(self, batch: Batch, step: int) -> dict[str, float]:
        for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * self.plan.lr_multiplier(step)
        self.module.train()
        keep_statistics(self.config.model, self.module)
        total, terms = self._forward(batch.to(self.device))
        numbers = {"loss": total.item()} | {name: term.item() for name, term in terms.items()}
        if not math.isfinite(loss := numbers["loss"]):
            raise PairJEPAError(
                f"The loss must stay finite, got {loss} at step {step + 1} (learning rate "
                f"{self.optimizer.param_groups[0]['lr']:.2g}). Lower training.learning_rate, and give the new settings "
                "another --run folder."
            )
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        self.objective.clamp_()
        self.joint.update_ema_target()
        return numbers

    def _measured(self, split: Split) -> dict[str, Any]:
        self.module.eval()
        return measure_split(self.joint, split, self.device, images=self.config.context.image)

    def dev_rsum(self) -> float:
        """Of the module as it is."""
        return float(self._measured(self.dev)["rsum"])

    def _save(self, position: dict[str, Any], stop: threading.Event) -> None:
        late = time.monotonic() - self._saved > self.config.training.checkpoint_seconds
        due, stopped = self.group.any(late or position["epoch"] > self.config.training.epochs, stop.is_set())
        if due or stopped:
            self._write_best()  # before the checkpoint, which names their epoch
            if self.group.first:
                save_checkpoint(self._checkpoint, self.module, self.optimizer, position)
            self._saved = time.monotonic()
        if stopped:
            self.group.wait_for_all()  # a launcher ends the others as soon as one has ended
            raise KeyboardInterrupt

    def _write_best(self) -> None:
        """With each checkpoint, and not with each better epoch: one on features that are there takes a second."""
        if self._best:
            write_tensors(self._best, self.run.model_file)
            self._best = {}
