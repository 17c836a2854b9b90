"""The verb compare: runs beside each other, from what `evaluate` left in their folders. No model is loaded."""

import shlex
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pairjepa.config.settings import DataConfig, seedless
from pairjepa.evaluation.embedding_set import EmbeddingSet
from pairjepa.evaluation.stored import read_evaluation, read_twins
from pairjepa.evaluation.tables import baselines
from pairjepa.metrics.bootstrap import CONFIDENCE, DRAWS
from pairjepa.metrics.compare_ranks import compare_ranks, verdict
from pairjepa.metrics.hard_negatives import ALL, compare_hard_negatives
from pairjepa.metrics.relevance import Relevance
from pairjepa.metrics.retrieval import RetrievalRanks, retrieve
from pairjepa.model import correction
from pairjepa.run.folder import RunFolder
from pairjepa.run.seeds import runs_at
from pairjepa.util.errors import PairJEPAError, UsageError, unknown
from pairjepa.util.progress import say
from pairjepa.util.words import counted

BOOTSTRAP_SEED = 0


def compare(
    runs: Sequence[str | Path], split: str = "test", relevance: Literal["owner", "text"] = "owner"
) -> dict[str, Any]:
    """Compare runs with the first of them on the images of one split, and on other pairs, JSON-ready.

    Args:
        runs: two or more run folders or seed groups, each evaluated on the split; or one that began as
            a pretrained pair.
        split: train, dev or test.
        relevance: `owner` counts an image's own captions, `text` every caption with the same words.

    Returns:
        What `evaluation.compare_ranks` gives, with what was measured, each run's `cost`, the `baselines`, and
        the `gains` on own and on other pairs (`docs/evaluation.md`).

    Raises:
        UsageError: there are fewer than two runs, or `relevance` is unknown.
        PairJEPAError: a run is not there or not evaluated, or the runs were evaluated on other images.
    """
    if not runs or (len(runs) == 1 and runs_at(Path(runs[0]))[0].config.model.pair is None):
        raise UsageError(f"compare must have at least two runs, got {len(runs)}. Name the baseline first.")
    if relevance not in ("owner", "text"):
        raise unknown("relevance", relevance, ("owner", "text"))
    groups = evaluated(runs, split)
    first = next(iter(groups.values()))[0].embeddings
    _warn(groups, split)
    result = _paired(groups, relevance)
    result["gains"] = _gains(runs, groups, split, relevance, result)
    for name, group in groups.items():
        result["runs"][name]["cost"] = _cost(group)
    result["baselines"] = _baselines(groups, "" if relevance == "owner" else f"-{relevance}")
    result["corrected"] = _corrected(groups, _relevance(first, relevance))
    result["hard_negatives"] = _hard_negatives(groups, split, first.owner)
    if hard := result["hard_negatives"]:
        for name, gaps in hard["differences"].items():
            if gaps[ALL]["ci"] is None:
                continue
            seeds = {one: result["runs"][one]["seeds"] for one in (name, result["baseline"])}
            result["verdict"][name] += f" On hard negatives: {verdict(gaps[ALL], seeds, 'points')}"
    measured = {"split": first.split, "images": len(first.names), "captions": len(first.captions)}
    bootstrap = {"unit": "image", "draws": DRAWS, "seed": BOOTSTRAP_SEED, "confidence": CONFIDENCE}
    return measured | {"relevance": relevance} | result | {"bootstrap": bootstrap}


def _paired(groups: "dict[str, list[Evaluated]]", relevance: str) -> dict[str, Any]:
    first = next(iter(groups.values()))[0].embeddings
    right = _relevance(first, relevance)
    sides: dict[str, list[RetrievalRanks]] = {
        name: [retrieve(one.embeddings.image, one.embeddings.text, first.owner, right) for one in group]
        for name, group in groups.items()
    }
    return compare_ranks(sides, seedless=_seedless(groups), draws=DRAWS, seed=BOOTSTRAP_SEED)


def _seedless(groups: "dict[str, list[Evaluated]]") -> set[str]:
    return {name for name, (one, *_) in groups.items() if seedless(one.run.config)}


