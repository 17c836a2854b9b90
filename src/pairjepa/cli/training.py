"""From pairs to a table: inspect, train, evaluate, compare, demo."""

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Group, Parameter

from pairjepa.cli.common import (
    Device,
    EvaluatedSplit,
    Json,
    Relevance,
    Split,
    Switch,
    next_command,
    print_result,
    stdout_for_results,
)
from pairjepa.cli.flags import as_flags, given_settings, settings, with_flags
from pairjepa.config.recipes import ENCODERS, RECIPES, override, recipe
from pairjepa.config.settings import DeviceName, RunConfig
from pairjepa.evaluation import tables
from pairjepa.evaluation.compare_tables import compare_latex, compare_markdown, compare_table
from pairjepa.util.errors import UsageError
from pairjepa.util.progress import keep_lines, say

train_app = App(
    name="train",
    help="Train a recipe on pairs, or go on with an interrupted run.\n\n"
    "`pairjepa train RECIPE --help` lists every setting and its value in that recipe.",
    usage="Usage: pairjepa train RECIPE --data DATA [OPTIONS]",
    group_commands="Recipes",
)

RUN = Group("Run", sort_key=0)  # before the groups of settings

INSPECTED = [
    *settings(RunConfig(), "data", without=("data.source",)),
    replace(
        *settings(RunConfig(), "model.text"),
        help="Count the captions' tokens as this text backbone does: a Transformers folder or hub id.",
    ),
    replace(
        *settings(recipe("contrastive"), "model.image"),
        help="Image backbone of --probe: a Transformers folder or hub id.",
    ),
    replace(*settings(RunConfig(), "model.pair"), help="A pretrained pair in place of both: CLIP, SigLIP, …"),
]
EVALUATED = settings(
    recipe("adapt"),
    "data",
    "model.pair",
    "model.pair_revision",
    "model.image_views",
    "model.max_tokens",
    "model.engine",
)


@with_flags(INSPECTED)
def inspect(
    data: str,
    /,
    *,
    leaks: Path | None = None,
    probe: Switch = False,
    as_json: Json = False,
    **given: Any,
) -> None:
    """Say what is in the data: sizes, splits, captions, images that can't be read or stand in two splits.

    Args:
        data: A folder, a table, a data set id of the hub, or `shapes`.
        leaks: CSV file for the names of all near copies in several splits.
        probe: Fit CCA and ridge regression on the backbones' features: is it better to align or to predict?
    """
    chosen = {name: value for name, value in given_settings(given).items() if value is not None}
    config = override(RunConfig(), {"data.source": data, **chosen})
    config.validate()
    model = config.model
    with stdout_for_results():
        from pairjepa.apps import inspect as inspection
        from pairjepa.pairs.inspect import render

        report = inspection.inspect(config.data, model.text, pair=model.pair, leaks=leaks)
        if probe:
            from pairjepa.evaluation.without_run import probe as closed_forms

            base = recipe("adapt" if model.pair else "contrastive", {"data.source": data, **chosen})
            report["probe"] = closed_forms(base)
    if leaks is not None:
        say(f"wrote {leaks}")

    def words(report: dict[str, Any]) -> str:
        found = [tables.probe_table(report["probe"])] if probe else []
        return "\n\n".join([render(report), *found])

    print_result(report, as_json, words)
    if {"train", "dev"} <= report["splits"].keys():
        named = any(name.startswith("model.") for name in chosen)
        name = "adapt" if model.pair else "tiny" if report["generated"] and not named else "contrastive"
        next_command("train", name, "--data", data, *as_flags(chosen))


def train_command(name: str) -> Callable[..., None]:
    """The command `train NAME`."""

    def train(
        *,
        run: Annotated[
            Path | None,
            Parameter(
                help="Folder of the run: new, or one to go on with; runs/RECIPE-DATA-1 and on if not given.",
                group=RUN,
            ),
        ] = None,
        seeds: Annotated[
            int | None,
            Parameter(
                help="Train this many runs, RUN/seed-0 and on, that differ only in their seed.", group=RUN
            ),
        ] = None,
        verbose: Annotated[
            Switch, Parameter(help="Keep the line of every epoch on a terminal too, as in a log.", group=RUN)
        ] = False,
        track: Annotated[
            str | None,
            Parameter(
                help="Send the metrics to a tracker that Accelerate knows, too: tensorboard, wandb, mlflow, …",
                group=RUN,
            ),
        ] = None,
        device: Annotated[Device, Parameter(group=RUN)] = None,
        **given: Any,
    ) -> None:
        values = given_settings(given)
        if (start := values.get("training.start")) is not None:
            from pairjepa.run.folder import RunFolder

            here = os.path.abspath(os.path.expanduser(start))
            values = (
                {"model": RunFolder(Path(here)).config.to_dict()["model"]} | values | {"training.start": here}
            )
        config = recipe(name, values)
        config.validate()
        if verbose:
            keep_lines()
        first = os.environ.get("RANK", "0") == "0"  # of several processes, that one speaks
        with stdout_for_results(device):
            from pairjepa.backbones.vectors import on_vectors
            from pairjepa.pairs.folders import looked_once
            from pairjepa.training import train as training

            with looked_once():
                config = on_vectors(config, None)
                if run is None:
                    run = training.own_folder(config, seeds)
                if first:
                    _say_choices(config, values, run)
                if seeds is None:
                    training.train(config, None, run, track=track)
                else:
                    training.train_seeds(config, None, run, seeds, track=track)
        if first:
            say(f"wrote {run}")
            next_command("evaluate", str(run), "--split", "test")

    train.__doc__ = RECIPES[name].__doc__
    pair = ["model.pair"] if name.startswith("adapt") else []
    return with_flags(settings(recipe(name)), needed=("data.source", *pair))(train)


