"""A trained run as others load it."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from pairjepa.cli.common import Json, Switch, next_command, print_result, stdout_for_results
from pairjepa.util.errors import UsageError
from pairjepa.util.progress import say

LOADED_BY = {
    "onnx": 'pairjepa.OnnxEmbedder.load("{}")',
    "sentence-transformers": 'sentence_transformers.SentenceTransformer("{}")',
    "clip": 'transformers.CLIPModel.from_pretrained("{}")',
    "hub": 'pairjepa.Embedder.from_pretrained("{}")',
}


def export(
    run: Path,
    /,
    *,
    to: Annotated[
        Literal["onnx", "sentence-transformers", "clip", "hub"],
        Parameter(
            help="onnx: graphs that need no PyTorch. sentence-transformers: a folder that it loads. "
            "clip: a run on two towers of CLIP as one, for --model.pair. "
            "hub: weights, backbones and a model card."
        ),
    ],
    out: Path,
    licence: str | None = None,
    push: str | None = None,
    private: Switch = False,
    as_json: Json = False,
) -> None:
    """Write a trained run as others load it, and check that what is written computes the same.

    Args:
        run: Run folder that `pairjepa train` wrote.
        out: Folder to write: new or empty.
        licence: For --to hub: the licence that you give the model, as the hub names it (apache-2.0).
        push: For --to hub: upload the folder to this user/name. One that is there already is sent as it is.
        private: For --push: only you see it, if it has to be made.
    """
    if push is not None and to != "hub":
        raise UsageError(f"--push must go with --to hub, got --to {to}. Leave it out.")
    if private and push is None:
        raise UsageError("--private must go with --push, got it alone. Leave it out.")
    with stdout_for_results():
        from pairjepa.apps import export as exports

        if push is not None:
            from pairjepa.apps.export import hub

            hub.check_name(push)
        if push is not None and exports.holds(out, run, to):
            say(f"{out} holds this run already; it is sent as it is")
        else:
            exports.export(run, to, out, licence=licence, name=push)
        url = hub.push(out, push, private) if push is not None else None
    files = {
        str(path.relative_to(out)): path.stat().st_size for path in sorted(out.rglob("*")) if path.is_file()
    }
    listed = "\n".join(f"{size / 1e3:12,.1f} kB  {name}" for name, size in files.items())
    print_result({"folder": str(out), "to": to, "files": files, "url": url}, as_json, lambda _: listed)
    say(f"wrote {out}" + (f" and {url}" if url else ""))
    say(f"load it with: {LOADED_BY[to].format(push or out)}")
    if to == "hub" and push is None:
        say(f"Read {out / 'README.md'}, and add what only you know.")
        next_command("export", str(run), "--to", "hub", "--out", str(out), then="--push USER/NAME")