def _gains(
    runs: Sequence[str | Path],
    groups: "dict[str, list[Evaluated]]",
    split: str,
    relevance: str,
    result: dict[str, Any],
) -> dict[str, dict[str, dict[str, Any]]]:
    """What was gained on the own pairs, and gained or lost on others: row → pairs → `difference` in rsum and its `ci`.

    The rows are run minus baseline, and run minus the pretrained pair that it began as; the pairs are `own`, and those
    that all runs were evaluated on beside them.
    """
    every = [one for group in groups.values() for one in group]
    others = set.intersection(
        *({p.name for p in one.run.path.glob(f"embeddings/{split}-on-*")} for one in every)
    )
    here = next((one.kind for one in every if one.other), split)
    others.discard(here)
    gains: dict[str, dict[str, dict[str, Any]]] = {}
    for kind in (here, *sorted(others)):
        where = "own" if kind == split else kind
        if len(groups) > 1:
            differences = result["differences"]
            if kind != here:
                differences = _paired(evaluated(runs, kind), relevance)["differences"]
            for name, found in differences.items():
                row = gains.setdefault(f"{name} − {result['baseline']}", {})
                row[where] = {key: found["rsum"][key] for key in ("difference", "ci")}
        for name, group in groups.items():
            run, of = group[0].run, group[0].kind if kind == here else kind
            stem = of if relevance == "owner" else f"{of}-{relevance}"
            measured = (run.path / "evaluation" / f"{stem}.json").is_file()
            if len(group) > 1 or run.config.model.pair is None or not measured:
                continue
            evaluation = read_evaluation(run, stem, run.weights, f"pairjepa evaluate {run.path}")
            if gain := evaluation.get("beats_pretrained"):
                row = gains.setdefault(f"{name} − pretrained", {})
                row[where] = {"difference": gain["rsum_difference"], "ci": gain["ci"]}
    return gains if others or any("− pretrained" in row for row in gains) else {}


@dataclass(frozen=True)
class Evaluated:
    """A run and what `evaluate` left of one split."""

    run: RunFolder
    embeddings: EmbeddingSet
    command: str
    """Evaluates the run, or its seed group, again."""

    @property
    def kind(self) -> str:
        """What the files of this evaluation are called: the split, or `SPLIT-on-DIGEST` of other pairs."""
        return self.embeddings.split

    @property
    def other(self) -> bool:
        """Whether the run was trained on other pairs than those that are measured."""
        return "-on-" in self.kind


def evaluated(runs: Sequence[str | Path], split: str) -> dict[str, list[Evaluated]]:
    """Name → the run at each path, or the seeds of the group there, all of the same images and captions.

    Runs that were trained on different pairs are taken as they were all measured on the pairs of the first, or on
    other pairs, if they were.

    Raises:
        PairJEPAError: a run is not there or not evaluated, or the runs were evaluated on other images.
    """
    folders = {name: runs_at(path) for name, path in _names(runs).items()}
    every = [run for group in folders.values() for run in group]
    given = dict(zip(folders, map(str, runs), strict=True))
    common = set.intersection(*(_measured(run, split) for run in every))
    if not common or not any(_differ(every[0], run) for run in every):
        return _all_on(None, folders, given, split)
    if (there := _on(every[0], split)) in common:
        return _all_on(there, folders, given, split)
    try:
        return _all_on(None, folders, given, split)
    except PairJEPAError:
        return _all_on(min(common), folders, given, split)


def _all_on(
    there: str | None, folders: dict[str, list[RunFolder]], given: dict[str, str], split: str
) -> dict[str, list[Evaluated]]:
    """All runs on the pairs `there` (see `_on`), or each on its own.

    Raises:
        PairJEPAError: as `evaluated`.
    """
    groups: dict[str, list[Evaluated]] = {}
    for name, group in folders.items():
        command = shlex.join(["pairjepa", "evaluate", given[name], "--split", split])
        groups[name] = []
        for run in group:
            kind = split if there in (None, _on(run, split)) else str(there)
            groups[name].append(Evaluated(run, _embeddings(run, kind, command), command))
    first = next(iter(groups.values()))[0]
    for name, ones in groups.items():
        for one in ones:
            mend = f"Evaluate both on the same pairs: {one.command}."
            if _differ(first.run, one.run):
                mend = _mend(first.run, one.run, given[name], split)
            _check_same(first.embeddings, one.embeddings, mend)
    return groups