for _name in RECIPES:
    train_app.command(train_command(_name), name=_name)


def _say_choices(config: RunConfig, given: dict[str, Any], run: Path) -> None:
    """The run folder, and the encoders where the user has named none."""
    say(f"run folder: {run}")
    chosen = {setting: getattr(config.model, setting.removeprefix("model.")) for setting in ENCODERS}
    for setting, name in chosen.items():
        if not {setting, "model"} & set(given) and name == ENCODERS[setting]:
            say(f"{setting}: {name} of the Hugging Face hub (Apache-2.0); another one: --{setting}")


@with_flags(EVALUATED)
def evaluate(
    *runs: Path,
    split: EvaluatedSplit = "test",
    as_json: Json = False,
    export: Path | None = None,
    relevance: Relevance = "owner",
    hard_negatives: Path | None = None,
    device: Device = None,
    images: Path | None = None,
    ensemble: Switch = False,
    **given: Any,
) -> None:
    """Measure a run on one split: recalls both ways, with intervals, beside chance and CCA, and hard negatives.

    With --data, where the run's data are now; or other pairs, to measure it on. Without a run, --model.pair measures a
    pretrained pair as it is.

    Args:
        runs: Run folder that `pairjepa train` wrote, with or without --seeds.
        export: Folder for the split's embeddings: .npy files beside names and captions.
        hard_negatives: Measure on this file of SugarCrepe, ARO or Winoground alone.
        images: Folder of that file's images, where they are not beside it.
        ensemble: Measure all seeds, or several runs, as one model: embeddings side by side.
    """
    chosen = given_settings(given)
    if hard_negatives is not None and ensemble:
        raise UsageError(
            "--hard-negatives must be given with one run, as each is measured alone, got --ensemble. Leave one out."
        )
    if ensemble:
        _evaluate_ensemble(runs, split, as_json, export, relevance, sorted(chosen))
        return
    if len(runs) > 1:
        raise UsageError(
            f"evaluate must have one run, got {len(runs)}. Give --ensemble to measure several as one model."
        )
    run = runs[0] if runs else None
    if run is None and "model.pair" not in chosen:
        raise UsageError("evaluate must be given a run or --model.pair, got none. Name a run folder.")
    if hard_negatives is not None:
        of_pair = (
            {} if run else {name: chosen.pop(name, None) for name in ("model.pair", "model.pair_revision")}
        )
        if chosen:
            raise UsageError(
                f"--{min(chosen)} must stand without --hard-negatives. Leave one of the two out."
            )
        _evaluate_file(run, of_pair, hard_negatives, images, as_json, device)
        return
    if "data.source" not in chosen and (run is None or chosen):
        raise UsageError(
            "--data must be given with --model.pair and the settings of data, got none. Name the pairs."
        )
    data = {name: value for name, value in chosen.items() if name.startswith("data.")}
    if run is not None and (others := sorted(chosen.keys() - data.keys())):
        raise UsageError(f"--{others[0]} must stand without a run, got {run}. Leave one of the two out.")
    with stdout_for_results(device):
        if run is None:
            from pairjepa.evaluation.without_run import evaluate_pair

            config = recipe("adapt", chosen)
            result = evaluate_pair(config, split, export=export, relevance=relevance)
        else:
            from pairjepa.evaluation import evaluate as evaluation

            where = override(RunConfig(), data).data if len(data) > 1 else data.get("data.source")
            result = evaluation.evaluate(run, split, export=export, relevance=relevance, data=where)
    name = str(run or chosen["model.pair"])
    print_result(result, as_json, partial(_table, Path(name).name))
    exported = [str(export)] if export else []
    if run is None:
        if exported:
            say(f"wrote {export}")
        next_command("train", "adapt", *as_flags(chosen), "--run", "runs/adapt")
        return
    folder = run / "seed-*" if "seeds" in result else run
    first = result.get("seeds", [result])[0]
    other = first["data"]["other"]
    parts = ("evaluation", "embeddings", *(() if other else ("illustrations",)))
    say(f"wrote {', '.join([*(str(folder / part) for part in parts), *exported])}")
    if split not in ("test", "all"):
        next_command("evaluate", str(run), *as_flags(data), "--split", "test")
    elif not other:
        next_command("report", str(run), "--out", "report.html")
    elif "pretrained" in first["baselines"]:
        next_command("compare", str(run))  # gained on its own pairs, lost on these


