"""A module's weights as one safetensors file."""

from pathlib import Path

import torch
from torch import Tensor, nn

from pairjepa.model.lora import is_lora, merged
from pairjepa.util.arrays import read_arrays, write_arrays
from pairjepa.util.checksums import KEY
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import digest_file


def weights(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights, on the CPU; of a part that learns by LoRA, LoRA's alone."""
    state = module.state_dict()
    parts = {_part(name) for name in state if is_lora(name)}
    # clone: safetensors refuses tensors that share memory, and tied weights do
    return {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in state.items()
        if is_lora(name) or _part(name) not in parts
    }


def _part(name: str) -> str:
    return name.partition(".")[0]


def load_weights(module: nn.Module, path: Path) -> str:
    """The inverse; every weight must be there and none besides.

    Returns:
        The digest of what was loaded, by which files made with these weights know them.

    Raises:
        PairJEPAError: the file is missing, damaged or of another model.
    """
    tensors, about = read_tensors(path)
    fill(module, tensors, path)
    return about.get(KEY) or digest_file(path)  # of 0.1


def write_tensors(tensors: dict[str, Tensor], path: Path, about: dict[str, str] | None = None) -> None:
    """`write_arrays` of tensors that are contiguous and on the CPU."""
    write_arrays({name: tensor.numpy() for name, tensor in tensors.items()}, path, about)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """`read_arrays` as tensors.

    Raises:
        PairJEPAError: it is not there, cannot be read, or is not what was written.
    """
    mend = f"Put it back, or remove it and run the same train command again, which trains {path.parent} anew."
    arrays, about = read_arrays(path, mend)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}, about


def fill(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Put tensors into a module; every one must be there and none besides.

    LoRA's are put beside the weights of a module that has it, and are added to those of one that has none.
    """
    own = module.state_dict()
    lora = {name: tensor for name, tensor in tensors.items() if is_lora(name)}
    parts = {_part(name) for name in lora}
    frozen = {name: tensor for name, tensor in own.items() if _part(name) in parts and name not in lora}
    if not any(map(is_lora, own)):
        frozen, lora = merged(frozen, lora), {}
    others = {name: tensor for name, tensor in tensors.items() if not is_lora(name)}
    try:
        module.load_state_dict(frozen | lora | others)
    except RuntimeError as error:
        raise PairJEPAError(
            f"{path} must hold the weights of this run's model: {error} Train a new run."
        ) from None