def _on(run: RunFolder, split: str) -> str:
    """What an evaluation of other runs on this one's pairs is called."""
    return f"{split}-on-{run.record['data']['digest'][:8]}"


def _measured(run: RunFolder, split: str) -> set[str]:
    """The pairs that a run was measured on, as `_on` has them."""
    own = {_on(run, split)} if (run.path / "embeddings" / split).is_dir() else set()
    return own | {path.name for path in run.path.glob(f"embeddings/{split}-on-*")}


def _mend(first: RunFolder, run: RunFolder, given: str, split: str) -> str:
    """What to do where two runs were trained and measured on different pairs."""
    said = f"{run.path} was trained on {_source(run)}, {first.path} on {_source(first)}"
    if seen := _seen(first, run, split):
        return (
            f"{said}, and {counted(seen, 'image')} of the latter's {split} split taught the former. Measure both on "
            f"pairs that are new to both: pairjepa evaluate RUN --data OTHER --split {split}."
        )
    words = ["pairjepa", "evaluate", given, *_flags(first.config.data), "--split", split]
    return f"{said}. Measure both on the latter: {shlex.join(words)}."


def _seen(measured: RunFolder, run: RunFolder, split: str) -> int:
    """Images of the split of one run that are training images of another one."""
    if not (measured.pairs_file.is_file() and run.pairs_file.is_file()):
        return 0
    import pyarrow.compute as pc

    from pairjepa.util.tables import cached_table

    images = []
    for one, part in ((measured, split), (run, "train")):
        if (table := cached_table(one.pairs_file)) is None:
            return 0
        images.append(set(table.filter(pc.equal(table["split"], part))["image"].to_pylist()))
    return len(set.intersection(*images))


def _differ(one: RunFolder, other: RunFolder) -> bool:
    """Whether two runs were trained on different pairs."""
    return bool(one.record["data"]["digest"] != other.record["data"]["digest"])


def _source(run: RunFolder) -> str:
    return run.config.data.source or "pairs that were given in Python"


def _flags(data: DataConfig) -> list[str]:
    """The pairs as flags of `pairjepa evaluate`."""
    words = ["--data", data.source or "DATA"]
    for field in fields(data):
        value = getattr(data, field.name)
        if field.name != "source" and value != field.default:
            values = () if value is True else value if isinstance(value, tuple) else (value,)
            words += [f"--data.{field.name.replace('_', '-')}", *map(str, values)]
    return words


def _hard_negatives(
    groups: dict[str, list[Evaluated]], split: str, owner: np.ndarray
) -> dict[str, Any] | None:
    """What `compare_hard_negatives` says; None where not all runs were measured on the same twins."""
    twins = {
        name: [read_twins(one.run, split, one.embeddings.run) for one in group]
        for name, group in groups.items()
    }
    every = [
        [(twin["caption"], twin["kind"], twin["text"]) for twin in of]
        for some in twins.values()
        for of in some
    ]
    if not every[0] or any(of != every[0] for of in every):
        return None
    constant = _seedless(groups)
    margins = {
        name: [np.array([twin["margin"] for twin in of]) for of in some] * (2 if name in constant else 1)
        for name, some in twins.items()
    }
    rows, kinds, _ = zip(*every[0], strict=True)
    return compare_hard_negatives(margins, kinds, owner[list(rows)])


def _names(runs: Sequence[str | Path]) -> dict[str, Path]:
    """A name for each run: its folder's, or the whole path where two folders have the same; numbered if it is twice."""
    paths = [Path(run) for run in runs]
    short = [path.absolute().name for path in paths]
    names = short if len(set(short)) == len(set(paths)) else [str(path) for path in paths]
    seen: Counter[str] = Counter()
    named = {}
    for name, path in zip(names, paths, strict=True):
        seen[name] += 1
        named[name if seen[name] == 1 else f"{name} ({seen[name]})"] = path
    return named


def _embeddings(run: RunFolder, split: str, command: str) -> EmbeddingSet:
    folder = run.path / "embeddings" / split
    if not folder.is_dir():
        raise PairJEPAError(f"{run.path} has not been evaluated on the {split} split. Do it with: {command}.")
    found = EmbeddingSet.load(folder, mmap=True)
    if found.split != split:
        raise PairJEPAError(
            f"{folder} must be of the {split} split, got {found.split}. Do it again: {command}."
        )
    if run.model_file.is_file() and run.weights != found.run:
        raise PairJEPAError(
            f"{folder} must be of the model that {run.path} holds, got that of another epoch or training. "
            f"Evaluate it again: {command}."
        )
    return found


