"""The command line: parse, one call, print.

Results go to stdout, everything else to stderr. Exit status: 0 done, 1 failed, 2 usage, 130 interrupted.
"""

import io
import os
import sys
from collections.abc import Sequence

from cyclopts import (
    App,
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
)

import pairjepa
from pairjepa.cli import audit, export, labels, report, search, serve, shards, training, verify
from pairjepa.config.recipes import RECIPES
from pairjepa.config.renamed import instead, new_flag
from pairjepa.util.errors import PairJEPAError, UsageError, first_line, hindrance, unknown
from pairjepa.util.progress import say
from pairjepa.util.threads import prepare_openmp

app = App(
    name="pairjepa",
    help="Joint predictive embeddings of images and captions: train on pairs, measure honestly, use the result.",
    version=pairjepa.__version__,
    help_format="plaintext",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
for _command in (
    training.inspect,
    training.train_app,
    training.demo,
    labels.label,
    audit.audit,
    serve.serve,
    shards.shards,
    verify.verify,
):
    app.command(_command)
for _command, _usage in (
    (
        training.evaluate,
        "evaluate RUN [OPTIONS], or pairjepa evaluate --model.pair PAIR --data DATA [OPTIONS]",
    ),
    (training.compare, "compare RUN RUN... [OPTIONS]"),
    (report.report, "report RUN [RUN...] [OPTIONS]"),
    (search.index, "index RUN IMAGES... --out FOLDER [OPTIONS]"),
    (search.embed, "embed RUN IMAGES... --out FILE [OPTIONS]"),
    (search.search, 'search INDEX ["WORDS"] [OPTIONS]'),
    (export.export, "export RUN --to TARGET --out FOLDER [OPTIONS]"),
):
    app.command(_command, usage=f"Usage: pairjepa {_usage}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; the arguments are those of the process if not given."""
    prepare_openmp()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A caption that a terminal can't show is no failure.
            stream.reconfigure(errors="backslashreplace")
    try:
        app(arguments, exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except UnknownCommandError as error:
        return _failed(_unknown_command(error), 2)
    except CoercionError as error:
        return _failed(f"{error}{instead(error.token.value) if error.token else ''}", 2)
    except UnknownOptionError as error:
        flag = error.token.keyword or error.token.value
        return _failed(_pair_as_run(flag, error) or f"{error}{new_flag(flag)}", 2)
    except MissingArgumentError as error:
        return _failed(_missing(error), 2)
    except (CycloptsError, UsageError) as error:
        return _failed(str(error), 2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains as it ends
        return 1
    except (PairJEPAError, OSError) as error:
        return _failed(str(error), 1)
    except (MemoryError, RuntimeError, ImportError) as error:
        if isinstance(error.__cause__, KeyboardInterrupt):  # while a library was imported
            return _interrupted()
        if (advice := _advice(error)) is None:
            raise
        return _failed(f"{first_line(error)}. {advice}", 1)
    except KeyboardInterrupt:
        return _interrupted()
    return 0


def _interrupted() -> int:
    say("interrupted; run the same command again to go on")
    return 130


def _failed(message: str, status: int) -> int:
    say(f"error: {message}")
    return status


def _advice(error: Exception) -> str | None:
    """What to do where it is the machine that lacks something; None where it is a mistake of this program."""
    if "home directory" in str(error):
        return "Write the whole path in the place of ~."
    return hindrance(error)


def _missing(error: MissingArgumentError) -> str:
    """Say what must be given and what it is; cyclopts says of a flag that is not there that it lacks its value."""
    if error.argument is None or error.keyword is not None:
        return str(error)
    command = " ".join(error.command_chain or ())
    what = error.argument.parameter.help or f"It is explained by: pairjepa {command} --help."
    _, mark, near = str(error).partition("Did you mean ")
    return f"{command} must be given {error.argument.name}, got none. {what} {mark}{near}".rstrip()


def _pair_as_run(flag: str, error: UnknownOptionError) -> str | None:
    """Where a pretrained pair goes in a command that has no flag for it."""
    command = (error.command_chain or ("",))[0]
    if flag.partition("=")[0] != "--model.pair" or command not in ("label", "index", "embed"):
        return None
    return f"{command} must be given a pretrained pair in the place of RUN, got {flag}: pairjepa {command} PAIR …"


def _unknown_command(error: UnknownCommandError) -> str:
    """Say `recipe` where one is missing; cyclopts says `command`."""
    word = (error.unused_tokens or [""])[0]
    if error.app is None or error.app.name != training.train_app.name:
        return str(error)
    if word.startswith("-"):
        return f"The recipe must come first, got {word!r}. Known: {', '.join(RECIPES)}."
    return str(unknown("recipe", word, RECIPES))
