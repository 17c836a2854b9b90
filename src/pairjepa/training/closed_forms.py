"""Closed forms on the features that a run began with: kept in its folder, in its heads, and as what these must beat."""

import copy
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from scipy.linalg import orthogonal_procrustes
from torch import Tensor, nn
from torch.nn import functional as F

from pairjepa.config.settings import holds_linear, starts_as_pair, tuned
from pairjepa.metrics.baselines import ClosedForm, Correlations, Read, RidgeCCA, ridge_to_image, ridge_to_text
from pairjepa.metrics.compare_ranks import compare_ranks
from pairjepa.metrics.hubness import HubnessCorrection
from pairjepa.metrics.matching import search_settings
from pairjepa.metrics.retrieval import retrieve, rsum
from pairjepa.model import correction as kept_correction
from pairjepa.model.heads import Gated, Standardizer, add_linear
from pairjepa.model.joint import JointModel, mean_direction
from pairjepa.model.weights import load_weights, read_tensors, weights, write_tensors
from pairjepa.run.folder import RunFolder
from pairjepa.training.chosen_on_dev import BANK_ROWS, DEV_IMAGES, Dev, Embed, embed_rows, fit_correction
from pairjepa.training.inputs import all_features
from pairjepa.training.loop import Trainer
from pairjepa.training.material import Material, evenly
from pairjepa.training.monitor import Split
from pairjepa.util.arrays import read_arrays, write_arrays
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import digest
from pairjepa.util.progress import advise, say

FILE = "closed-forms.safetensors"
FORMS = ("cca", "ridge_to_text", "ridge_to_image")
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of CCA in the heads, that are tried on dev; in the adapters of a pretrained pair at most half."""
MIXED = "mixed"
"""Key in the metadata of weights that CCA is mixed into: the summary of the training, so that it is not mixed twice."""
ONLY_CCA = (
    "The closed formula is better on dev than the best epoch, and than both together: the heads are "
    "that formula alone. More pairs or captions let heads learn more."
)


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
        [
            material.image.digest,
            material.text.digest,
            *material.config.model.image_views,
            *engines,
            dim,
            *(["sphere"] if starts_as_pair(material.config.model) else []),
        ],
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
        lambda rows: material.caption_features(captions[rows]),
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
        return form.image(material.pooled_features(images)), form.text(material.caption_features(captions))

    return embed


def _cca(material: Material, fitted: Correlations, dim: int) -> RidgeCCA:
    if "dev" not in material.data.pairs.splits:
        return RidgeCCA.of(fitted, dim=dim)
    images, captions, owner = material.rows("dev", DEV_IMAGES)
    features = material.caption_features(captions)
    return RidgeCCA.choose(fitted, material.pooled_features(images), features, owner, dim)


Side = Literal["image", "text"]


def _heads(joint: JointModel) -> list[tuple[nn.Module, Standardizer, Side]]:
    """Of the image alone and of the caption, with what stands before each."""
    image = next(head for head in (joint.image_projection, joint.predictor) if list(head.parameters()))
    image = image.of_image_alone() if isinstance(image, Gated) else image
    return [
        (image, joint.image_standardizer, "image"),
        (joint.text_projection, joint.text_standardizer, "text"),
    ]


def _map(cca: ClosedForm, side: Side, standardizer: Standardizer, dim: int) -> tuple[Tensor, Tensor]:
    """CCA's weight `(dim, width)` and bias, of standardised features; rows beyond its own are 0."""
    mean, scale, directions = (
        torch.from_numpy(cca.arrays[f"{side}.{name}"]) for name in ("mean", "scale", "directions")
    )
    weight = (directions / scale[:, None]).T
    bias = weight @ (standardizer.mean.cpu() - mean)
    beyond, device = (0, dim - len(bias)), standardizer.mean.device
    weight = F.pad(weight * standardizer.scale.cpu(), (0, 0, *beyond))
    return weight.float().to(device), F.pad(bias, beyond).float().to(device)


def set_cca(joint: JointModel, cca: ClosedForm) -> None:
    """Make the heads the two maps of CCA; of an image each view is normalised before the mean, as always."""
    for head, standardizer, side in _heads(joint):
        add_linear(head, 0.0, *_map(cca, side, standardizer, joint.dim))


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


