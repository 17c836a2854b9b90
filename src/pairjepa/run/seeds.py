"""Runs that differ only in their seed, side by side in one folder: `RUN/seed-0`, `RUN/seed-1`, …"""

import re
from dataclasses import replace
from itertools import count
from pathlib import Path

from pairjepa.config.settings import RunConfig, differences, seedless
from pairjepa.run.folder import RunFolder
from pairjepa.util.errors import PairJEPAError, UsageError

SEED = "training.seed"


def is_seed_group(path: Path) -> bool:
    """Whether `path` is no run itself but holds runs named `seed-*`."""
    return not (path / "run.json").is_file() and bool(_members(path))


def runs_at(path: Path) -> list[RunFolder]:
    """The one run at `path`, or those of the seed group there in the order of their seeds.

    Raises:
        PairJEPAError: there is neither, or the runs of the group differ in more than their seed.
    """
    if not is_seed_group(path):
        return [RunFolder(path)]
    first, *others = runs = sorted(map(RunFolder, _members(path)), key=_seed)
    for run in others:
        changed = set(first.other_settings(run.config)) - {SEED}
        if run.record["data"]["digest"] != first.record["data"]["digest"]:
            changed.add("the data")
        if changed:
            raise PairJEPAError(
                f"The runs in {path} must differ only in {SEED}, "
                f"got {first.path.name} and {run.path.name}, which differ in {', '.join(sorted(changed))}. "
                "Move runs of other settings to other folders."
            )
    seeds = [_seed(run) for run in runs]
    if len(set(seeds)) < len(seeds):
        raise PairJEPAError(
            f"The runs in {path} must each have their own {SEED}, got {', '.join(map(str, seeds))}. "
            "Remove the copies: they are no further seed."
        )
    return runs


def plan_seeds(path: Path, config: RunConfig, seeds: int) -> dict[Path, RunConfig]:
    """The run folders of `seeds` seeds from `config.training.seed` on, with their configurations.

    More seeds may join a group that is there; nothing is written.

    Raises:
        UsageError: `seeds` is less than one, or more than the recipe has.
        PairJEPAError: `path` holds a run, other files, or seeds of another configuration.
    """
    if seeds < 1:
        raise UsageError(f"--seeds must be at least 1, got {seeds}.")
    if seeds > 1 and seedless(config):
        raise UsageError(
            f"--seeds must be 1 for a closed formula, whose runs are the same for every seed, got {seeds}. "
            "Leave it out."
        )
    if (path / "run.json").is_file():
        raise PairJEPAError(
            f"--run must be a folder for a run a seed, got {path}, which is one run. Give another."
        )
    if is_seed_group(path):
        there = runs_at(path)[0]
        RunFolder.fits(there.path, _with_seed(config, _seed(there)))
    else:
        RunFolder.fits(path, config)
    first = config.training.seed
    return {path / f"seed-{seed}": _with_seed(config, seed) for seed in range(first, first + seeds)}


def free_folder(config: RunConfig, seeds: int | None) -> Path:
    """`runs/RECIPE-DATA-1`, or the next number that is free: one that holds the same training, unfinished, is too.

    Args:
        config: of the run, with absolute paths.
        seeds: how many, of a seed group.
    """
    data = Path(str(config.data.source)).name.split(".")[0]
    name = re.sub(r"[^\w-]+", "-", f"{config.recipe}-{data}").strip("-")
    paths = (Path("runs") / f"{name}-{number}" for number in count(1))
    return next(path for path in paths if not path.exists() or _goes_on(path, config, seeds))


def _goes_on(path: Path, config: RunConfig, seeds: int | None) -> bool:
    try:
        planned = {path: config} if seeds is None else plan_seeds(path, config, seeds)
        for one, wanted in planned.items():
            RunFolder.fits(one, wanted)
            if (one / "run.json").is_file() and differences(RunFolder(one).config, wanted):
                return False
    except PairJEPAError:
        return False
    return any(not (one / "summary.json").is_file() for one in planned)


def _with_seed(config: RunConfig, seed: int) -> RunConfig:
    return replace(config, training=replace(config.training, seed=seed))


def _members(path: Path) -> list[Path]:
    return [file.parent for file in path.glob("seed-*/run.json")]


def _seed(run: RunFolder) -> int:
    return run.config.training.seed
