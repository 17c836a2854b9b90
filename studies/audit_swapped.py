"""How well `pairjepa audit` finds wrong pairs: captions swapped between images on purpose, and looked for.

    python studies/audit_swapped.py DATA --image IMG --text TXT

For each seed 5 % of the captions are put under other images. They are looked for by the audit's cross-fitted scores,
and by the same scores of a model that was trained on the very pairs. Writes docs/audit.json and fills the table of
docs/audit.md. What is finished under --work is not done again.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from cyclopts import App, Parameter
from jaxtyping import Bool, Float
from results import ROOT, fill

from pairjepa.apps.audit import Findings, scored
from pairjepa.apps.audit.auditing import folds_of
from pairjepa.apps.audit.crossfit import embedded, scorer
from pairjepa.apps.audit.scores import Scores, joined, score
from pairjepa.backbones.encoders import load_backbones
from pairjepa.config.recipes import recipe
from pairjepa.config.settings import ModelConfig
from pairjepa.evaluation.tables import markdown
from pairjepa.metrics.over_seeds import mean
from pairjepa.pairs.data import read_data
from pairjepa.pairs.splits import DEV, TRAIN, unit_hash
from pairjepa.pairs.table import Pairs
from pairjepa.pairs.twins import twin_groups
from pairjepa.training.material import Material
from pairjepa.util.files import write_json
from pairjepa.util.progress import say

CUTS = (0.01, 0.05)
"""Shares of the captions, most suspicious first, that a person would look at."""
SEEN = (10, 40)  # epochs of the models that saw the pairs: as many as a fold's, and the recipe's own
app = App(help_format="plaintext")


@app.default
def audit_swapped(
    data: str,
    /,
    *,
    image: str,
    text: str,
    share: float = 0.05,
    seeds: int = 3,
    work: Path = Path("runs/audit-swapped"),
    docs: Annotated[Path, Parameter(help="Folder of docs/.")] = ROOT,
) -> None:
    """Measure and write."""
    model = recipe("contrastive", {"model.image": image, "model.text": text}).model
    pairs = Pairs.open(data)
    record = {
        "all captions": case(model, pairs, share, seeds, work),
        "one caption an image": case(model, first_captions(pairs), share, seeds, work / "one"),
    }
    write_json(docs / "docs" / "audit.json", record)
    fill(docs / "docs" / "audit.md", "swapped", "\n\n".join(map(table, record, record.values())))


def case(model: ModelConfig, pairs: Pairs, share: float, seeds: int, work: Path) -> dict[str, Any]:
    """Swap and look, for each seed."""
    rows: dict[str, list[dict[str, Any]]] = {}
    wrongs, estimates = [], []
    for seed in range(seeds):
        say(f"Seed {seed}:")
        changed, wrong = swapped(pairs, share, seed)
        found = scored(model, changed, work / f"swapped-{seed}")
        suspicion = {"cross-fitted": found.scores.suspicion}
        for epochs in SEEN:
            seen = seen_scores(model, found, epochs, work / f"seen-{seed}-{epochs}")
            suspicion[f"trained on the pairs, {epochs} epochs"] = seen.suspicion
        for name, one in suspicion.items():
            rows.setdefault(name, []).append(measured(one, wrong))
        wrongs.append(int(wrong.sum()))
        estimates.append(found.estimated_wrong)
    return {
        "images": pairs.n_images,
        "captions": len(pairs),
        "swapped": wrongs,
        "estimated_wrong": estimates,
        "estimated_wrong_untouched": scored(model, pairs, work / "untouched").estimated_wrong,
        "scores": {name: {"mean": mean(one), "seeds": one} for name, one in rows.items()},
    }


def first_captions(pairs: Pairs) -> Pairs:
    """The pairs with the first caption of each image alone."""
    return _with_captions(
        pairs, pairs.captions.take(pa.array(np.unique(pairs.owner, return_index=True)[1])), 1
    )


def swapped(pairs: Pairs, share: float, seed: int) -> tuple[Pairs, Bool[np.ndarray, " captions"]]:
    """Pairs with a share of their captions each under another's image, and which captions those are."""
    rng, owner = np.random.default_rng(seed), pairs.owner
    count = max(2, round(share * len(pairs)))
    chosen = rng.choice(len(pairs), count, replace=False)
    while (owner[chosen] == owner[np.roll(chosen, 1)]).any():  # each gets the words of the one before it
        rng.shuffle(chosen)
    source = np.arange(len(pairs))
    source[chosen] = np.roll(chosen, 1)
    wrong = np.zeros(len(pairs), bool)
    wrong[chosen] = True
    return _with_captions(pairs, pairs.captions.take(pa.array(source)), pairs.captions_per_image), wrong