@dataclass(frozen=True)
class Mixture:
    """CCA made ready to be mixed into trained heads, and what that brings."""

    maps: list[tuple[Tensor, Tensor]]
    """Weight and bias to be added to each of the heads."""
    tried: dict[float, dict[str, float]]
    """For each share of CCA rsum on dev, plain and corrected."""

    @property
    def best(self) -> float:
        """The share with the most of both together; never one that CCA alone, corrected, is better than."""
        least = self.tried.get(1.0, {"corrected": 0.0})["corrected"]

        def reached(share: float) -> tuple[bool, float, float]:
            plain, corrected = self.tried[share]["rsum"], self.tried[share]["corrected"]
            return corrected >= least, plain + corrected, -share

        return max(self.tried, key=reached)

    def into(self, joint: JointModel, share: float) -> None:
        """Make the heads (1 - share)·heads + share·CCA."""
        for (head, *_), (weight, bias) in zip(_heads(joint), self.maps, strict=True):
            add_linear(head, 1 - share, share * weight, share * bias)


@torch.no_grad()
def try_mixtures(
    joint: JointModel, cca: ClosedForm, material: Material, shares: Sequence[float], device: torch.device
) -> Mixture:
    """Try shares of CCA in trained heads.

    CCA is turned towards the heads, by one rotation for both sides (orthogonal Procrustes, Schönemann 1966), and
    brought to their size: the space stays that of the heads. Both err apart, so that together they err less, as an
    ensemble does; and they are one map.

    Args:
        joint: trained heads that hold a linear map.
        cca: of the training pairs.
        material: backbones and data.
        shares: from 0 to 1.
        device: where the heads are.
    """
    alone = copy.deepcopy(joint)
    set_cca(alone, cca)
    train, dev = (
        material.split(name, most, learning=True) for name, most in (("train", None), ("dev", DEV_IMAGES))
    )
    bank = [evenly(np.arange(len(side)), BANK_ROWS) for side in (train.images, train.texts)]
    heads, closed = _outputs((joint, alone), train, bank, device)
    sizes = [[_size(side) for side in model] for model in (heads, closed)]
    left, right = (
        torch.cat([side.mean(dim=1) / size for side, size in zip(*model, strict=True)]).double()
        for model in ((closed, sizes[1]), (heads, sizes[0]))
    )
    rotation = torch.from_numpy(orthogonal_procrustes(left.numpy(), right.numpy())[0]).float()
    turns = [float(size / of_cca) * rotation for size, of_cca in zip(*sizes, strict=True)]
    on_dev = _outputs((joint, alone), dev, [np.arange(len(side)) for side in (dev.images, dev.texts)], device)

    def mixed(outputs: Sequence[Sequence[Tensor]], share: float) -> tuple[np.ndarray, np.ndarray]:
        image, text = (
            mean_direction((1 - share) * of_heads + share * of_cca @ turn).numpy()
            for of_heads, of_cca, turn in zip(*outputs, turns, strict=True)
        )
        return image, text

    tried = {}
    for share in shares:
        found = *mixed(on_dev, share), dev.owner
        correction = HubnessCorrection.choose(*mixed((heads, closed), share), *found)
        tried[share] = {"rsum": rsum(retrieve(*found)), "corrected": rsum(correction.ranks(*found))}
    maps = []
    for (_, standardizer, side), turn in zip(_heads(alone), turns, strict=True):
        weight, bias = _map(cca, side, standardizer, joint.dim)
        turn = turn.T.to(weight.device)
        maps.append((turn @ weight, turn @ bias))
    return Mixture(maps, tried)


def _outputs(
    models: Sequence[JointModel], split: Split, rows: Sequence[np.ndarray], device: torch.device
) -> list[list[Tensor]]:
    """Of each model predictions and targets `(row, view, dim)` before they are normalised, on the CPU."""
    images, texts = (
        all_features(side, device, among=among)
        for side, among in zip((split.images, split.texts), rows, strict=True)
    )
    predictions = [
        [model.predict(part.flatten(0, 1)).unflatten(0, part.shape[:2]).float().cpu() for model in models]
        for _, part in images
    ]
    targets = [[model.target(part[:, 0])[:, None].float().cpu() for model in models] for _, part in texts]
    sides = zip(zip(*predictions, strict=True), zip(*targets, strict=True), strict=True)
    return [[torch.cat(parts) for parts in side] for side in sides]


def _size(rows: Tensor) -> Tensor:
    """Root mean square of the rows' norms; 1 where all rows are 0."""
    return rows.square().sum(dim=-1).mean().sqrt() or torch.ones(())


