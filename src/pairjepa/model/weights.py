"""A module's weights as one safetensors file."""

from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pairjepa.backbones.loading import tensors_digest
from pairjepa.util.checksums import KEY, as_metadata, from_metadata
from pairjepa.util.errors import PairJEPAError, unreadable
from pairjepa.util.files import atomic_path, digest_file, writing


def weights(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights, on the CPU."""
    # clone: safetensors refuses tensors that share memory, and tied weights do
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in module.state_dict().items()}


def save_weights(weights: dict[str, Tensor], path: Path) -> None:
    """Weights alone."""
    write_tensors(weights, path)


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
    """Write a safetensors file with its checksum, whole or not at all."""
    about = about or {}
    with writing(path), atomic_path(path) as temporary:
        try:
            save_file(tensors, temporary, as_metadata(about | {KEY: _checksum(tensors, about)}))
        except SafetensorError as error:  # such as a full disk
            raise OSError(str(error)) from None


def read_tensors(path: Path, mend: str = "") -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file; `mend` says what to do if it is damaged, where that is not to train.

    Raises:
        PairJEPAError: it is not there, cannot be read, or is not what was written.
    """
    mend = (
        mend
        or f"Put it back, or remove it and run the same train command again, which trains {path.parent} anew."
    )
    try:
        path.open("rb").close()  # safetensors says of any error that there is no file
        with safe_open(path, framework="pt") as file:  # one file, even if it is replaced meanwhile
            about = from_metadata(file.metadata())
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:
        raise unreadable(path, error, mend) from None
    if KEY in about and about[KEY] != _checksum(tensors, about):
        raise PairJEPAError(f"{path} must be as it was written, got another content (checksum). {mend}")
    return tensors, about


def _checksum(tensors: dict[str, Tensor], about: dict[str, str]) -> str:
    return tensors_digest(tensors, sorted(item for item in about.items() if item[0] != KEY))


def fill(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Put tensors into a module; every one must be there and none besides."""
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise PairJEPAError(
            f"{path} must hold the weights of this run's model: {error} Train a new run."
        ) from None
