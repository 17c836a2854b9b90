"""A run as a folder for the Hugging Face hub: a run folder that holds all it needs, with a model card.

Everything that names the machine, or items of the data, is left out of it.
"""

import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pairjepa.apps.export.card import model_card
from pairjepa.apps.export.folder import check_equal, new_folder, note_files
from pairjepa.apps.verify import verify
from pairjepa.backbones.encoders import load_backbones
from pairjepa.backbones.location import ROLES, licence
from pairjepa.backbones.pair import save_pair
from pairjepa.embedder.embedder import Embedder
from pairjepa.evaluation.stored import read_evaluation
from pairjepa.run.folder import RunFolder
from pairjepa.util.checksums import seal, write_record
from pairjepa.util.errors import PairJEPAError, UsageError
from pairjepa.util.progress import say

FILES = ("model.safetensors", "metrics.jsonl", "summary.json")
"""Of a run, what is copied as it is."""
EVALUATIONS = ("test", "test-text", "dev", "dev-text")


def export_hub(
    embedder: Embedder, folder: str | Path, licence: str | None = None, name: str | None = None
) -> None:
    """Write a run and its backbones to a new or empty folder that `Embedder.from_pretrained` loads.

    Args:
        embedder: the run.
        folder: where.
        licence: the hub's identifier of the licence that you give it, such as `apache-2.0`.
        name: the `user/name` that it will have on the hub, for the card; the folder's own if not given.

    Raises:
        PairJEPAError: the folder holds something, a file of the run is a link, or what was written is not what the run
            computes.
    """
    run, target = embedder.run, Path(folder)
    refuse_links(run.path / name for name in ("run.json", *FILES, *ROLES, "evaluation"))
    title, address = (name.split("/")[-1], name) if name else (target.name, "USER/NAME")
    with new_folder(target, "hub", embedder.weights) as temporary:
        record = write_run(embedder, temporary)
        evaluations = {}
        for kind in EVALUATIONS:
            result = _evaluation(embedder, kind)
            if result is not None:
                result |= {"run": title, "data": result["data"] | {"leaks": record["data"]["leaks"]}}
                write_record(temporary / "evaluation" / f"{kind}.json", result)
                evaluations[kind] = result
        card = model_card(title, address, record, run.summary, evaluations, embedder, licence)
        (temporary / "README.md").write_text(card, encoding="utf-8")
        note_files(temporary)
        loaded = Embedder.load(temporary)
        predict = loaded.predict if loaded.sees_captions else None
        check_equal(embedder, loaded.encode_image, loaded.encode_text, predict)


def _evaluation(embedder: Embedder, kind: str) -> dict[str, Any] | None:
    """What stands in the card; None where it was not measured, or, which is said, on other weights than these."""
    run = embedder.run
    if not (run.path / "evaluation" / f"{kind}.json").is_file():
        return None
    split, *by = kind.split("-")
    command = shlex.join(
        ["pairjepa", "evaluate", str(run.path), "--split", split, *(["--relevance", *by] if by else [])]
    )
    try:
        return read_evaluation(run, kind, embedder.weights, command)
    except PairJEPAError as error:
        say(f"warning: left out of the card. {error}")
        return None


def write_run(embedder: Embedder, folder: Path) -> dict[str, Any]:
    """Put what `Embedder.load` needs into an empty folder, and give the record that is in it.

    Raises:
        PairJEPAError: the run has got other weights since it was loaded.
    """
    run = embedder.run
    if isinstance(embedder.config.model.image, tuple):
        raise UsageError("model.image must name one backbone to go to the hub, got several. Take --to onnx.")
    record = _without_paths(run.record)
    for side, backbone in record["backbones"].items():
        if "licence" not in backbone:  # else it comes from a folder of this kind, which holds no cards
            source, revision = run.record["backbones"][side]["source"], backbone["revision"]
            backbone["licence"] = licence(source, revision)
    write_record(folder / "run.json", record)
    for file in FILES:
        if (run.path / file).is_file():
            shutil.copy(run.path / file, folder)
    _write_backbones(run, folder)
    if RunFolder(folder).weights != embedder.weights:
        raise PairJEPAError(
            f"{run.path} must keep its weights while it is copied, got others. Run the same command again."
        )
    return record


def _write_backbones(run: RunFolder, folder: Path) -> None:
    """As they were before they were tuned; model.safetensors has what they became."""
    image, text = load_backbones(run.config, (), run.path)
    if run.config.model.pair is not None:
        save_pair(image, text, folder / "pair")
        seal(folder / "pair")
        return
    for side, backbone in (("image", image), ("text", text)):
        if (run.path / side).is_dir():
            shutil.copytree(run.path / side, folder / side)
        else:
            backbone.save(folder / side)
            seal(folder / side)


def refuse_links(paths: Iterable[Path]) -> None:
    """Raise `PairJEPAError` if one of these, or a file in one, is a link: a stranger's may lead to your own files."""
    for path in paths:
        link = next((one for one in (path, *path.rglob("*")) if one.is_symlink()), None)
        if link is not None:
            raise PairJEPAError(
                f"{link} must be a file to be published, got a link to {link.resolve()}. "
                "Put a copy in its place, if that may be published."
            )


def push(folder: str | Path, name: str, private: bool = False) -> str:
    """Upload a folder of `export_hub` to the Hugging Face hub and return its address there.

    Args:
        folder: what `export_hub` wrote.
        name: `user/name`; made if it is not there.
        private: whether only you see it, where it has to be made.

    Raises:
        PairJEPAError: a file is a link or damaged, nobody is logged in, the hub does not let you, or it cannot be
            reached.
    """
    refuse_links(Path(folder).iterdir())
    if damaged := verify(folder)["damaged"]:
        raise PairJEPAError(f"{next(iter(damaged.values()))} Export the run again in another folder.")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = HfApi()
    try:
        url = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(folder_path=folder, repo_id=url.repo_id, commit_message="Upload by PairJEPA")
    except LocalTokenNotFoundError:
        raise PairJEPAError(
            f"To push to {name} you must be logged in to the Hugging Face hub. Log in with `hf auth login`."
        ) from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        advice = (
            "Log in with `hf auth login`, as someone who may write there"
            if status in (401, 403)
            else "Try again"
        )
        raise PairJEPAError(
            f"The hub did not take {folder} as {name} (HTTP status {status}). {advice}: the folder stays as it is, "
            "and the same command goes on with it."
        ) from None
    except Exception as error:  # the hub's client has changed its HTTP library, and so these classes, twice
        raise PairJEPAError(
            f"The hub cannot be reached ({type(error).__name__}). Run the same command again when it can: "
            f"{folder} stays as it is."
        ) from None
    return str(url)


def check_name(name: str) -> None:
    """Raise `UsageError` if the hub can have no repository of this name."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
        valid = "/" in name
    except HFValidationError:
        valid = False
    if not valid:
        raise UsageError(
            f"--push must be user/name, of letters, digits, `-`, `_` and `.`, got {name!r}. "
            "It is where the model will stand on the hub."
        )


def _without_paths(record: dict[str, Any]) -> dict[str, Any]:
    """A run's record without the folders of this machine and the names of images."""
    short: dict[str, Any] = _last_parts(record)
    data = short["data"]
    return short | {"data": data | {"leaks": data["leaks"] | {"examples": []}}}


def _last_parts(value: Any) -> Any:
    """The last part of each path, which is absolute in a run; hub ids, URLs and built-in names are kept whole."""
    if isinstance(value, dict):
        return {key: _last_parts(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_last_parts(one) for one in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
