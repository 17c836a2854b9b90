"""Weights of which each process holds a piece (FSDP's distributed tensors)."""

from torch import Tensor


def in_pieces(tensor: Tensor) -> bool:
    """Whether each process has only a piece of it."""
    return hasattr(tensor, "full_tensor")


def whole(tensor: Tensor) -> Tensor:
    """The tensor itself; all processes must ask for it together."""
    return tensor.full_tensor() if in_pieces(tensor) else tensor  # type: ignore[attr-defined]


def like(tensor: Tensor, other: Tensor) -> Tensor:
    """A whole tensor in pieces, where another is."""
    if not in_pieces(other):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    mesh, placements = other.device_mesh, other.placements  # type: ignore[attr-defined]
    return distribute_tensor(tensor.to(other.device), mesh, placements)
