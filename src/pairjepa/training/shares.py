"""What each process takes of a step's batch, and what it knows of the other processes' samples."""

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pairjepa.backbones.text import TextBackbone
from pairjepa.config.settings import TrainingConfig
from pairjepa.objectives import Everyone, Labels
from pairjepa.training.distributed import Group, Part
from pairjepa.training.inputs import Inputs, to_device
from pairjepa.training.plan import Plan, Samples
from pairjepa.util.errors import UsageError


@dataclass(frozen=True)
class Share:
    """The samples of one process; alone, all of them."""

    samples: Samples
    labels: Labels
    part: Part | None = None
    """Their rows of the batch; None where there are no other processes."""
    counts: tuple[int, ...] = ()
    """Samples of each process."""
    every_label: Labels | None = None
    """Labels of all processes' samples, one process after the other."""


class Shares:
    """Divides batches among the processes of a group."""

    def __init__(
        self, group: Group, plan: Plan, config: TrainingConfig, text_group: np.ndarray, device: torch.device
    ) -> None:
        """Make ready.

        Args:
            group: the processes.
            plan: of the batches.
            config: of the training.
            text_group: for each training caption a number that identical strings share.
            device: where the module is.

        Raises:
            UsageError: a process would have no sample of a batch.
        """
        self.group, self._micro_batch, self._device = group, config.micro_batch, device
        self._text_group = torch.from_numpy(text_group).to(device)
        least = plan.images // plan.steps_per_epoch * config.captions_per_image
        for name, samples in (("batch_size", least), ("micro_batch", config.micro_batch)):
            if samples is not None and samples < group.size:
                raise UsageError(
                    f"training.{name} must give each process a sample of every batch, "
                    f"got {samples} for {group.size} processes. Start fewer processes."
                )

    def of(self, batch: Samples) -> Share:
        """This process's share of a batch."""
        if self.group.size == 1:
            return Share(batch, self._labels(batch))
        parts = Part.of_each(len(batch.images), self.group.size, self._micro_batch)
        part = parts[self.group.rank]
        samples = _rows(batch, part.rows)
        every = self._labels(_rows(batch, np.concatenate([part.rows for part in parts])))
        return Share(samples, self._labels(samples), part, tuple(len(part.rows) for part in parts), every)

    def everyone(self, share: Share, prediction: Tensor, target: Tensor) -> Everyone | None:
        """The vectors of all processes' samples, where there are others."""
        if share.every_label is None:
            return None
        every_prediction = self.group.gather(prediction, share.counts)
        every_target = self.group.gather(target, share.counts)
        return Everyone(every_prediction, every_target, share.every_label, self.group.size)

    def captions(self, inputs: Inputs, rows: np.ndarray, views: np.ndarray) -> tuple[Tensor, ...]:
        """Captions of a share; as many tokens as in the longest one of all processes, as dropout depends on that."""
        batch = to_device(inputs.batch(rows, views), self._device)
        if self.group.size == 1 or inputs.backbone is None:
            return batch
        ids, mask = batch
        absent = self.group.most(ids.shape[1]) - ids.shape[1]
        text = inputs.backbone
        padding = (text.tokenizer.pad_token_id or 0) if isinstance(text, TextBackbone) else 0
        return F.pad(ids, (0, absent), value=padding), F.pad(mask, (0, absent))

    def _labels(self, samples: Samples) -> Labels:
        captions = torch.from_numpy(samples.captions).to(self._device)
        return Labels(torch.from_numpy(samples.images).to(self._device), self._text_group[captions])


def _rows(samples: Samples, rows: np.ndarray) -> Samples:
    return Samples(**{field.name: getattr(samples, field.name)[rows] for field in fields(samples)})
