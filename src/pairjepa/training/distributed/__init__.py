"""Several processes that train one model, as `torchrun` or `accelerate launch` start them.

The result is that of one process: the batch of a step is the same and each process takes its rows of it, with their
part of the same random numbers. What a process computes of the loss is a share, and all sums of shares are plain sums:
of embeddings' gradients, of BatchNorm's moments, of the weights' gradients. So no factor depends on the number of
processes, and what one process would have got is got to rounding.
"""

from pairjepa.training.distributed.batch_norm import synchronise, uncounted
from pairjepa.training.distributed.group import ALONE, Group, current, joined
from pairjepa.training.distributed.part import Part
from pairjepa.training.distributed.sharding import shard, sharding_wanted

__all__ = [
    "ALONE",
    "Group",
    "Part",
    "current",
    "joined",
    "shard",
    "sharding_wanted",
    "synchronise",
    "uncounted",
]
