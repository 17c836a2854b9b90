"""The verb audit: cross-fit, score, and write what was found."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from jaxtyping import Int64

from pairjepa.apps.audit.findings import Findings, write_table
from pairjepa.apps.audit.scores import joined
from pairjepa.config.settings import DataConfig, ModelConfig
from pairjepa.pairs.captions import group_ids
from pairjepa.pairs.splits import TRAIN, unit_hash
from pairjepa.pairs.table import Pairs, open_pairs
from pairjepa.pairs.twins import twin_groups, twin_images
from pairjepa.run.seeds import runs_at
from pairjepa.util.checksums import write_record
from pairjepa.util.errors import UsageError, missing_extra
from pairjepa.util.files import cache_folder, remove_leftovers
from pairjepa.util.progress import say

FOLDS = "audit-folds"
"""The folder, in that of the audit, of finished folds."""
SHOWN = 10
"""Captions in the result."""


def audit(run: str | Path, data: DataConfig, out: str | Path, *, folds: int = 5) -> dict[str, Any]:
    """Find the pairs that are probably wrong, and write `audit.csv`, `audit.json` and `audit.html`.

    The images are split into folds. The captions of each fold are scored by heads that were trained, for seconds, on
    the pairs of the others, on features of the run's backbones; docs/audit.md says how. Killed, the same call goes on;
    where nothing has changed nothing is trained again.

    Args:
        run: folder of a run, or a seed group: its backbones are taken.
        data: which pairs, in all splits; the run's own or others.
        out: the folder of the audit.
        folds: how many models are trained.

    Returns:
        What stands in `audit.json`, and `worst`: the first rows of the table.

    Raises:
        UsageError: there are too few images for so many folds.
        PairJEPAError: run, data or backbones are not as they must be, or Jinja is not installed.
    """
    if find_spec("jinja2") is None:
        raise missing_extra("jinja2", "report")
    if folds < 2:
        raise UsageError(f"folds must be at least 2, got {folds}.")
    out, first = Path(out), runs_at(Path(run))[0]
    remove_leftovers(out, deep=True)
    pairs = open_pairs(data)
    for line in pairs.problems.lines():
        say(f"warning: {line}.")
    found = scored(first.config.model, pairs, out / FOLDS, folds=folds, kept=first.path, max_bad=data.max_bad)
    from pairjepa.apps.audit.page import write_page

    record = {"run": str(run), **found.record()}
    table = found.table()
    write_table(table, out / "audit.csv")
    write_page(found, record, out / "audit.html")
    write_record(out / "audit.json", record)
    return record | {"worst": table.slice(0, SHOWN).to_pylist()}


def scored(
    model: ModelConfig,
    pairs: Pairs,
    work: Path,
    *,
    folds: int = 5,
    kept: Path | None = None,
    max_bad: float = 0.05,
) -> Findings:
    """Cross-fit and score all pairs; see `audit`.

    Args:
        model: names the backbones.
        pairs: the pairs, in all splits.
        work: folder of finished folds.
        folds: how many models are trained.
        kept: the run folder that keeps backbones which are more than pretrained ones.
        max_bad: share of images that may be unreadable.

    Raises:
        UsageError: there are too few images for so many folds.
        PairJEPAError: a backbone cannot be loaded, or too many images cannot be read.
    """
    from pairjepa.apps.audit.crossfit import cross_fitted, scorer
    from pairjepa.backbones.encoders import describe, load_backbones
    from pairjepa.pairs.data import read_data
    from pairjepa.training.material import Material

    backbones = load_backbones(scorer(model, pairs.n_images), pairs.captions.to_pylist(), kept)
    splits = dict(zip(pairs.names, pairs.table["split"].to_pylist(), strict=True))
    read = read_data(pairs.with_splits([TRAIN] * pairs.n_images), max_bad)
    pairs = read.pairs
    twins = twin_images(pairs, read.facts, cache_folder())
    groups = twin_groups(twins, pairs.n_images)
    fold_of = folds_of(pairs.names, groups, folds)
    sizes = np.bincount(fold_of)
    config = scorer(model, pairs.n_images - int(sizes.max()))
    words = same_words(pairs)
    parts = list(cross_fitted(Material(config, read, *backbones), fold_of, groups, words, work))
    rows = np.concatenate([captions for captions, _ in parts])
    return Findings(
        pairs,
        [splits[name] for name in pairs.names],
        joined([scores for _, scores in parts], np.argsort(rows)),
        sizes[fold_of[pairs.owner]],
        twins,
        words,
        {
            "folds": folds,
            "epochs": config.training.epochs,
            "image_backbone": model.image,
            "text_backbone": model.text,
            "backbones": {side: one["digest"] for side, one in describe(config, *backbones).items()},
        },
    )


LEAST = 4
"""Images a fold that are needed: of the others some are trained on and some choose the epoch."""


def folds_of(
    names: list[str], groups: Int64[np.ndarray, " images"], folds: int
) -> Int64[np.ndarray, " images"]:
    """The fold of each image: equal in size, chosen by a hash of the names, twins in the same one.

    Raises:
        UsageError: `folds` is less than 2, or there are too few images.
    """
    if folds < 2:
        raise UsageError(f"folds must be at least 2, got {folds}.")
    if len(names) < LEAST * folds:
        raise UsageError(
            f"The data must hold at least {LEAST * folds} readable images for {folds} folds, got {len(names)}. "
            "Give more pairs" + (", or fewer --folds." if len(names) >= 2 * LEAST else ".")
        )
    place = unit_hash(names, salt="audit")
    sizes = np.bincount(groups)
    first = np.full(len(sizes), 2.0)
    np.minimum.at(first, groups, place)
    filled = np.zeros(folds, np.int64)
    fold_of_group = np.empty(len(sizes), np.int64)
    for group in np.lexsort([first, -sizes]):  # the largest first, so that the folds come out equal
        fold_of_group[group] = filled.argmin()
        filled[fold_of_group[group]] += sizes[group]
    return fold_of_group[groups]


def same_words(pairs: Pairs) -> Int64[np.ndarray, " captions"]:
    """A number for each caption that is the same where the words are, whatever their case and the marks between."""
    words = pc.utf8_lower(pairs.captions)
    words = pc.replace_substring_regex(words, r"[^\p{L}\p{M}\p{N}]+", " ")
    return group_ids(pc.utf8_trim_whitespace(words))
