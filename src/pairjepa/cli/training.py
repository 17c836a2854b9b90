"""From pairs to a table: inspect, train, evaluate, compare, demo."""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Group, Parameter

from pairjepa.cli.common import Json, next_command, print_json, stdout_for_results
from pairjepa.cli.flags import given_settings, settings, with_flags
from pairjepa.config.recipes import RECIPES, override, recipe
from pairjepa.config.settings import RunConfig
from pairjepa.util.errors import UsageError
from pairjepa.util.progress import say

BACKBONES = {"adapt": ("model.pair",)}
"""What a recipe is trained on, where it is not `model.image` and `model.text`; the user must give it."""

train_app = App(
    name="train",
    help="Train a recipe on pairs, or go on with an interrupted run.\n\n"
    "`pairjepa train RECIPE --help` lists every setting and its value in that recipe.",
    usage="Usage: pairjepa train RECIPE --data DATA --run FOLDER [OPTIONS]",
    group_commands="Recipes",
)

RUN = Group("Run", sort_key=0)  # before the groups of settings


def add(app: App) -> None:
    """Give these verbs to the command line."""
    pairs = [s for s in settings(RunConfig()) if s.section == "data" and s.name != "data.source"]
    words = "Count the captions' tokens as this text backbone does: a Transformers folder or hub id."
    tokens = [replace(s, help=words) for s in settings(RunConfig()) if s.name == "model.text"]
    app.command(with_flags(inspect, pairs + tokens))
    for name in RECIPES:
        train_app.command(train_command(name), name=name)
    app.command(train_app)
    app.command(evaluate, usage="Usage: pairjepa evaluate RUN [OPTIONS]")
    app.command(compare, usage="Usage: pairjepa compare RUN RUN... [OPTIONS]")
    app.command(demo)


def inspect(
    data: Annotated[str, Parameter(help="A folder, a table, a data set id of the hub, or `shapes`.")],
    /,
    *,
    as_json: Json = False,
    **given: Any,
) -> None:
    """Say what is in the data: sizes, splits, captions, images that can't be read or stand in two splits."""
    config = override(RunConfig(), {"data.source": data, **given_settings(given)})
    config.validate()
    with stdout_for_results():
        from pairjepa.apps import inspect as inspection

        report = inspection.inspect(config.data, config.model.text)
    if as_json:
        print_json(report)
    else:
        from pairjepa.pairs.inspect import render

        print(render(report))
    rest = "--model.image IMG --model.text TXT --run runs/contrastive"
    next_command("train", "contrastive", "--data", data, then=rest)


def train_command(name: str) -> Callable[..., None]:
    """The command `train NAME`."""

    def train(
        *,
        run: Annotated[Path, Parameter(help="Folder of the run: new, or one to go on with.", group=RUN)],
        seeds: Annotated[
            int | None,
            Parameter(
                help="Train this many runs, RUN/seed-0 and on, that differ only in their seed.", group=RUN
            ),
        ] = None,
        track: Annotated[
            str | None,
            Parameter(
                help="Send the metrics to a tracker that Accelerate knows, too: tensorboard, wandb, mlflow, …",
                group=RUN,
            ),
        ] = None,
        **given: Any,
    ) -> None:
        config = recipe(name, given_settings(given))
        config.validate()
        with stdout_for_results():
            from pairjepa.training import train as training

            if seeds is None:
                training.train(config, None, run, track=track)
            else:
                training.train_seeds(config, None, run, seeds, track=track)
        if os.environ.get("RANK", "0") == "0":  # of several processes, that one speaks
            say(f"wrote {run}")
            next_command("evaluate", str(run), "--split", "test")

    train.__doc__ = RECIPES[name].__doc__
    backbones = BACKBONES.get(name, ("model.image", "model.text"))
    return with_flags(train, settings(recipe(name)), needed=("data.source", *backbones))