def _baselines(groups: dict[str, list[Evaluated]], ending: str) -> dict[str, Any]:
    """Chance, CCA and pretrained pairs by name, as `evaluate` left them; the seeds of a group have the same."""
    found = {}
    for name, (one, *_) in groups.items():
        if (one.run.path / "evaluation" / f"{one.kind}{ending}.json").is_file():
            found[name] = read_evaluation(one.run, one.kind + ending, one.embeddings.run, one.command)
    return dict(baselines(found))


def _corrected(groups: dict[str, list[Evaluated]], relevance: Relevance) -> dict[str, Any] | None:
    """The comparison by scores with hubness correction; None where a run has none for what it was evaluated with."""
    sides: dict[str, list[RetrievalRanks]] = {}
    for name, group in groups.items():
        sides[name] = []
        for one in group:
            found = one.embeddings
            kept = None if one.other else correction.load(one.run.path, found.run)
            if kept is None:
                return None
            sides[name].append(kept.ranks(found.image, found.text, found.owner, relevance))
    return compare_ranks(sides, seedless=_seedless(groups), draws=DRAWS, seed=BOOTSTRAP_SEED)


def _relevance(found: EmbeddingSet, kind: str) -> Relevance:
    if kind == "text":
        return Relevance.by_text(found.owner, found.captions, len(found.names))
    return Relevance.by_owner(found.owner, len(found.names))


def _check_same(first: EmbeddingSet, other: EmbeddingSet, mend: str) -> None:
    """Raise `PairJEPAError` if the two are not of the same images and captions in the same order."""
    moved = len(first.owner) == len(other.owner) and int((first.owner != other.owner).sum())
    found = (
        _difference("images", first.names, other.names)
        or _difference("captions", first.captions, other.captions)
        or (f"{moved:,} of {len(first.owner):,} captions that belong to another image" if moved else None)
    )
    if found is not None:
        raise PairJEPAError(
            f"{other.origin} must hold the same images and captions as {first.origin}, got {found}. {mend}"
        )


def _difference(what: str, first: Sequence[str], other: Sequence[str]) -> str | None:
    if list(first) == list(other):
        return None
    missing, more = Counter(first) - Counter(other), Counter(other) - Counter(first)
    if not missing and not more:
        moved = sum(a != b for a, b in zip(first, other, strict=True))
        return f"the same {len(first):,} {what} in another order ({moved:,} in another place)"
    counts = [
        f"{rows.total():,} {word} (such as {next(iter(rows))!r})"
        for word, rows in (("missing", missing), ("more", more))
        if rows
    ]
    return f"{len(other):,} {what} for {len(first):,}: {' and '.join(counts)}"


def _warn(groups: dict[str, list[Evaluated]], split: str) -> None:
    baseline = next(iter(groups.values()))[0].run
    for name, group in groups.items():
        for run in (one.run for one in group):
            if run.summary is None:
                say(f"warning: the training of {run.path} is not complete; this is the best epoch so far.")
        if _differ(group[0].run, baseline):
            say(
                f"warning: {name} was trained on {_source(group[0].run)}, {baseline.path} on {_source(baseline)}: "
                "the difference may be theirs."
            )
            if not groups[next(iter(groups))][0].other and (seen := _seen(baseline, group[0].run, split)):
                say(f"warning: {counted(seen, 'image')} of those that are measured taught {name}.")


def _cost(group: Sequence[Evaluated]) -> dict[str, float | int | None]:
    """Mean seconds of a seed's training, trained parameters, highest memory; `None` where no run tells."""
    costs = [(one.run.summary or {}).get("cost") or {} for one in group]
    seconds, parameters, memory = (
        [cost[key] for cost in costs if cost.get(key) is not None]
        for key in ("training_seconds", "trained_parameters", "peak_rss_bytes")
    )
    return {
        "training_seconds": statistics.fmean(seconds) if seconds else None,
        "trained_parameters": max(parameters, default=None),
        "peak_rss_bytes": max(memory, default=None),
    }
