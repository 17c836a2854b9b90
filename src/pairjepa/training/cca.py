"""Ridge CCA on the features that a run began with, kept in the run folder."""

import numpy as np

from pairjepa.metrics.baselines import RidgeCCA
from pairjepa.run.folder import RunFolder
from pairjepa.training.hubness import Embed, dev_rows
from pairjepa.training.material import Material
from pairjepa.util.arrays import read_arrays, write_arrays
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


def load_or_fit_cca(material: Material, folder: RunFolder | None, dim: int = 512) -> RidgeCCA:
    """CCA of the training pairs, its ridge and power chosen on dev: the one that the run folder keeps, if there is.

    Args:
        material: backbones as they were before training, and data.
        folder: the run that keeps it, if the pairs are its own.
        dim: most directions.

    Raises:
        PairJEPAError: the file is damaged.
    """
    images, captions, owner = material.rows("train")
    engines = (material.image_features.engine, material.text_features.engine)
    made_of = digest(
        material.data.record["digest"],
        [material.image.digest, material.text.digest, *material.config.model.image_views, *engines, dim],
    )
    path = None if folder is None else folder.path / FILE
    if path is not None and path.is_file():
        mend = "Remove it, and evaluate the run again, which makes it anew."
        arrays, about = read_arrays(path, mend)
        if about.get("made_of") == made_of:
            try:
                return RidgeCCA.of(arrays)
            except KeyError as error:
                raise PairJEPAError(f"{path} is damaged ({error} is missing). {mend}") from None
    train = _Rows(material, "image", images), _Rows(material, "text", captions), owner
    if "dev" in material.data.pairs.splits:
        dev_images, dev_captions, dev_owner = dev_rows(material)
        dev = material.pooled_features(dev_images), material.text_features.gather(dev_captions), dev_owner
        fitted = RidgeCCA.choose(*train, *dev, dim=dim)
    else:
        fitted = RidgeCCA.fit(*train, dim=dim)
    if path is not None:
        arrays = {name: np.ascontiguousarray(array) for name, array in fitted.arrays().items()}
        write_arrays(arrays, path, {"made_of": made_of})
    return fitted


def embed_by_cca(material: Material, cca: RidgeCCA) -> Embed:
    """What embeds rows of images and captions by CCA."""

    def embed(images: np.ndarray, captions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        features = material.text_features.gather(captions)
        return cca.image(material.pooled_features(images)), cca.text(features)

    return embed
