"""Where a backbone is: a local folder, or the snapshot of a hub id. Torch and Transformers are not needed for that."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pairjepa.config.settings import ModelConfig, RunConfig
from pairjepa.util.errors import PairJEPAError, UsageError, close_matches, near_path
from pairjepa.util.files import read_json
from pairjepa.util.progress import say

Side = Literal["image", "text"]
SIDES: tuple[Side, Side] = ("image", "text")
Role = Literal["image", "text", "pair"]
ROLES: tuple[Role, Role, Role] = ("image", "text", "pair")
TINY = {"image": "tiny-resnet", "text": "tiny-bert"}
"""The built-in backbone of each side."""

_VECTORS = re.compile(r"vectors:(\d+)")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def local_folder(name: str | None, side: Role) -> Path | None:
    """The folder of the backbone `name`; None if the name can only be a hub id or a built-in one.

    Raises:
        UsageError: no name was given.
        PairJEPAError: there is no such folder, or it holds no config.json.
    """
    setting = f"model.{side}"
    if not name:
        raise UsageError(
            f"{setting} must name the {side} backbone, got nothing. "
            f"Give a local Transformers folder, a hub id or {TINY[side]}."
        )
    if vector_width(name):
        return None
    path = Path(name).expanduser()
    if path.is_dir():
        _checked(path, setting)
        if side != "pair":
            _refuse_exchanged(path, side)
        return path
    if path.exists():
        raise PairJEPAError(f"{setting} must be a folder or a hub id, got the file {path}. Give its folder.")
    if not is_hub_id(name):
        raise PairJEPAError(f"{setting} must be a folder or a hub id, got {name!r}. {_neighbours(path)}")
    return None


def located(name: str) -> str:
    """The same backbone from any working directory: an absolute path; hub ids and built-in names as they are."""
    own = name in TINY.values() or vector_width(name)
    return name if own or is_hub_id(name) else os.path.abspath(Path(name).expanduser())


def vector_width(name: str | tuple[str, ...] | None) -> int | None:
    """The numbers of a vector where `vectors:512` stands in the place of a backbone; None for a backbone."""
    found = _VECTORS.fullmatch(name) if isinstance(name, str) else None
    return int(found[1]) if found else None


def is_hub_id(name: str) -> bool:
    """Whether it can be one: nothing stands here under that name, nor a folder in which it would."""
    path = Path(name).expanduser()
    beside = path.parent != Path() and path.parent.is_dir()
    return _HUB_ID.fullmatch(name) is not None and not path.exists() and not beside


def locate(name: str | None, side: Role, revision: str | None = None) -> Path:
    """The folder of the backbone `name`: a local folder, or the snapshot of a hub id.

    Raises:
        UsageError: no name was given.
        PairJEPAError: there is no such folder, it holds no config.json, or the hub does not have it.
    """
    folder = local_folder(name, side)
    # absolute, so that no library takes it for a hub id
    return folder.absolute() if folder is not None else _snapshot(str(name), f"model.{side}", revision)


def _checked(folder: Path, setting: str) -> Path:
    if (folder / "config.json").is_file():
        return folder
    inside = sorted(entry.name for entry in folder.iterdir())
    models = [n for n in inside if (folder / n / "config.json").is_file()]
    advice = (
        f"Did you mean {folder / models[0]}?" if models else "Give the folder that save_pretrained wrote."
    )
    listed = ", ".join(inside[:8]) + (", …" if len(inside) > 8 else "")
    raise PairJEPAError(
        f"{setting} must be a Transformers folder with a config.json, got {folder}, which holds "
        f"{listed or 'nothing'}. {advice}"
    )


def _refuse_exchanged(folder: Path, side: Side) -> None:
    """Raise for a configuration that is plainly of the other side, before Transformers is imported to ask it."""
    config = read_json(folder / "config.json", "Backbone configuration")
    if not isinstance(config, dict):
        raise PairJEPAError(
            f"model.{side} must be a Transformers folder, got {folder}, whose config.json is no table."
        )
    words = "vocab_size" in config
    pixels = any(key in config for key in ("num_channels", "image_size"))
    if "vision_config" in config or "text_config" in config or words == pixels or pixels == (side == "image"):
        return
    wanted, other = ("an image", "a text") if side == "image" else ("a text", "an image")
    raise PairJEPAError(
        f"model.{side} must be {wanted} model, got {folder}, which is {other} model "
        f"({config.get('model_type', 'unknown')}). Have model.image and model.text been exchanged?"
    )


def _neighbours(path: Path) -> str:
    """What is there instead of `path`: the folders beside it, or the part of the path that does exist."""
    there = next((p for p in path.parents if p.is_dir()), Path())
    if there != path.parent:
        return f"{path.parent} is not there either; {there.absolute()} is the last part of it that is."
    folders = [p.name for p in there.iterdir() if p.is_dir() and not p.name.startswith(".")]
    return f"No such folder in {there.absolute()}.{close_matches(path.name, folders)}"


@contextlib.contextmanager
def hub_refusals(
    what: str, revision_of: str, name: str, revision: str | None, instead: str
) -> Iterator[None]:
    """Around a request to the hub: why it does not give `what`, in a sentence that ends in `instead`.

    Raises:
        PairJEPAError: there is no such repository or revision, or the hub cannot be reached.
    """
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        yield
    except RevisionNotFoundError:
        raise PairJEPAError(
            f"{revision_of} must be a commit, tag or branch of {name}, got {revision!r}."
        ) from None
    except (RepositoryNotFoundError, HFValidationError):
        raise PairJEPAError(
            f"{what} must be a folder or a hub id, got {name!r}, which is neither a folder here nor a "
            "repository that the hub shows you. Check the spelling, or log in with `hf auth login`."
        ) from None
    except Exception as error:  # the hub's client has changed its HTTP library, and so these classes, twice
        raise PairJEPAError(
            f"{what} {name!r} is no folder here, it is not in the local Hugging Face cache, and the hub cannot "
            f"be reached ({type(error).__name__}). {near_path(Path(name))}{instead}"
        ) from None


def licence(name: str, revision: str | None = None) -> str | None:
    """The licence that a backbone's model card names, as far as the card is on this machine; None if it does not."""
    from huggingface_hub import metadata_load

    with contextlib.suppress(Exception):  # a card is text that anyone has written
        about = metadata_load(str(_file_of(name, "README.md", revision))) or {}
        stated = about["license"]
        if stated == "other":
            stated = " ".join(str(about[key]) for key in ("license_name", "license_link") if key in about)
        return ", ".join(stated) if isinstance(stated, list) else str(stated) or None
    return None


