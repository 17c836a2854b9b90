"""A trained run as others load it: ONNX, sentence-transformers, CLIP, a folder for the Hugging Face hub.

Each target is a file here with a function `export_TARGET(embedder, folder)`, and a line in `folder.PACKAGES`.
"""

from importlib import import_module
from pathlib import Path

from pairjepa.apps.export.folder import PACKAGES, RECORD, check_installed, check_new
from pairjepa.config.renamed import instead
from pairjepa.run.folder import RunFolder
from pairjepa.run.seeds import is_seed_group
from pairjepa.util.checksums import read_record
from pairjepa.util.errors import PairJEPAError, UsageError, unknown
from pairjepa.util.progress import say


def export(
    run: str | Path, to: str, out: str | Path, *, licence: str | None = None, name: str | None = None
) -> Path:
    """Write a trained run to a new or empty folder that others load, and check that it computes what the run does.

    Args:
        run: a run folder.
        to: onnx, sentence-transformers, clip or hub.
        out: the folder.
        licence: for the card of `hub`: the hub's identifier of the licence that you give the model.
        name: for the card of `hub`: the `user/name` that it will have there.

    Raises:
        UsageError: `to` is unknown, or a setting of the run cannot be exported to it.
        PairJEPAError: there is no such run or it has no weights, a backbone has moved, a package is missing, or the
            folder holds something.
    """
    if to not in PACKAGES:
        raise UsageError(f"{unknown('target', to, PACKAGES)}{instead(to)}")
    path = Path(run)
    if licence is not None and to != "hub":
        raise UsageError(f"--licence must go with --to hub, got --to {to}. Leave it out.")
    if is_seed_group(path):
        raise PairJEPAError(
            f"The run must be a single one, got the seed group {path}. Give one of {path}/seed-*."
        )
    folder = RunFolder(path)
    folder.check_trained()
    if not folder.config.context.image:
        raise UsageError(f"context.image must be on to be exported, got the text-only control {path}.")
    if holds(out, run, to):
        say(f"{out} holds this run already. Nothing to do; remove it to write it anew.")
        return Path(out)
    check_new(Path(out))
    check_installed(to)
    if folder.summary is None:
        say(f"warning: the training of {path} is not complete; this is the best epoch so far.")
    from pairjepa.backbones.vectors import check_exportable
    from pairjepa.embedder.embedder import Embedder

    module = to.replace("-", "_")
    write = getattr(import_module(f"pairjepa.apps.export.{module}"), f"export_{module}")
    embedder = Embedder.load(folder)
    check_exportable(embedder.image)
    write(embedder, out, **({"licence": licence, "name": name} if to == "hub" else {}))
    return Path(out)


def holds(out: str | Path, run: str | Path, to: str) -> bool:
    """Whether `out` is this export of the run already; a hub folder may then be pushed, with a card that was edited."""
    model, record = Path(run) / "model.safetensors", Path(out) / RECORD
    if not (model.is_file() and record.is_file()):
        return False
    mend = f"Remove {out}, and export the run again."
    made = read_record(record, {"to": str, "weights": str}, mend)
    return (made["to"], made["weights"]) == (to, RunFolder(Path(run)).weights)