def evaluate(
    *runs: Annotated[
        Path, Parameter(help="Run folder that `pairjepa train` wrote, with or without --seeds.")
    ],
    split: Annotated[str, Parameter(help="dev to choose by, test to report, or train.")] = "test",
    as_json: Json = False,
    export: Annotated[
        Path | None,
        Parameter(help="Folder for the split's embeddings: .npy files beside names and captions."),
    ] = None,
    relevance: Annotated[
        Literal["owner", "text"],
        Parameter(help="owner: an image's own captions are right; text: any caption with the same words is."),
    ] = "owner",
    data: Annotated[
        str | None,
        Parameter(help="Where the run's data are now, if they have moved; or other pairs, to measure it on."),
    ] = None,
    ensemble: Annotated[
        bool,
        Parameter(
            negative=(),
            show_default=False,
            help="Measure all seeds, or several runs, as one model: embeddings side by side.",
        ),
    ] = False,
) -> None:
    """Measure a run on one split: recalls both ways, with intervals, beside chance and CCA."""
    if ensemble:
        _evaluate_ensemble(runs, split, as_json, export, relevance, data)
        return
    if len(runs) != 1:
        raise UsageError(
            f"evaluate must have one run, got {len(runs)}. Give --ensemble to measure several as one model."
        )
    run = runs[0]
    with stdout_for_results():
        from pairjepa.evaluation import evaluate as evaluation

        result = evaluation.evaluate(run, split, export=export, relevance=relevance, data=data)
    if as_json:
        print_json(result)
    else:
        _print_table(run, result)
    folders = [Path(seed["run"]) for seed in result["seeds"]] if "seeds" in result else [run]
    other = result.get("seeds", [result])[0]["data"]["other"]
    parts = ("evaluation", "embeddings", *(() if other else ("illustrations",)))
    written = [one / part for one in folders for part in parts]
    say(f"wrote {', '.join(map(str, [*written, *([export] if export else [])]))}")
    if split == "test":
        next_command("report", str(run), "--out", "report.html")
    else:
        next_command("evaluate", str(run), "--split", "test")


def _evaluate_ensemble(
    runs: tuple[Path, ...],
    split: str,
    as_json: bool,
    export: Path | None,
    relevance: Literal["owner", "text"],
    data: str | None,
) -> None:
    if data is not None:
        raise UsageError(f"--data must be left out beside --ensemble, got {data}.")
    with stdout_for_results():
        from pairjepa.evaluation.ensemble import evaluate_ensemble

        result = evaluate_ensemble(runs, split, export=export, relevance=relevance)
    if as_json:
        print_json(result)
    else:
        _print_table(Path("ensemble"), result)
    if export:
        say(f"wrote {export}")
    next_command("compare", *map(str, runs), "--split", split)


def compare(
    *runs: Annotated[Path, Parameter(help="Run folders, evaluated on the split; the first is the baseline.")],
    split: Annotated[str, Parameter(help="dev to choose by, test to report, or train.")] = "test",
    relevance: Annotated[
        Literal["owner", "text"],
        Parameter(help="owner: an image's own captions are right; text: any caption with the same words is."),
    ] = "owner",
    as_json: Json = False,
    markdown: Annotated[
        bool,
        Parameter(
            name="--markdown", negative=(), show_default=False, help="Print Markdown tables, for a paper."
        ),
    ] = False,
) -> None:
    """Say which run is better on the same images, with paired intervals, and what each has cost."""
    if as_json and markdown:
        raise UsageError("The output must be one of --json and --markdown, got both. Leave one out.")
    with stdout_for_results():
        from pairjepa.evaluation import compare as comparison

        result = comparison.compare(runs, split, relevance)
    if as_json:
        print_json(result)
    else:
        from pairjepa.evaluation.compare_tables import compare_markdown, compare_table

        print(compare_markdown(result) if markdown else compare_table(result))
    same = [*map(str, runs), *(["--relevance", relevance] if relevance != "owner" else [])]
    if split != "test":
        next_command("compare", *same, "--split", "test")
    elif not markdown:
        next_command("compare", *same, "--markdown")


def demo(
    *, run: Annotated[Path, Parameter(help="Folder of the demo's two runs.")] = Path("runs/demo")
) -> None:
    """Do the whole job offline, in minutes: draw pairs, train both approaches from nothing, compare them."""
    with stdout_for_results():
        from pairjepa.apps.demo import demo

        runs, text = demo(run)
    print(f"\n{text}\n")
    say(f"wrote {' and '.join(map(str, runs))}")
    if shutil.which("pairjepa") is None:
        say(f"The command pairjepa is in {Path(sys.executable).parent}, which is not on your PATH.")
    say("With your own images and captions, and backbones that you choose:")
    next_command("inspect", then="DATA")
    flags = "--data DATA --model.image IMG --model.text TXT --run runs/contrastive"
    next_command("train", "contrastive", then=flags)


def _print_table(run: Path, result: dict[str, Any]) -> None:
    if "seeds" not in result:
        from pairjepa.evaluation.tables import table

        print(table({run.name: result}))
        notes = result["notes"]
    else:
        from pairjepa.evaluation.tables import seeds_table

        print(seeds_table(result))
        notes = [f"seed {seed['seed']}: {note}" for seed in result["seeds"] for note in seed["notes"]]
    seeds = result.get("seeds", [result])
    if all("partial" in seed for seed in seeds):
        from pairjepa.evaluation.tables import partial_table

        print("\n" + partial_table([seed["partial"] for seed in seeds]))
    for note in notes:
        print(f"\n{note}")