def _snapshot(name: str, setting: str, revision: str | None) -> Path:
    """The local copy of a hub repository, fetched if need be; without a network, the copy that is there."""
    from huggingface_hub import snapshot_download

    from pairjepa.backbones.loading import quiet

    def fetch(weights: str) -> Path:
        patterns = ["*.json", "*.txt", "*.model", "README.md", weights]
        found = snapshot_download(name, revision=revision, allow_patterns=patterns, ignore_patterns=["*/*"])
        return Path(found)

    folder_name = name.rsplit("/", 1)[-1]
    instead = (
        f"Where there is a network: hf download {name} --exclude '*/*' --local-dir {folder_name}. "
        f"Put that folder here, and name it: --{setting} {folder_name}."
    )
    with hub_refusals(setting, f"{setting}_revision", name, revision, instead):
        known = _file_of(name, "config.json", revision) is not None
        if not known:
            say(f"{setting}: fetching {name} from the Hugging Face hub.")
        with contextlib.nullcontext() if not known and sys.stderr.isatty() else quiet():
            folder = fetch("*.safetensors")
            if (folder / "modules.json").is_file():  # of sentence-transformers
                snapshot_download(name, revision=revision, allow_patterns=["*_Pooling/config.json"])
            if not any(folder.glob("*.safetensors")):
                folder = fetch("pytorch_model*.bin")
    return _checked(folder, setting)


def as_pair(config: RunConfig) -> RunConfig:
    """The configuration with `model.pair` where both backbones are one dual encoder."""
    model = config.model
    several = isinstance(model.image, tuple) or vector_width(model.image)
    if model.pair is not None or several or "random" in (model.image_weights, model.text_weights):
        return config
    dual = {}
    for side in SIDES:
        name, revision = getattr(model, side), getattr(model, f"{side}_revision")
        if not name or not (Path(name).expanduser().is_dir() or model.image == model.text):
            continue  # of two hub ids, they are two models
        with contextlib.suppress(PairJEPAError):  # what is wrong is said where it is loaded
            if _is_pair(locate(name, side, revision) / "config.json"):
                dual[side] = (located(name), revision)
    if len(dual) == 2 and dual["image"] == dual["text"]:
        name, revision = dual["image"]
        say(
            f"model.image and model.text are one pretrained pair: taken as --model.pair {name}, with its own pooling "
            "and projections. To adapt it, start from it: pairjepa train adapt."
        )
        parts = {"image": None, "text": None, "image_revision": None, "text_revision": None}
        return replace(config, model=replace(model, pair=name, pair_revision=revision, **parts))  # type: ignore[arg-type]
    return config


def say_towers(model: ModelConfig) -> None:
    """A line for each backbone that is one tower of a pretrained pair; hub ids have been fetched."""
    for side in SIDES:
        name, revision = getattr(model, side), getattr(model, f"{side}_revision")
        if not isinstance(name, str) or name in TINY.values() or vector_width(name):
            continue
        file = _file_of(name, "config.json", revision)
        if file is not None and _is_pair(file):
            say(f"model.{side} is the {side} tower of a pretrained pair, before its projection.")


def _file_of(name: str, file: str, revision: str | None) -> Path | None:
    """A file of a local folder or of the hub's cache; None if the cache lacks it."""
    from huggingface_hub import try_to_load_from_cache

    own = Path(name).expanduser()
    found = own / file if own.is_dir() else try_to_load_from_cache(name, file, revision=revision)
    return Path(found) if isinstance(found, str | Path) else None


def _is_pair(file: Path) -> bool:
    about = read_json(file, "Backbone configuration")
    return "text_config" in about and "vision_config" in about


def holds_backbones(run: Path) -> bool:
    """Whether a run folder needs nothing from elsewhere."""
    return (run / "pair").is_dir() or all((run / side).is_dir() for side in SIDES)


def find_backbones(config: RunConfig, path: Path) -> None:
    """Raise if a backbone that is not kept in the run itself cannot be where the configuration says."""
    if config.model.pair is not None:
        if not (path / "pair").is_dir():
            local_folder(config.model.pair, "pair")
        return
    for side in SIDES:
        if not (path / side).is_dir():
            named = getattr(config.model, side)
            for name in named if isinstance(named, tuple) else (named,):
                local_folder(name, side)
