"""Ridge CCA: as the heads of a run in the place of gradient steps, and as what trained heads must beat on dev."""

import threading
import time
from typing import Any

import torch
from torch import nn

from pairjepa.config.settings import holds_cca, tuned
from pairjepa.metrics.baselines import ClosedForm
from pairjepa.metrics.matching import search_settings
from pairjepa.metrics.retrieval import retrieve, rsum
from pairjepa.model import correction as kept_correction
from pairjepa.model.heads import set_linear
from pairjepa.model.joint import JointModel
from pairjepa.model.weights import load_weights, weights, write_tensors
from pairjepa.run.folder import RunFolder
from pairjepa.training.closed_forms import embed_by, load_or_fit
from pairjepa.training.hubness import embed_rows, fit
from pairjepa.training.loop import Trainer
from pairjepa.training.material import Material
from pairjepa.util.progress import advise


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
    digest = load_weights(module, folder.model_file)
    module.eval()  # after a kill that came behind the last epoch, nothing was measured since
    embed = embed_rows(joint, material, device)
    correction, reached, dev = fit(material, embed)
    model, frozen = material.config, not any(tuned(material.config.model, side) for side in ("image", "text"))
    if frozen and model.training.solver != "cca":
        cca = load_or_fit(material, folder, joint.dim)["cca"]
        _, to_beat, _ = fit(material, embed_by(cca, material))
        summary |= {"corrected_dev_rsum": reached, "cca_corrected_dev_rsum": to_beat}
        if holds_cca(model) and _takes_place(joint, cca, better=to_beat > reached):
            write_tensors(weights(module), folder.model_file)
            digest = load_weights(module, folder.model_file)
            correction, reached, dev = fit(material, embed)
            summary |= {"best_epoch": 0, "dev_rsum": rsum(retrieve(*dev))}
            sentence = (
                "The closed formula is better on dev than the best epoch, both corrected for hubs: the run is that of "
                "closed-form. More pairs or captions let heads learn more."
            )
            # warnings of epochs that are not kept would mislead
            summary |= {"corrected_dev_rsum": reached, "warnings": [sentence]}
            advise(f"{folder.path}: {sentence}")
        elif to_beat > reached:
            sentence = (
                f"On dev, both corrected for hubs, these heads are at rsum {reached:.1f} and the closed formula at "
                f"{to_beat:.1f}. Try the recipe closed-form."
            )
            summary["warnings"].append(sentence)
            advise(sentence)
    kept_correction.save(correction, folder.path, digest)
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
