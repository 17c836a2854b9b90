"""Closed forms on the features that a run began with, kept in the run folder."""

import numpy as np
import torch

from pairjepa.metrics.baselines import ClosedForm, Correlations, RidgeCCA, ridge_to_image, ridge_to_text
from pairjepa.model.weights import read_tensors, write_tensors
from pairjepa.run.folder import RunFolder
from pairjepa.training.material import Material
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import digest

FILE = "closed-forms.safetensors"
FORMS = {"cca": RidgeCCA.of, "ridge_to_text": ridge_to_text, "ridge_to_image": ridge_to_image}


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


def load_or_fit(material: Material, folder: RunFolder | None) -> dict[str, ClosedForm]:
    """`FORMS` of the training pairs: what the run folder keeps of an earlier evaluation, if it is of the same features.

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
            arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
            try:
                return {form: ClosedForm.from_arrays(_below(form, arrays)) for form in FORMS}
            except KeyError as error:
                raise PairJEPAError(f"{path} is damaged ({error} is missing). {mend}") from None
    fitted = Correlations.fit(_Rows(material, "image", images), _Rows(material, "text", captions), owner)
    forms: dict[str, ClosedForm] = {name: form(fitted) for name, form in FORMS.items()}
    if path is not None:
        kept = {
            f"{name}.{key}": torch.from_numpy(np.ascontiguousarray(array))
            for name, form in forms.items()
            for key, array in form.arrays().items()
        }
        write_tensors(kept, path, {"made_of": made_of})
    return forms


def _below(form: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        key.removeprefix(f"{form}."): array for key, array in arrays.items() if key.startswith(f"{form}.")
    }