@torch.no_grad()
def _of_tuned(material: Material, dim: int, device: torch.device) -> ClosedForm:
    """CCA of the captions as a tuned backbone sees them: once more through all of training."""

    def read(split: Split) -> Read:
        return lambda rows: material.as_seen(
            torch.cat([part[:, 0].cpu() for _, part in all_features(split.texts, device, among=rows)]).numpy()
        )

    images, captions, owner = material.rows("train")
    say(f"ridge CCA of {len(captions):,} captions as the tuned backbone sees them")
    texts = read(material.split("train", learning=True))
    fitted = Correlations.fit(lambda rows: material.pooled_features(images[rows]), texts, owner, len(images))
    images, captions, owner = material.rows("dev", DEV_IMAGES)
    texts = read(material.split("dev", DEV_IMAGES, learning=True))
    features = texts(np.arange(len(captions)))
    return RidgeCCA.choose(fitted, material.pooled_features(images), features, owner, dim)


def mixed_before(folder: RunFolder) -> dict[str, Any]:
    """The summary of a training whose weights have been mixed, and whose process was killed then; else nothing."""
    found: dict[str, Any] = json.loads(read_tensors(folder.model_file)[1].get(MIXED, "{}"))
    return found


def finish(
    folder: RunFolder,
    material: Material,
    module: nn.ModuleDict,
    summary: dict[str, Any],
    dev_rsum: Callable[[], float],
    device: torch.device,
) -> None:
    """Mix into the heads of the best epoch as much CCA as is best on dev, and fit the hubness correction.

    Heads that cannot hold it are compared with it.

    Args:
        folder: the run, whose weights are replaced where CCA is mixed in.
        material: its backbones and data.
        module: gets the weights.
        summary: of the training, which says what became of it.
        dev_rsum: measures the module.
        device: where the module is.
    """
    of_weights, model = load_weights(module, folder.model_file), material.config.model
    module.eval()  # after a kill that came behind the last epoch, nothing was measured since
    joint: Any = module["joint"]
    heads, holds = material.config.training.solver != "cca", holds_linear(material.config)
    if heads and holds and model.closed_form_share != 0 and "closed_form_share" not in summary:
        _mix(folder, material, joint, summary, device)
        if summary["closed_form_share"]:
            summary["dev_rsum"] = dev_rsum()
            about = {name: value for name, value in summary.items() if name != "cost"}  # the same each time
            write_tensors(weights(module), folder.model_file, {MIXED: json.dumps(about)})
            of_weights = load_weights(module, folder.model_file)
    correction, reached, dev = fit_correction(material, embed_rows(joint, material, device))
    summary["corrected_dev_rsum"] = reached
    if heads and not holds and not any(tuned(model, side) for side in ("image", "text")):
        _compare(correction, reached, dev, load_or_fit(material, folder, joint.dim)["cca"], material, summary)
    kept_correction.save(correction, folder.path, of_weights)
    summary["hubness"] = correction.settings()
    summary["search"] = search_settings(*dev, correction)


def _mix(
    folder: RunFolder, material: Material, joint: JointModel, summary: dict[str, Any], device: torch.device
) -> None:
    """Mix the given share of CCA into heads, or the best on dev, and say so."""
    model = material.config.model
    if tuned(model, "text"):
        cca = _of_tuned(material, joint.dim, device)
    else:
        cca = load_or_fit(material, folder, joint.dim)["cca"]
    given = model.closed_form_share
    shares = [share for share in SHARES if share <= 0.5 or not starts_as_pair(model)]
    mixture = try_mixtures(joint, cca, material, shares if given is None else [given], device)
    share = mixture.best
    summary["closed_form_share"] = share
    summary["closed_form_shares"] = {f"{share:g}": found for share, found in mixture.tried.items()}
    if share:
        mixture.into(joint, share)
    if share == 1 and given is None:
        summary["warnings"] = [ONLY_CCA]  # those of epochs that are not kept would mislead
        if not tuned(model, "text"):  # whose backbone is still that of the best epoch
            summary["best_epoch"] = 0
        advise(f"{folder.path}: {ONLY_CCA}")
    elif share:
        why = "the best on dev" if given is None else "as given"
        say(
            f"{folder.path}: ridge CCA is mixed into the heads, with a share of {share:g}, {why} "
            "(model.closed_form_share)"
        )


def _compare(
    correction: HubnessCorrection,
    reached: float,
    dev: Dev,
    cca: ClosedForm,
    material: Material,
    summary: dict[str, Any],
) -> None:
    """Say where CCA is better on dev than heads that cannot hold it."""
    of_cca, to_beat, dev_of_cca = fit_correction(material, embed_by(cca, material))
    summary["cca_corrected_dev_rsum"] = to_beat
    if to_beat <= reached:
        return
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
