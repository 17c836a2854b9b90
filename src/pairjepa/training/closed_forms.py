"""Closed forms on the features that a run began with: kept in its folder, as its heads, and as what these must beat."""

import threading
import time
from typing import Any

import numpy as np
import torch
from torch import nn

from pairjepa.config.settings import holds_cca, tuned
from pairjepa.metrics.baselines import ClosedForm, Correlations, RidgeCCA, ridge_to_image, ridge_to_text
from pairjepa.metrics.compare_ranks import compare_ranks
from pairjepa.metrics.matching import search_settings
from pairjepa.metrics.retrieval import retrieve, rsum
from pairjepa.model import correction as kept_correction
from pairjepa.model.heads import set_linear
from pairjepa.model.joint import JointModel
from pairjepa.model.weights import load_weights, weights, write_tensors
from pairjepa.run.folder import RunFolder
from pairjepa.training.chosen_on_dev import DEV_IMAGES, Embed, embed_rows, fit_correction
from pairjepa.training.loop import Trainer
from pairjepa.training.material import Material
from pairjepa.util.arrays import read_arrays, write_arrays
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import digest
from pairjepa.util.progress import advise

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
            return {
                form: ClosedForm(
                    {n.removeprefix(f"{form}."): a for n, a in arrays.items() if n.startswith(f"{form}.")}
                )
                for form in FORMS
            }
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


@torch.no_grad()
def set_cca(joint: JointModel, cca: ClosedForm) -> None:
    """Make the heads the two maps of CCA; of an image each view is normalised before the mean, as always."""
    image = next(head for head in (joint.image_projection, joint.predictor) if list(head.parameters()))
    arrays = {name: torch.from_numpy(array) for name, array in cca.arrays.items()}
    for side, standardizer, head in (
        ("image", joint.image_standardizer, image),
        ("text", joint.text_standardizer, joint.text_projection),
    ):
        standardizer.mean.copy_(arrays[f"{side}.mean"])
        standardizer.scale.copy_(arrays[f"{side}.scale"])
        set_linear(head, arrays[f"{side}.directions"].T.to(torch.float32))


class CCATrainer(Trainer):
    """A trainer whose only epoch sets the heads to ridge CCA."""

    material: Material

    def _steps(self, epoch: int, position: dict[str, Any], stop: threading.Event) -> float:
        begun = time.monotonic()
        set_cca(self.joint, load_or_fit(self.material, self.run, self.joint.dim)["cca"])
        self.module.eval()
        samples = next(self.plan.epoch(epoch))
        with torch.no_grad():
            total, terms = self._forward(self._inputs(samples, 0).to(self.device))
        steps = self.plan.steps_per_epoch  # over which sums are averaged
        position["sums"] = {name: steps * value.item() for name, value in ({"loss": total} | terms).items()}
        position["seconds"] += time.monotonic() - begun
        return self.plan.images / (time.monotonic() - begun)


def finish(
    folder: RunFolder,
    material: Material,
    module: nn.ModuleDict,
    summary: dict[str, Any],
    device: torch.device,
) -> None:
    """Fit the hubness correction of the best epoch; where CCA, corrected too, is better on dev, it takes its place.

    Args:
        folder: the run, whose weights are replaced where CCA is better and fits into the heads.
        material: its backbones and data.
        module: gets the weights.
        summary: of the training, which says what became of it.
        device: where the module is.
    """
    joint: Any = module["joint"]
    of_weights = load_weights(module, folder.model_file)
    module.eval()  # after a kill that came behind the last epoch, nothing was measured since
    embed = embed_rows(joint, material, device)
    correction, reached, dev = fit_correction(material, embed)
    model, frozen = material.config, not any(tuned(material.config.model, side) for side in ("image", "text"))
    if frozen and model.training.solver != "cca":
        cca = load_or_fit(material, folder, joint.dim)["cca"]
        of_cca, to_beat, dev_of_cca = fit_correction(material, embed_by(cca, material))
        summary |= {"corrected_dev_rsum": reached, "cca_corrected_dev_rsum": to_beat}
        if holds_cca(model) and _takes_place(joint, cca, better=to_beat > reached):
            write_tensors(weights(module), folder.model_file)
            of_weights = load_weights(module, folder.model_file)
            correction, reached, dev = fit_correction(material, embed)
            summary |= {"best_epoch": 0, "dev_rsum": rsum(retrieve(*dev))}
            sentence = (
                "The closed formula is better on dev than the best epoch, both corrected for hubs: the run is that of "
                "closed-form. More pairs or captions let heads learn more."
            )
            # warnings of epochs that are not kept would mislead
            summary |= {"corrected_dev_rsum": reached, "warnings": [sentence]}
            advise(f"{folder.path}: {sentence}")
        elif to_beat > reached:
            sides = {"heads": [correction.ranks(*dev)], "cca": [of_cca.ranks(*dev_of_cca)]}
            low, high = compare_ranks(sides)["differences"]["cca"]["rsum"]["ci"]
            unsure = "holds 0: these dev images do not show which is better."
            advice = "is above 0. Try the recipe closed-form." if low > 0 else unsure
            sentence = (
                f"On dev, both corrected for hubs, these heads are at rsum {reached:.1f} and the closed formula at "
                f"{to_beat:.1f}. The 95 % interval of the difference, {low:+.1f} to {high:+.1f}, {advice}"
            )
            summary["warnings"].append(sentence)
            advise(sentence)
    kept_correction.save(correction, folder.path, of_weights)
    summary["hubness"] = correction.settings()
    summary["search"] = search_settings(*dev, correction)


def _takes_place(joint: JointModel, cca: ClosedForm, *, better: bool) -> bool:
    """Set the heads to CCA if it is better, or if it was and the process was killed before it could say so."""
    before = weights(joint)
    set_cca(joint, cca)
    if better or all(torch.equal(before[name], value) for name, value in weights(joint).items()):
        return True
    joint.load_state_dict(before)
    return False
