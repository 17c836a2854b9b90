"""The training loop: the same for every approach and for frozen and tuned backbones."""

import math
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn

from pairjepa.config import RunConfig
from pairjepa.errors import PairJEPAError
from pairjepa.evaluation.baselines import chance
from pairjepa.evaluation.retrieval import Relevance
from pairjepa.features.allocator import keep_freed_memory
from pairjepa.model.joint import JointModel
from pairjepa.objectives import Objective
from pairjepa.objectives.info_nce import positives_of
from pairjepa.progress import say
from pairjepa.run_folder import RunFolder
from pairjepa.training.checkpoint import load_checkpoint, save_checkpoint, save_weights
from pairjepa.training.gradients import features_with_gradient
from pairjepa.training.inputs import to_device
from pairjepa.training.monitor import Split, embed_images, embed_partial, embed_texts, line, measure
from pairjepa.training.plan import Plan, Samples
from pairjepa.training.tracking import tracked
from pairjepa.training.watch import warnings

SEEN_EVERY = 5  # epochs between two looks at training images, which cost as much as dev
SLOW = 0.1  # of the learning rate, for a slow target; 0.05 to 0.1 in VL-JEPA (Chen et al. 2025)


class Trainer:
    """Fits the heads, and the backbones that are tuned, on one split and chooses the epoch on another."""

    def __init__(
        self,
        config: RunConfig,
        module: nn.ModuleDict,
        train: Split,
        seen: Split,
        dev: Split,
        text_group: np.ndarray,
        run: RunFolder,
        device: torch.device,
        track: str | None = None,
    ) -> None:
        """Make ready.

        Args:
            config: of the run.
            module: `joint` (JointModel), `objective`, and the tuned ones of `image` and `text`.
            train: what is learned from.
            seen: some of the training images, measured beside `dev`: the gap is what is learned by heart.
            dev: what the epoch is chosen by.
            text_group: for each training caption a number that identical strings share.
            run: where metrics, weights and checkpoints go.
            device: where the module is.
            track: the tracker that gets the metrics, too.
        """
        self.config, self.module, self.run, self.device = config, module, run, device
        self._track = track
        self.train_split, self.seen, self.dev = train, seen, dev
        self._group = torch.from_numpy(text_group).to(device)
        masked, hidden = train.masked, config.context.hidden if config.context.image else 0.0
        self.plan = Plan(
            train.owner,
            train.images.views,
            config.training,
            masked.views if masked is not None else 1,
            hidden if masked is not None else 1.0,
        )
        self.optimizer = torch.optim.AdamW(
            _groups(config, module), lr=config.training.learning_rate, fused=True
        )
        self._peaks = [group["lr"] for group in self.optimizer.param_groups]
        self._checkpoint = run.checkpoint_file
        self._chance = chance(Relevance.by_owner(dev.owner, len(dev.images)))["rsum"]

    @property
    def joint(self) -> JointModel:
        """The heads."""
        joint = self.module["joint"]
        assert isinstance(joint, JointModel)
        return joint

    @property
    def objective(self) -> Objective:
        """What is minimised."""
        objective = self.module["objective"]
        assert isinstance(objective, Objective)
        return objective

    def fit(self) -> dict[str, Any]:
        """Train to the end, from the last checkpoint if there is one, and return the run's summary.

        Raises:
            KeyboardInterrupt: after a checkpoint was written.
        """
        position: dict[str, Any] = {"epoch": 1, "batch": 0, "sums": {}, "best": None, "seconds": 0.0}
        if self._checkpoint.is_file():
            position = load_checkpoint(self._checkpoint, self.module, self.optimizer)
            say(f"Going on at epoch {position['epoch']}, step {position['batch'] + 1}.")
        history = self.run.keep_metrics(position["epoch"] - 1)
        told: set[str] = set()
        keep_freed_memory()
        with (
            torch.random.fork_rng(),
            _stop_between_steps() as stop,
            tracked(self._track, self.run, history) as send,
        ):
            self._saved = time.monotonic()
            for epoch in range(position["epoch"], self.config.training.epochs + 1):
                position["epoch"] = epoch
                history.append(self._epoch(epoch, position, stop))
                dev = history[-1]["dev"]["rsum"]
                better = position["best"] is None or dev > position["best"]["rsum"]
                if better:
                    position["best"] = {"epoch": epoch, "rsum": dev}
                    save_weights(self.module, self.run.model_file)
                self.run.append_metrics(history[-1])
                send(history[-1])
                say(line(history[-1], self.config.training.epochs, better))
                for kind, sentence in warnings(history, self._chance).items():
                    if kind not in told:
                        told.add(kind)
                        say(f"warning: {sentence}")
                position |= {"epoch": epoch + 1, "batch": 0, "sums": {}}
                self._save(position, stop)
        return {
            "best_epoch": position["best"]["epoch"],
            "dev_rsum": position["best"]["rsum"],
            "warnings": list(warnings(history, self._chance).values()),
            "cost": {
                "training_seconds": position["seconds"],
                "trained_parameters": sum(p.numel() for p in self.module.parameters() if p.requires_grad),
                "peak_rss_bytes": _peak_rss(),
            },
        }

    def _epoch(self, epoch: int, position: dict[str, Any], stop: threading.Event) -> dict[str, Any]:
        begun, before, images = time.monotonic(), position["seconds"], 0
        for batch, samples in enumerate(self.plan.epoch(epoch)):
            if batch < position["batch"]:
                continue
            step = (epoch - 1) * self.plan.steps_per_epoch + batch
            for name, value in self._step(samples, step).items():
                position["sums"][name] = position["sums"].get(name, 0.0) + value
            position["batch"] = batch + 1
            images += len(np.unique(samples.images))
            position["seconds"] = before + time.monotonic() - begun
            if batch + 1 < self.plan.steps_per_epoch:
                self._save(position, stop)
        means = {name: value / self.plan.steps_per_epoch for name, value in position["sums"].items()}
        rate = images / max(time.monotonic() - begun, 1e-9)
        dev = self._measured(self.dev)
        due = epoch % SEEN_EVERY == 0 or epoch == self.config.training.epochs
        seen = self._measured(self.seen) if due else None
        position["seconds"] = before + time.monotonic() - begun
        directions = (
            min(self.joint.dim, len(self.dev.images) - 1),
            min(self.joint.dim, len(self.dev.owner) - 1),
        )
        return {
            "epoch": epoch,
            "step": epoch * self.plan.steps_per_epoch,
            "loss": means.pop("loss"),
            "terms": means,
            "temperature": float(self.objective.temperature.detach()),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "dev": dev,
            "train": seen,
            "possible_rank": dict(zip(("prediction", "target"), directions, strict=True)),
            "images_per_second": rate,
            "seconds": position["seconds"],
        }

    def _step(self, samples: Samples, step: int) -> dict[str, float]:
        settings = self.config.training
        seed = self.plan.step_seed(step)
        for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * self.plan.rate(step)
        images, texts = self.train_split.images, self.train_split.texts
        pixels = to_device(images.batch(samples.images, samples.views), self.device)
        tokens = to_device(texts.batch(samples.captions, np.zeros_like(samples.captions)), self.device)
        masked = self.train_split.masked
        shown = (
            to_device(masked.batch(samples.captions, samples.masks), self.device)
            if masked is not None
            else ()
        )
        owner = torch.from_numpy(samples.images).to(self.device)
        self.module.train()
        torch.manual_seed(seed)
        with self._autocast():
            image, image_back = features_with_gradient(
                images.backbone, pixels, settings.micro_batch, seed + 1
            )
            text, text_back = features_with_gradient(texts.backbone, tokens, settings.micro_batch, seed + 2)
            caption, caption_back = None, _nothing
            if masked is not None:
                caption, caption_back = features_with_gradient(
                    masked.backbone, shown, settings.micro_batch, seed + 3
                )
            torch.manual_seed(seed)
            hidden = torch.from_numpy(samples.hidden).to(self.device)
            prediction, target = self.joint.predict(image, caption, hidden), self.joint.target(text)
        group_of = self._group[torch.from_numpy(samples.captions).to(self.device)]
        value = self.objective(prediction.float(), target.float(), positives_of(owner, group_of))
        if not math.isfinite(loss := value.total.item()):
            raise PairJEPAError(
                f"The loss must stay finite, got {loss} at step {step + 1} (learning rate "
                f"{self.optimizer.param_groups[0]['lr']:.2g}). Lower training.learning_rate, and give the new settings "
                "another --run folder."
            )
        self.optimizer.zero_grad()
        value.total.backward()
        with self._autocast():
            image_back()
            text_back()
            caption_back()
        self.optimizer.step()
        self.objective.clamp_()
        self.joint.follow()
        return {"loss": loss, **{name: term.item() for name, term in value.terms.items()}}

    def _measured(self, split: Split) -> dict[str, Any]:
        self.module.eval()
        text = embed_texts(self.joint, split.texts, self.device)
        if self.config.context.image:
            return measure(embed_images(self.joint, split.images, self.device), text, split.owner)
        # the text-only control: masked caption → its whole caption, in the places of image → caption
        assert split.masked is not None
        return measure(
            embed_partial(self.joint, split.images, split.masked, split.owner, self.device),
            text,
            np.arange(len(split.owner)),
        )

    def _autocast(self) -> Any:
        return torch.autocast("cuda", torch.bfloat16) if self.device.type == "cuda" else nullcontext()

    def _save(self, position: dict[str, Any], stop: threading.Event) -> None:
        due = time.monotonic() - self._saved > self.config.training.checkpoint_seconds
        if due or stop.is_set() or position["epoch"] > self.config.training.epochs:
            save_checkpoint(self._checkpoint, self.module, self.optimizer, position)
            self._saved = time.monotonic()
        if stop.is_set():
            raise KeyboardInterrupt