def _with_captions(pairs: Pairs, captions: pa.Array, per_image: int | np.ndarray) -> Pairs:
    offsets = np.concatenate([[0], np.cumsum(np.broadcast_to(per_image, pairs.n_images))])
    column = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), captions)
    at = pairs.table.column_names.index("captions")
    return replace(pairs, table=pairs.table.set_column(at, "captions", column))


def seen_scores(model: ModelConfig, like: Findings, epochs: int, work: Path) -> Scores:
    """The same scores, fold by fold, of one model that was trained on the pairs (all but 1 in 100, which choose)."""
    pairs = like.pairs
    data = read_data(pairs.with_splits([TRAIN] * pairs.n_images), 1.0)
    config = scorer(model, pairs.n_images)
    config = replace(config, training=replace(config.training, epochs=epochs))
    material = Material(config, data, *load_backbones(config, pairs.captions.to_pylist()))
    split = np.where(unit_hash(pairs.names) < 0.01, DEV, TRAIN)
    image, text = embedded(material, split, np.ones(pairs.n_images, bool), work)
    groups = twin_groups(like.twins, pairs.n_images)
    fold_of = folds_of(pairs.names, groups, like.settings["folds"])
    parts, rows = [], []
    for fold in range(like.settings["folds"]):
        images = np.flatnonzero(fold_of == fold)
        captions = np.flatnonzero(fold_of[pairs.owner] == fold)
        owner = np.searchsorted(images, pairs.owner[captions])
        parts.append(score(image[images], text[captions], owner, groups[images], like.words[captions]))
        rows.append(captions)
    return joined(parts, np.argsort(np.concatenate(rows)))


def measured(
    suspicion: Float[np.ndarray, " captions"], wrong: Bool[np.ndarray, " captions"]
) -> dict[str, Any]:
    """Average precision, and precision and recall of the most suspicious, in percent."""
    hits = wrong[np.argsort(-suspicion, kind="stable")]
    found = np.cumsum(hits)
    precision = found / np.arange(1, len(hits) + 1)
    looked = {share: round(share * len(hits)) for share in CUTS}
    return {
        "average_precision": float(100 * precision[hits].mean()),
        "precision": {f"{share:.1%}": float(100 * precision[n - 1]) for share, n in looked.items()},
        "recall": {f"{share:.1%}": float(100 * found[n - 1] / wrong.sum()) for share, n in looked.items()},
    }


def table(name: str, found: dict[str, Any]) -> str:
    """Means over the seeds, beside chance, and what the estimate says."""
    cuts = [f"{share:.1%}" for share in CUTS]
    titles = [name, "average precision", *(f"first {100 * share:g} %" for share in CUTS)]
    chance = 100 * found["swapped"][0] / found["captions"]
    rows = [titles, ["chance", f"{chance:.1f}", *(f"{chance:.1f} / {100 * share:.1f}" for share in CUTS)]]
    for score_name, one in found["scores"].items():
        means = one["mean"]
        pairs = [f"{means['precision'][cut]:.1f} / {means['recall'][cut]:.1f}" for cut in cuts]
        rows.append([score_name, f"{means['average_precision']:.1f}", *pairs])
    estimates = ", ".join(f"{count:,}" for count in found["estimated_wrong"])
    said = (
        f"{found['captions']:,} captions of {found['images']:,} images, {found['swapped'][0]:,} swapped; "
        f"estimated {estimates}, and {found['estimated_wrong_untouched']:,} in the data untouched."
    )
    return f"{markdown(rows)}\n\n{said}"


if __name__ == "__main__":
    app(sys.argv[1:])
