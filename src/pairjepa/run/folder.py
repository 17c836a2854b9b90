"""The run folder: everything that a training leaves behind, each file either whole or not there.

run.json           format, configuration, data, backbones, versions      written when the run starts
metrics.jsonl      one line an epoch
model.safetensors  heads (and tuned backbones' weights) of the best epoch so far
image/ text/       backbones that are not simply pretrained ones, as Transformers folders
checkpoint.safetensors   where an interrupted run goes on; gone when it is complete
summary.json       best epoch, cost                                      written when the run is complete
text-only/         the control of a masked run, a run folder itself
embeddings/SPLIT, evaluation/SPLIT.json                                  written by `evaluate`
"""

import json
import platform
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from pairjepa.config.renamed import updated
from pairjepa.config.settings import RunConfig, result_settings
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import LEFTOVER, atomic_path, read_json, remove_leftovers, write_json, writing
from pairjepa.util.lock import LOCK

FORMAT = 1


class RunFolder:
    """Paths in a run folder and what stands in its JSON files."""

    def __init__(self, path: Path) -> None:
        """A run that exists.

        Raises:
            PairJEPAError: there is no run at `path`, or its format is another version's.
        """
        self.path = path
        if not (path / "run.json").is_file():
            there = sorted(p.name for p in path.iterdir())[:8] if path.is_dir() else None
            found = f"it holds {', '.join(there) or 'nothing'}" if there is not None else "it is not there"
            raise PairJEPAError(
                f"{path} is no run folder (no run.json; {found}). "
                "Make one with: pairjepa train contrastive --data DATA --run FOLDER."
            )
        record = read_json(path / "run.json", "Run record")
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            found = repr(record.get("format")) if isinstance(record, dict) else "no record at all"
            raise PairJEPAError(
                f"{path / 'run.json'} must have format {FORMAT}, got {found}. "
                "The run was made by another version of PairJEPA: train it again, or use that version."
            )
        self.record: dict[str, Any] = record
        self.config = RunConfig.from_dict(updated(self.record["config"]))

    @classmethod
    def fits(cls, path: Path, config: RunConfig) -> None:
        """Check that a run of this configuration may begin or go on at `path`, before anything is computed.

        Raises:
            PairJEPAError: the folder holds a run of another configuration, or other files.
        """
        if (path / "run.json").is_file():
            run = cls(path)
            changed = run.other_settings(config)
            if changed:
                listed = "\n".join(f"  {n}: {old!r} there, {new!r} now" for n, (old, new) in changed.items())
                raise PairJEPAError(
                    f"{path} holds a run of another configuration:\n{listed}\n"
                    "Give the same settings to go on with it, or another --run folder."
                )
        elif path.exists() and (not path.is_dir() or any(_foreign(path, file) for file in path.rglob("*"))):
            raise PairJEPAError(
                f"--run must be a new or empty folder or a run, got {path}, which holds other files. "
                "Give another folder."
            )

    def other_settings(self, config: RunConfig) -> dict[str, tuple[Any, Any]]:
        """Settings that make another result than the run's: dotted name → the run's value, the other one."""
        ours, theirs = result_settings(self.config), result_settings(config)
        return {
            name: (ours.get(name), theirs.get(name))
            for name in ours | theirs
            if ours.get(name) != theirs.get(name)
        }

    @classmethod
    def start(cls, path: Path, config: RunConfig, data: dict[str, Any]) -> "RunFolder":
        """A new run, or the same one again.

        Raises:
            PairJEPAError: as `fits`; or the data are not those of the run.
        """
        cls.fits(path, config)
        remove_leftovers(path, deep=True)
        if not (path / "run.json").is_file():
            record = {"format": FORMAT, "config": config.to_dict(), "data": data, "versions": _versions()}
            with writing(path):
                write_json(path / "run.json", record)
        run = cls(path)
        run.check_data(data)
        return run

    def check_data(self, data: dict[str, Any]) -> None:
        """Raise `PairJEPAError` if the data are not those of the run."""
        if data["digest"] != self.record["data"]["digest"]:
            then, now = self.record["data"], data
            parts = now.get("parts", {})
            other = " and ".join(name for name in parts if parts[name] != then.get("parts", parts)[name])
            raise PairJEPAError(
                f"The data of {self.path} must be those it was trained on: {then['images']:,} images and "
                f"{then['captions']:,} captions (digest {then['digest'][:8]}) then, {now['images']:,} and "
                f"{now['captions']:,} ({now['digest'][:8]}) now{f'; the {other} differ' if other else ''}. "
                "Put the old data back, say where they are now with --data, or train a new run."
            )

    def note_engines(self, engines: dict[str, str]) -> None:
        """Record what computed the features of each side, or check that it is what it was when the run began.

        Raises:
            PairJEPAError: another engine has computed them.
        """
        before = self.record.get("engines", {})
        for side, now in engines.items():
            if (then := before.get(side, now)) != now:
                raise PairJEPAError(
                    f"model.engine must compute the {side} features as when {self.path} was begun (by {then}), got "
                    f"{now}. Leave --engine out to go on, or give another --run folder."
                )
        self._note(engines=before | engines)

    def note_names(self, config: RunConfig) -> None:
        """Record where data and backbones are now, once they are known to be the same."""
        names = [f"{role}{what}" for role in ("image", "text", "pair") for what in ("", "_revision")]
        model = {name: getattr(config.model, name) for name in names}
        self.config = replace(self.config, data=config.data, model=replace(self.config.model, **model))
        self._note(config=self.config.to_dict())

    def _note(self, **changes: Any) -> None:
        """Write the record where something in it changes."""
        if any(self.record.get(key) != value for key, value in changes.items()):
            self.record |= changes
            with writing(self.path):
                write_json(self.path / "run.json", self.record)

    def note_backbones(self, backbones: dict[str, Any]) -> None:
        """Record what the backbones are, or check that they are the same as when the run began."""
        if "backbones" in self.record:
            self.check_backbones(backbones)
        self._note(backbones=backbones)

    def check_trained(self) -> None:
        """Raise `PairJEPAError` if there are no weights yet."""
        if not self.model_file.is_file():
            raise PairJEPAError(
                f"{self.path} must hold a trained model, got a run whose first epoch is not finished. "
                "Run the same train command again to go on with it."
            )

    def check_backbones(self, backbones: dict[str, Any]) -> None:
        """Raise `PairJEPAError` if a backbone is not the one that the run was trained on."""
        for side, now in backbones.items():
            then = self.record["backbones"][side]
            if now["digest"] != then["digest"]:
                raise PairJEPAError(
                    f"model.{side} must be the backbone that {self.path} was trained on "
                    f"(digest {then['digest'][:8]}), got {now['digest'][:8]} from {now['source']}. "
                    "The folder's weights or preprocessing have changed: put the old ones back, or train again."
                )

    @property
    def model_file(self) -> Path:
        """Weights of the best epoch."""
        return self.path / "model.safetensors"

    @property
    def summary(self) -> dict[str, Any] | None:
        """Best epoch and cost; None while the run is not complete."""
        path = self.path / "summary.json"
        return read_json(path, "Summary") if path.is_file() else None

    @property
    def checkpoint_file(self) -> Path:
        """Where an interrupted run goes on."""
        return self.path / "checkpoint.safetensors"

    def finish(self, summary: dict[str, Any]) -> None:
        """Say that the run is complete; its checkpoint, three times the weights, is of no use any more."""
        with writing(self.path):
            write_json(self.path / "summary.json", summary)
            self.checkpoint_file.unlink(missing_ok=True)

    def metrics(self) -> list[dict[str, Any]]:
        """One dict an epoch; a line that a crash cut short is left out."""
        path = self.path / "metrics.jsonl"
        if not path.is_file():
            return []
        lines = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return lines

    def keep_metrics(self, epochs: int) -> list[dict[str, Any]]:
        """Forget what stands after `epochs` epochs (they are trained again) and return the rest."""
        kept = [line for line in self.metrics() if line["epoch"] <= epochs]
        with writing(self.path), atomic_path(self.path / "metrics.jsonl") as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        return kept

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Add one epoch."""
        path = self.path / "metrics.jsonl"
        with writing(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")


def _foreign(run: Path, file: Path) -> bool:
    """Whether it is a file that no run that was killed as it began has left."""
    first = file.relative_to(run).parts[0]
    return file.is_file() and first != LOCK and not (first.startswith(".") and first.endswith(LEFTOVER))


def _versions() -> dict[str, str]:
    names = ("pairjepa", "torch", "transformers", "numpy", "pillow")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}