def _nothing() -> None:
    """What is left to do for features that need no gradient."""


def _groups(config: RunConfig, module: nn.ModuleDict) -> list[dict[str, Any]]:
    """Parameter groups: weight matrices decay, vectors and scalars do not; backbones have their own rate."""
    peak = config.training.learning_rate
    slow = SLOW if config.context.target == "slow" else 1.0
    joint = module["joint"]
    target = {id(p) for p in joint.text_projection.parameters()}  # type: ignore[union-attr]
    parts = [
        (peak, [p for p in joint.parameters() if id(p) not in target]),
        (peak * slow, [p for p in joint.parameters() if id(p) in target]),
        (peak, list(module["objective"].parameters())),
    ]
    for side, factor in (("image", config.model.image_tune), ("text", config.model.text_tune)):
        if factor is not None:
            parts.append((peak * factor, list(module[side].parameters())))
    groups = []
    for rate, parameters in parts:
        learning = [p for p in parameters if p.requires_grad]
        for decay, chosen in (
            (config.training.weight_decay, [p for p in learning if p.ndim > 1]),
            (0.0, [p for p in learning if p.ndim <= 1]),
        ):
            if chosen:
                groups.append({"params": chosen, "lr": rate, "weight_decay": decay})
    return groups


@contextmanager
def _stop_between_steps() -> Iterator[threading.Event]:
    """Ctrl-C sets the event, so that a step is never cut in two; a second one stops at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(signum: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        say("Stopping after this step …")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _peak_rss() -> int:
    """Peak resident set size in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
