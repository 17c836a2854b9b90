"""Which rows of a step's batch a process takes."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from pairjepa.training.distributed.draws import WholeBatchDraws


@dataclass(frozen=True)
class Part:
    """One process's rows of a batch: a share of each chunk of `micro_batch` samples, as all go chunk by chunk."""

    chunks: list[np.ndarray]
    """For each chunk which of its rows are here."""
    sizes: list[int]
    """Samples of each chunk over all processes."""

    @classmethod
    def of_each(cls, samples: int, processes: int, micro_batch: int | None) -> list["Part"]:
        """The parts of all processes, as even as they can be.

        Args:
            samples: of the whole batch.
            processes: how many share them; no more than samples, nor than `micro_batch`.
            micro_batch: samples of a chunk over all processes; None for one chunk.
        """
        most = micro_batch or samples
        sizes = [min(most, samples - start) for start in range(0, samples, most)]
        shares = [np.array_split(np.arange(size), processes) for size in sizes]
        return [cls([share[process] for share in shares], sizes) for process in range(processes)]

    @property
    def rows(self) -> np.ndarray:
        """Rows of the whole batch."""
        starts = np.cumsum([0, *self.sizes[:-1]])
        return np.concatenate([start + chunk for start, chunk in zip(starts, self.chunks, strict=True)])

    @property
    def samples(self) -> int:
        """Size of the whole batch."""
        return sum(self.sizes)

    def split(self, tensor: Tensor) -> tuple[Tensor, ...]:
        """This process's samples, chunk by chunk."""
        return tensor.split([len(chunk) for chunk in self.chunks])

    def drawing(self, chunk: int | None = None) -> AbstractContextManager[object]:
        """Within this, random numbers are the whole batch's, or the chunk's, and those of the rows here are used."""
        rows, total = (self.rows, self.samples) if chunk is None else (self.chunks[chunk], self.sizes[chunk])
        return nullcontext() if len(rows) == total else WholeBatchDraws(rows, total)
