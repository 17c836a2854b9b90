"""The command line: parse, one call, print.

Results go to stdout, everything else to stderr. Exit status: 0 done, 1 failed, 2 usage, 130 interrupted.
"""

import contextlib
import io
import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Group, Parameter, UnknownCommandError

import pairjepa
from pairjepa.config import RunConfig
from pairjepa.errors import PairJEPAError, UsageError, unknown
from pairjepa.flags import given_settings, settings, with_flags
from pairjepa.progress import say
from pairjepa.recipes import RECIPES, override, recipe

NEEDED = ("data.source", "model.image", "model.text")
"""What `train` cannot do without, and the user must give where the recipe leaves it open."""

app = App(
    name="pairjepa",
    help="Joint predictive embeddings of images and captions: look at the pairs, train, evaluate, compare.",
    version=pairjepa.__version__,
    help_format="plaintext",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
train_app = App(
    name="train",
    help="Train a recipe on pairs, or go on with an interrupted run.\n\n"
    "`pairjepa train RECIPE --help` lists every setting and its value in that recipe.",
    usage="Usage: pairjepa train RECIPE --data DATA --run FOLDER [OPTIONS]",
    group_commands="Recipes",
)

RUN = Group("Run", sort_key=0)  # before the groups of settings
Json = Annotated[
    bool,
    Parameter(name="--json", negative=(), show_default=False, help="Print one JSON object and nothing else."),
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; the arguments are those of the process if not given."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A caption that a terminal can't show is no failure.
            stream.reconfigure(errors="backslashreplace")
    try:
        app(arguments, exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except UnknownCommandError as error:
        return _failed(_unknown_command(error), 2)
    except (CycloptsError, UsageError) as error:
        return _failed(str(error), 2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains as it ends
        return 1
    except (PairJEPAError, OSError) as error:
        return _failed(str(error), 1)
    except KeyboardInterrupt:
        say("interrupted; run the same command again to go on")
        return 130
    return 0


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
    with _stdout_for_results():
        from pairjepa import workflow

        report = workflow.inspect(config.data, config.model.text)
    if as_json:
        _print_json(report)
    else:
        from pairjepa.pairs.inspect import render

        print(render(report))
    rest = "--model.image IMG --model.text TXT --run runs/contrastive"
    _next("train", "contrastive", "--data", data, then=rest)


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
        **given: Any,
    ) -> None:
        config = recipe(name, given_settings(given))
        config.validate()
        with _stdout_for_results():
            from pairjepa import workflow

            if seeds is None:
                workflow.train(config, None, run)
            else:
                workflow.train_seeds(config, None, run, seeds)
        say(f"wrote {run}")
        _next("evaluate", str(run), "--split", "test")

    train.__doc__ = RECIPES[name].__doc__
    return with_flags(train, settings(recipe(name)), needed=NEEDED)


def evaluate(
    run: Annotated[Path, Parameter(help="Run folder that `pairjepa train` wrote, with or without --seeds.")],
    /,
    *,
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
) -> None:
    """Measure a run on one split: recalls both ways, with intervals, beside chance and CCA."""
    with _stdout_for_results():
        from pairjepa import workflow

        result = workflow.evaluate(run, split, export=export, relevance=relevance)
    if as_json:
        _print_json(result)
    else:
        _print_table(run, result)
    runs = [Path(seed["run"]) for seed in result["seeds"]] if "seeds" in result else [run]
    written = [one / part for one in runs for part in ("evaluation", "embeddings")]
    say(f"wrote {', '.join(map(str, [*written, *([export] if export else [])]))}")
    _next("evaluate", str(run), "--split", "test", then="--export FOLDER" if split == "test" else "")


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
    with _stdout_for_results():
        from pairjepa import comparison

        result = comparison.compare(runs, split, relevance)
    if as_json:
        _print_json(result)
    else:
        from pairjepa.evaluation import compare_markdown, compare_table

        print(compare_markdown(result) if markdown else compare_table(result))
    same = [*map(str, runs), *(["--relevance", relevance] if relevance != "owner" else [])]
    if split != "test":
        _next("compare", *same, "--split", "test")
    elif not markdown:
        _next("compare", *same, "--markdown")


def demo(
    *, run: Annotated[Path, Parameter(help="Folder of the demo's two runs.")] = Path("runs/demo")
) -> None:
    """Do the whole job offline, in minutes: draw pairs, train both approaches from nothing, compare them."""
    with _stdout_for_results():
        from pairjepa.demo import demo

        runs, text = demo(run)
    print(f"\n{text}\n")
    say(f"wrote {' and '.join(map(str, runs))}")
    if shutil.which("pairjepa") is None:
        say(f"The command pairjepa is in {Path(sys.executable).parent}, which is not on your PATH.")
    say("With your own images and captions, and backbones that you choose:")
    _next("inspect", then="DATA")
    flags = "--data DATA --model.image IMG --model.text TXT --run runs/contrastive"
    _next("train", "contrastive", then=flags)


@contextlib.contextmanager
def _stdout_for_results() -> Iterator[None]:
    """What a library prints while it works goes to stderr, so that stdout holds the result alone."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _print_json(result: dict[str, Any]) -> None:
    print(json.dumps(result, indent=2, allow_nan=False))


def _print_table(run: Path, result: dict[str, Any]) -> None:
    if "seeds" not in result:
        from pairjepa.evaluation import table

        print(table({run.name: result}))
        notes = result["notes"]
    else:
        from pairjepa.evaluation import seeds_table

        print(seeds_table(result))
        notes = [f"seed {seed['seed']}: {note}" for seed in result["seeds"] for note in seed["notes"]]
    seeds = result.get("seeds", [result])
    if all("partial" in seed for seed in seeds):
        from pairjepa.evaluation.partial import partial_table

        print("\n" + partial_table([seed["partial"] for seed in seeds]))
    for note in notes:
        print(f"\n{note}")


def _next(*words: str, then: str = "") -> None:
    say(f"next: {shlex.join(['pairjepa', *words])} {then}".rstrip())


def _failed(message: str, status: int) -> int:
    say(f"error: {message}")
    return status


def _unknown_command(error: UnknownCommandError) -> str:
    """Say `recipe` where one is missing; cyclopts says `command`."""
    word = (error.unused_tokens or [""])[0]
    if error.app is None or error.app.name != train_app.name:
        return str(error)
    if word.startswith("-"):
        return f"The recipe must come first, got {word!r}. Known: {', '.join(RECIPES)}."
    return str(unknown("recipe", word, RECIPES))


_pairs = [s for s in settings(RunConfig()) if s.section == "data" and s.name != "data.source"]
_tokens = [
    replace(s, help="Count the captions' tokens as this text backbone does: a Transformers folder or hub id.")
    for s in settings(RunConfig())
    if s.name == "model.text"
]
app.command(with_flags(inspect, _pairs + _tokens))
for _name in RECIPES:
    train_app.command(train_command(_name), name=_name)
app.command(train_app)
app.command(evaluate)
app.command(compare, usage="Usage: pairjepa compare RUN RUN... [OPTIONS]")
app.command(demo)