def _evaluate_ensemble(
    runs: tuple[Path, ...],
    split: str,
    as_json: bool,
    export: Path | None,
    relevance: Relevance,
    others: list[str],
) -> None:
    if others:
        raise UsageError(f"--{others[0]} must be left out beside --ensemble: the runs name their pairs.")
    with stdout_for_results():
        from pairjepa.evaluation.ensemble import evaluate_ensemble

        result = evaluate_ensemble(runs, split, export=export, relevance=relevance)
    print_result(result, as_json, partial(_table, "ensemble"))
    if export:
        say(f"wrote {export}")
    next_command("compare", *map(str, runs), "--split", split)


def compare(
    *runs: Path,
    split: Split = "test",
    relevance: Relevance = "owner",
    as_json: Json = False,
    markdown: Switch = False,
    latex: Switch = False,
) -> None:
    """Say which run is better on the same images, with paired intervals, and what each has cost.

    Args:
        runs: Run folders, evaluated on the split; the first is the baseline.
        markdown: Print Markdown tables, for a paper.
        latex: Print a LaTeX table, for a paper.
    """
    if as_json + markdown + latex > 1:
        raise UsageError("The output must be one of --json, --markdown and --latex, got several. Give one.")
    with stdout_for_results():
        from pairjepa.evaluation import compare as comparison

        result = comparison.compare(runs, split, relevance)
    print_result(result, as_json, compare_markdown if markdown else compare_latex if latex else compare_table)
    same = [*map(str, runs), *(["--relevance", relevance] if relevance != "owner" else [])]
    if split != "test":
        next_command("compare", *same, "--split", "test")
    elif not markdown and not latex:
        next_command("compare", *same, "--markdown")


def demo(*, run: Path = Path("runs/demo")) -> None:
    """Do the whole job offline, in minutes: draw pairs, train both approaches, compare them; adapt a small CLIP.

    Args:
        run: Folder of the demo's runs.
    """
    with stdout_for_results():
        from pairjepa.apps.demo import demo

        runs, text = demo(run)
    print(f"\n{text}\n")
    say(f"wrote {' and '.join(map(str, runs))}")
    if shutil.which("pairjepa") is None:
        say(f"The command pairjepa is in {Path(sys.executable).parent}, which is not on your PATH.")
    say("With your own images and captions, and backbones that you choose:")
    next_command("inspect", then="DATA")
    next_command("train", "adapt", then="--data DATA --model.pair openai/clip-vit-base-patch32")
    next_command("train", "contrastive", then="--data DATA")


def _evaluate_file(
    run: Path | None,
    pair: Mapping[str, Any],
    file: Path,
    images: Path | None,
    as_json: bool,
    device: DeviceName | None,
) -> None:
    """`evaluate --hard-negatives`, for each run of a seed group, or of a pretrained pair."""
    with stdout_for_results(device):
        from pairjepa.evaluation.benchmark_files import evaluate_file
        from pairjepa.run.seeds import runs_at

        if run is None:
            results = [evaluate_file(pair["model.pair"], file, images, pair["model.pair_revision"])]
        else:
            results = [evaluate_file(one, file, images) for one in runs_at(run)]
    one_or_more = results[0] if len(results) == 1 else {"seeds": results}
    measured = [result["hard_negatives"] for result in results]
    print_result(one_or_more, as_json, lambda _: tables.hard_negatives_table(measured))
    if run is not None:
        say(f"wrote {', '.join(result['run'] + '/hard-negatives' for result in results)}")


def _table(name: str, result: dict[str, Any]) -> str:
    """What `evaluate` says, in plain text: tables and notes."""
    if "seeds" not in result:
        shown, seeds, notes = [tables.table({name: result})], [result], result["notes"]
    else:
        shown, seeds = [tables.seeds_table(result)], result["seeds"]
        notes = [note for note in seeds[0]["notes"] if all(note in seed["notes"] for seed in seeds)]
        own = [(seed["seed"], note) for seed in seeds for note in seed["notes"] if note not in notes]
        notes += [f"seed {seed}: {note}" for seed, note in own]
    if all("partial" in seed for seed in seeds):
        shown.append(tables.partial_table([seed["partial"] for seed in seeds]))
    if all(seed.get("hard_negatives") for seed in seeds):  # an ensemble has none
        shown.append(tables.hard_negatives_table([seed["hard_negatives"] for seed in seeds]))
    return "\n\n".join([*shown, *notes])
