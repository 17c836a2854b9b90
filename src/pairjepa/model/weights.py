"""A module's weights as one safetensors file."""

from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import atomic_path, writing


def weights(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights, on the CPU."""
    # clone: safetensors refuses tensors that share memory, and tied weights do
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in module.state_dict().items()}


def save_weights(weights: dict[str, Tensor], path: Path) -> None:
    """Weights alone."""
    write_tensors(weights, path)


def load_weights(module: nn.Module, path: Path) -> None:
    """The inverse; every weight must be there and none besides.

    Raises:
        PairJEPAError: the file is missing, damaged or of another model.
    """
    tensors, _ = read_tensors(path)
    fill(module, tensors, path)


def write_tensors(tensors: dict[str, Tensor], path: Path, about: dict[str, str] | None = None) -> None:
    """Write a safetensors file, whole or not at all."""
    with writing(path), atomic_path(path) as temporary:
        try:
            save_file(tensors, temporary, about)
        except SafetensorError as error:  # such as a full disk
            raise OSError(str(error)) from None


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileNotFoundError:
        raise PairJEPAError(
            f"{path} is not there: the run has not finished its first epoch. Start it again to go on."
        ) from None
    except Exception as error:  # safetensors' own error class is private to its extension
        raise PairJEPAError(f"{path} is damaged ({error}). Remove it and train again.") from None


def fill(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Put tensors into a module; every one must be there and none besides."""
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise PairJEPAError(
            f"{path} must hold the weights of this run's model: {error} Train a new run."
        ) from None
