"""Ridge CCA on the features that a run began with, kept in the run folder."""

import numpy as np
import torch

from pairjepa.metrics.baselines import RidgeCCA
from pairjepa.model.weights import read_tensors, write_tensors
from pairjepa.run.folder import RunFolder
from pairjepa.training.material import Material
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import digest

FILE = "cca.safetensors"


class _Rows:
    """Features of some rows, views averaged, read where they are indexed."""

    def __init__(self, material: Material, side: str, rows: np.ndarray) -> None:
        self._read = material.pooled_features if side == "image" else material.text_features.gather
        self._rows = rows
        width = material.image.pooled if side == "image" else material.text.width
        self.shape = (len(rows), width)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        return self._read(self._rows[rows])


def load_or_fit_cca(material: Material, folder: RunFolder | None) -> RidgeCCA:
    """CCA of the training pairs: what the run folder keeps of an earlier evaluation, if it is of the same features.

    Args:
        material: backbones as they were before training, and data.
        folder: the run that keeps it, if the pairs are its own.

    Raises:
        PairJEPAError: the file is damaged.
    """
    images, captions, owner = material.rows("train")
    engines = (material.image_features.engine, material.text_features.engine)
    made_of = digest(
        material.data.record["digest"],
        [material.image.digest, material.text.digest, *material.config.model.image_views, *engines],
    )
    path = None if folder is None else folder.path / FILE
    if path is not None and path.is_file():
        mend = "Remove it, and evaluate the run again, which makes it anew."
        tensors, about = read_tensors(path, mend)
        if about.get("made_of") == made_of:
            try:
                return RidgeCCA.of({name: tensor.numpy() for name, tensor in tensors.items()})
            except KeyError as error:
                raise PairJEPAError(f"{path} is damaged ({error} is missing). {mend}") from None
    fitted = RidgeCCA.fit(_Rows(material, "image", images), _Rows(material, "text", captions), owner)
    if path is not None:
        arrays = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in fitted.arrays().items()}
        write_tensors(arrays, path, {"made_of": made_of})
    return fitted
