"""Closed forms on the features that a run began with, kept in the run folder."""

import numpy as np

from pairjepa.metrics.baselines import ClosedForm, Correlations, RidgeCCA, ridge_to_image, ridge_to_text
from pairjepa.run.folder import RunFolder
from pairjepa.training.hubness import DEV_IMAGES, Embed
from pairjepa.training.material import Material
from pairjepa.util.arrays import read_arrays, write_arrays
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import digest

FILE = "closed-forms.safetensors"
FORMS = ("cca", "ridge_to_text", "ridge_to_image")


def load_or_fit(material: Material, folder: RunFolder | None, dim: int = 512) -> dict[str, ClosedForm]:
    """`FORMS` of the training pairs: what the run folder keeps of an earlier evaluation, if it is of the same features.

    Args:
        material: backbones as they were before training, and data.
        folder: the run that keeps it, if the pairs are its own.
        dim: most directions of CCA, whose ridge and power are chosen on dev.

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
            names = ("image.mean", "image.scale", "text.mean", "text.scale")
            if missing := {f"{form}.{name}" for form in FORMS for name in names} - arrays.keys():
                raise PairJEPAError(f"{path} is damaged ({min(missing)!r} is missing). {mend}")
            return {form: ClosedForm(_below(form, arrays)) for form in FORMS}
    fitted = Correlations.fit(
        lambda rows: material.pooled_features(images[rows]),
        lambda rows: material.text_features.gather(captions[rows]),
        owner,
        len(images),
    )
    forms = {
        "cca": _cca(material, fitted, dim),
        "ridge_to_text": ridge_to_text(fitted),
        "ridge_to_image": ridge_to_image(fitted),
    }
    if path is not None:
        kept = {f"{name}.{key}": array for name, form in forms.items() for key, array in form.arrays.items()}
        write_arrays(kept, path, {"made_of": made_of})
    return forms


def embed_by(form: ClosedForm, material: Material) -> Embed:
    """What embeds rows of images and captions by a closed form."""

    def embed(images: np.ndarray, captions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        features = material.text_features.gather(captions)
        return form.image(material.pooled_features(images)), form.text(features)

    return embed


def _cca(material: Material, fitted: Correlations, dim: int) -> RidgeCCA:
    if "dev" not in material.data.pairs.splits:
        return RidgeCCA.of(fitted, dim=dim)
    images, captions, owner = material.rows("dev", DEV_IMAGES)
    features = material.text_features.gather(captions)
    return RidgeCCA.choose(fitted, material.pooled_features(images), features, owner, dim)


def _below(form: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        key.removeprefix(f"{form}."): array for key, array in arrays.items() if key.startswith(f"{form}.")
    }
