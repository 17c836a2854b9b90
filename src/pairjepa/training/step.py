"""The forward pass of a training step, from a batch to the loss, in the form that DistributedDataParallel wraps.

Axes: `local_batch` = samples of this process, `global_batch` = those of all, which alone are the same.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from pairjepa.backbones.device import to_device
from pairjepa.backbones.layers import upper_layers
from pairjepa.config.settings import ModelConfig, RunConfig, pretrained
from pairjepa.objectives import Labels
from pairjepa.training.monitor import Split
from pairjepa.training.processes import Group
from pairjepa.util.progress import say

SLOW = 0.1  # of the learning rate, for a slow target; 0.05 to 0.1 in VL-JEPA (Chen et al. 2025)


@dataclass(frozen=True)
class Batch:
    """A process's part of a batch, as `Inputs.batch` gives it, and what is known of the whole one."""

    images: tuple[Tensor, ...]
    """What the images' backbone takes, or features."""
    texts: tuple[Tensor, ...]
    """The same of the captions."""
    masked: tuple[Tensor, ...] | None
    """The same of the partly masked captions; None hides all of them whole."""
    labels: Labels
    """Of the global batch."""
    seed: int
    """Of this step's dropout."""
    twins: tuple[Tensor, ...] | None = None
    """The same of a twin of each caption."""
    has_twin: Bool[Tensor, " global_batch"] | None = None
    """Which captions of the global batch have one."""
    teacher: tuple[Tensor, ...] | None = None
    """Embeddings of the global batch by other runs, for queries by the image alone."""

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device."""
        there: dict[str, Any] = {
            name: to_device(of, device) for name, of in vars(self).items() if isinstance(of, tuple)
        }
        has_twin = None if self.has_twin is None else self.has_twin.to(device)
        return replace(self, **there, labels=self.labels.to(device), has_twin=has_twin)


class TrainStep(nn.Module):
    """Backbones and heads on the local batch, the objective on the global one."""

    def __init__(self, module: nn.ModuleDict, split: Split, config: RunConfig, group: Group) -> None:
        """Make ready.

        Args:
            module: `joint`, `objective`, and the tuned ones of `image` and `text`.
            split: what is trained on; it names the backbones that its inputs still have to go through.
            config: of the run.
            group: the processes.
        """
        super().__init__()
        self.module, self.micro_batch = module, config.training.micro_batch
        self.split, self._group = split, group
        alone = config.context.full_mask_prob if config.context.image else 0.0
        self._shares = ((alone, False), (1 - alone, True))

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the global batch, and its terms.

        With masked captions each sample is asked twice, by its image alone and by image and words, each among queries
        of its own kind; the loss is the weighted mean of both. Words ask for their own caption: another caption of the
        image is wrong there.
        """
        joint: Any = self.module["joint"]
        split, size, labels = self.split, self.micro_batch, batch.labels
        local_seed = batch.seed + self._group.rank
        torch.manual_seed(local_seed)
        with autocast(batch.texts[0].device):
            image = features(split.images.backbone, batch.images, size)
            text = features(split.texts.backbone, batch.texts, size)
            asked: list[tuple[float, Tensor | None]] = [(1.0, None)]
            if split.masked is not None and batch.masked is not None:
                caption = features(split.masked.backbone, batch.masked, size)
                asked = [(share, caption if words else None) for share, words in self._shares if share]
            torch.manual_seed(local_seed)
            predictions = [joint.predict(image, words) for _, words in asked]
            target = joint.target(text)
            beside = [joint.auxiliary(image, text, prediction, target) for prediction in predictions]
            twin = None
            if split.twins is not None and batch.twins is not None:
                wrong = joint.target(features(split.twins.texts.backbone, batch.twins, size))
                twin = self._gathered(wrong, labels), batch.has_twin
        if self._group.size > 1:
            torch.manual_seed(batch.seed)  # what an objective draws is the same in all processes
        target, total, terms = self._gathered(target, labels), target.new_zeros(()), dict[str, Tensor]()
        for (share, words), prediction, auxiliary in zip(asked, predictions, beside, strict=True):
            value = self.module["objective"](
                self._gathered(prediction, labels),
                target,
                labels if words is None else Labels(labels.text, labels.text),
                tuple(self._gathered(side, labels) for side in auxiliary),
                twin,
                batch.teacher if words is None else None,
            )
            total = total + share * value.total
            for name, term in value.terms.items():
                terms[name] = terms.get(name, 0.0) + share * term
        return total, terms

    def _gathered(self, side: Tensor, labels: Labels) -> Tensor:
        """In float32, of all processes."""
        return self._group.gather(side.float(), len(labels)) if self._group.size > 1 else side.float()


