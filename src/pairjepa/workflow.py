"""The verbs: inspect, train, evaluate. Each takes an artefact and makes the next; each can be run again.

What can be found wrong without Torch is found before `stages`, and Torch with it, is imported: a mistake costs no wait.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pairjepa.config import DataConfig, ModelConfig, RunConfig
from pairjepa.errors import unknown
from pairjepa.evaluation.embedding_set import check_target
from pairjepa.evaluation.seeds import over_seeds
from pairjepa.features.engines import check_engine
from pairjepa.features.location import SIDES, local_folder
from pairjepa.files import cache_folder
from pairjepa.pairs import inspect as inspection
from pairjepa.pairs.scan import scan
from pairjepa.pairs.table import Pairs, open_pairs
from pairjepa.progress import say
from pairjepa.run_folder import RunFolder
from pairjepa.seed_group import is_seed_group, plan_seeds, runs_at
from pairjepa.training.tracking import check_tracker


def inspect(config: DataConfig, text_model: str | None = None, max_tokens: int = 32) -> dict[str, Any]:
    """What is in the pairs, and what is wrong with them, JSON-ready.

    Args:
        config: which pairs.
        text_model: a text backbone whose tokenizer counts the captions' tokens exactly.
        max_tokens: where captions are cut.
    """
    if text_model is not None:
        local_folder(text_model, "text")
    pairs = open_pairs(config)
    lengths = None
    if text_model is not None:
        from pairjepa.features.encoders import load_text_backbone

        backbone = load_text_backbone(ModelConfig(text=text_model), 0, pairs.captions.to_pylist())
        lengths = np.array(backbone.lengths(pairs.captions.to_pylist()))
    return inspection.inspect(pairs, scan(pairs, cache_folder()), lengths, max_tokens)


def train(config: RunConfig, pairs: Pairs | None, run: str | Path, *, track: str | None = None) -> RunFolder:
    """Train a run, or go on with it; a complete one is left as it is.

    Started by `torchrun`, all processes call it alike and train together; the first one writes.

    Args:
        config: see `pairjepa.recipe`.
        pairs: the pairs; None opens `config.data`.
        run: the run folder.
        track: a tracker that Accelerate knows, such as `tensorboard`; it gets the metrics of each epoch, too.

    Raises:
        UsageError: a setting cannot be, or the tracker is unknown.
        PairJEPAError: data, backbones or run folder are not as they must be.
    """
    config.validate()
    return _train({Path(run): config}, pairs, track)[0]


def train_seeds(
    config: RunConfig, pairs: Pairs | None, run: str | Path, seeds: int, *, track: str | None = None
) -> list[RunFolder]:
    """Train a seed group: the runs `run/seed-0`, `run/seed-1`, … that differ only in `training.seed`.

    Args:
        config: see `pairjepa.recipe`; its seed is the first.
        pairs: the pairs; None opens `config.data`.
        run: the folder of the group.
        seeds: how many; those that are complete are left as they are.
        track: as in `train`; each seed is one run of the tracker.

    Raises:
        UsageError: a setting cannot be, or the tracker is unknown.
        PairJEPAError: as `train`; or the folder holds one run, or seeds of another configuration.
    """
    config.validate()
    return _train(plan_seeds(Path(run), config, seeds), pairs, track)


def _train(planned: dict[Path, RunConfig], pairs: Pairs | None, track: str | None) -> list[RunFolder]:
    with _processes():
        return _train_here(planned, pairs, track)


def _train_here(planned: dict[Path, RunConfig], pairs: Pairs | None, track: str | None) -> list[RunFolder]:
    if track is not None:
        check_tracker(track)
    for path, config in planned.items():
        RunFolder.fits(path, config)
        check_engine(config.model.engine)
        _find_backbones(config, path)
    pairs = _opened(pairs, next(iter(planned.values())))
    pairs.check_trainable()
    from pairjepa import stages

    folders = []
    for path, config in planned.items():
        if len(planned) > 1:
            say(f"seed {config.training.seed}: {path}")
        folders.append(stages.fit(config, pairs, path, track))
    return folders


@contextmanager
def _processes() -> Iterator[None]:
    """Where a launcher such as torchrun has started several processes: together, with their answers to each other."""
    if int(os.environ.get("WORLD_SIZE") or 1) > 1:
        from pairjepa.training.distributed import joined

        with joined():
            yield
    else:
        yield


def evaluate(
    run: str | Path,
    split: str = "test",
    *,
    export: str | Path | None = None,
    relevance: Literal["owner", "text"] = "owner",
    pairs: Pairs | None = None,
) -> dict[str, Any]:
    """Embed a split, measure it beside chance and CCA, and keep both in the run folder.

    Args:
        run: a run folder; or a seed group, whose result is that of `evaluation.over_seeds`.
        split: train, dev or test.
        export: a folder for the embeddings, besides the run's own; of a seed group, one in it for each seed.
        relevance: `owner` counts an image's own captions, `text` every caption with the same words.
        pairs: the pairs that the run was trained on, if they were given to `train`.

    Raises:
        UsageError: `split` or `relevance` is unknown.
        PairJEPAError: there is no such run or split, or data or backbones have changed.
    """
    if relevance not in ("owner", "text"):
        raise unknown("relevance", relevance, ("owner", "text"))
    runs = {one: None if export is None else Path(export) for one in runs_at(Path(run))}
    if group := is_seed_group(Path(run)):
        runs = {one: target and target / one.path.name for one, target in runs.items()}
    for one, target in runs.items():
        one.check_trained()
        check_engine(one.config.model.engine)
        _find_backbones(one.config, one.path)
        if target is not None:
            check_target(target)
    pairs = _opened(pairs, next(iter(runs)).config)
    pairs.check_split(split)
    from pairjepa import stages

    results = []
    for one, target in runs.items():
        if one.summary is None:
            say(f"warning: the training of {one.path} is not complete; this is the best epoch so far.")
        results.append(stages.measure(one, pairs, split, target, relevance))
    return over_seeds(results) if group else results[0]


def _opened(pairs: Pairs | None, config: RunConfig) -> Pairs:
    """The pairs, and a line for each kind of problem that was met while they were opened."""
    pairs = pairs if pairs is not None else open_pairs(config.data)
    for kind, count in pairs.problems.counts.items():
        say(f"warning: {count:,} {kind}, such as {pairs.problems.examples[kind][0]}.")
    return pairs


def _find_backbones(config: RunConfig, path: Path) -> None:
    """Raise if a backbone that is not kept in the run itself cannot be where the configuration says."""
    for side in SIDES:
        if not (path / side).is_dir():
            local_folder(getattr(config.model, side), side)
