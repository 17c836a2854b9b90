"""Named arrays in one safetensors file with a checksum, read and written without PyTorch."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from pairjepa.util.checksums import KEY, as_metadata, from_metadata
from pairjepa.util.errors import PairJEPAError, unreadable
from pairjepa.util.files import atomic_path, writing


def arrays_digest(arrays: Mapping[str, np.ndarray], *more: Any) -> str:
    """32 hex digits over names, shapes, types and bytes of arrays, and over anything else in JSON."""
    state = hashlib.blake2b("".join(map(json.dumps, more)).encode(), digest_size=16)
    for name, array in sorted(arrays.items()):
        state.update(json.dumps([name, array.dtype.str, list(array.shape)]).encode())
        state.update(array.reshape(-1).view(np.uint8).data)
    return state.hexdigest()


def write_arrays(arrays: Mapping[str, np.ndarray], path: Path, about: dict[str, str] | None = None) -> None:
    """Write arrays with a checksum of them and of their metadata `about`, whole or not at all."""
    about = about or {}
    # save_file scrambles views
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    with writing(path), atomic_path(path) as temporary:
        save_file(arrays, temporary, as_metadata(about | {KEY: _checksum(arrays, about)}))


def read_arrays(path: Path, mend: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and metadata of a safetensors file; `mend` says what to do if it is damaged.

    Raises:
        PairJEPAError: it is not there, cannot be read, or is not what was written.
    """
    try:
        path.open("rb").close()  # safetensors says of any error that there is no file
        with safe_open(path, framework="numpy") as file:  # one file, even if it is replaced meanwhile
            about = from_metadata(file.metadata())
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:
        raise unreadable(path, error, mend) from None
    if KEY in about and about[KEY] != _checksum(arrays, about):
        raise PairJEPAError(f"{path} must be as it was written, got another content (checksum). {mend}")
    return arrays, about


def _checksum(arrays: Mapping[str, np.ndarray], about: dict[str, str]) -> str:
    return arrays_digest(arrays, sorted(item for item in about.items() if item[0] != KEY))