def data_parallel(step: TrainStep, device: torch.device, group: Group, *, stages: int = 1) -> nn.Module:
    """The step itself where there is one process; else with gradients averaged over all of them.

    Where there are several stages, other parameters get a gradient in each.

    BatchNorm sees the samples of all processes on GPUs. With cached gradients it sees each chunk, as in one process.
    """
    if group.size == 1:
        return step
    norms = {part: [m for m in part.modules() if isinstance(m, _BatchNorm)] for part in step.module.values()}
    normed = [part for part, those in norms.items() if any(norm.training for norm in those)]
    if normed and device.type == "cpu":
        say("BatchNorm takes the statistics of each process's own samples: SyncBatchNorm needs GPUs.")
    elif normed:
        for name, part in step.module.items():
            if name == "joint" or step.micro_batch is None:
                nn.SyncBatchNorm.convert_sync_batchnorm(part)  # in place, as `part` itself is no BatchNorm
    # static: some parameters get no gradient, and they are the same ones in all steps
    return DistributedDataParallel(step, static_graph=stages == 1, find_unused_parameters=stages > 1)


def autocast(device: torch.device) -> Any:
    """bfloat16 where a GPU computes."""
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else contextlib.nullcontext()


def features(backbone: nn.Module | None, batch: tuple[Tensor, ...], micro_batch: int | None) -> Tensor:
    """Features of a batch, in chunks that bound the memory of a backbone that learns.

    Nothing but the features of a chunk is kept: the backward pass forwards it again, so the loss and the heads see the
    whole batch. Source: Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup".

    Args:
        backbone: None if `batch` holds features already.
        batch: the backbone's arguments, samples first.
        micro_batch: samples in a chunk; None forwards all at once.
    """
    if backbone is None:
        return batch[0]
    learns = any(parameter.requires_grad for parameter in backbone.parameters())
    if micro_batch is None or micro_batch >= len(batch[0]) or not learns:
        return backbone(*batch)

    def both_passes() -> tuple[Any, Any]:
        return contextlib.nullcontext(), _still_statistics(backbone)

    chunks = zip(*(tensor.split(micro_batch) for tensor in batch), strict=True)
    return torch.cat(
        [checkpoint(backbone, *chunk, use_reentrant=False, context_fn=both_passes) for chunk in chunks]
    )


@contextlib.contextmanager
def _still_statistics(module: nn.Module) -> Iterator[None]:
    """BatchNorm's running statistics must not count the same samples twice."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def keep_statistics(model: ModelConfig, module: nn.ModuleDict) -> None:
    """Put frozen layers, and BatchNorm of tuned pretrained backbones, into evaluation mode: its statistics are learned.

    A few hundred pairs are too few for new ones, and some families forget the old ones in a step (momentum 0.99).
    """
    for side in ("image", "text"):
        if side in module and pretrained(model, side):
            for part in module[side].modules():
                if isinstance(part, _BatchNorm):
                    part.eval()
    if model.text_frozen_layers is not None:  # no dropout in the frozen ones
        text: Any = module["text"]
        learns = text.training
        text.eval()
        upper_layers(text, model.text_frozen_layers).train(learns)


def parameter_groups(config: RunConfig, module: nn.ModuleDict) -> list[dict[str, Any]]:
    """Parameter groups: weight matrices decay, vectors and scalars do not; backbones have their own learning rate."""
    peak = config.training.learning_rate
    slow = SLOW if config.context.target == "slow" else 1.0
    joint = module["joint"]
    target = {id(p) for p in joint.text_projection.parameters()}  # type: ignore[union-attr]
    parts = [
        (peak, [p for p in joint.parameters() if id(p) not in target]),
        (peak * slow, [p for p in joint.parameters() if id(p) in target]),
        (peak, list(module["objective"].parameters())),
    ]
    for side, factor in (("image", config.model.image_lr_scale), ("text", config.model.text_lr_scale)):
        if side in module:
            parts.append((peak * (factor or 1.0), list(module[side].parameters())))
    groups = []
    for learning_rate, parameters in parts:
        learning = [p for p in parameters if p.requires_grad]
        for decay, chosen in (
            (config.training.weight_decay, [p for p in learning if p.ndim > 1]),
            (0.0, [p for p in learning if p.ndim <= 1]),
        ):
            if chosen:
                groups.append({"params": chosen, "lr": learning_rate, "weight_decay": decay})
    return groups
