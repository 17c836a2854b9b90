"""The run folder: everything that a training leaves behind, each file either whole or not there.

run.json           format, configuration, data, backbones, versions      written when the run starts
pairs.parquet      digests and splits of its images, to know them again in data that have grown
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
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any

from safetensors import safe_open

from pairjepa.config.renamed import updated
from pairjepa.config.settings import RunConfig, result_settings
from pairjepa.util.checksums import KEY, from_metadata, read_record, signed, unsigned, write_record
from pairjepa.util.errors import PairJEPAError, UsageError, near_path, unreadable
from pairjepa.util.files import LEFTOVER, atomic_path, digest_file, parse_json, remove_leftovers, writing
from pairjepa.util.lock import LOCK
from pairjepa.util.progress import say

FORMAT = 1
TEXT_ONLY = "text-only"  # the folder, in a masked run, of its control
_KINDS = {
    "meta.json": "an index",
    "pairjepa_onnx.json": "an ONNX export, which pairjepa.OnnxEmbedder loads",
    "modules.json": "a model of sentence-transformers, which that library loads",
    "config.json": "a model of Transformers; a pretrained pair goes to Embedder.from_pair or evaluate --model.pair",
    "summary.json": "a run without it: put it back",
}
"""File of a folder that is taken for a run's → what the folder is."""


class RunFolder:
    """Paths in a run folder and what stands in its JSON files.

    Attributes:
        path: the folder.
        model_file: weights of the best epoch.
        pairs_file: digests and splits of its images and captions.
        metrics_file: what was measured, a line an epoch.
        summary_file: what says that the run is complete.
        checkpoint_file: where an interrupted run goes on.
    """

    def __init__(self, path: Path) -> None:
        """A run that exists.

        Raises:
            PairJEPAError: there is no run at `path`, or its format is another version's.
        """
        self.path = path
        self.model_file, self.checkpoint_file = path / "model.safetensors", path / "checkpoint.safetensors"
        self.pairs_file, self.metrics_file = path / "pairs.parquet", path / "metrics.jsonl"
        self.summary_file = path / "summary.json"
        if not (path / "run.json").is_file():
            if runs := sorted(str(one.parent) for at in ("*", "*/*") for one in path.glob(f"{at}/run.json")):
                some = ", ".join(runs[:3]) + (f" and {len(runs) - 3} more" if len(runs) > 3 else "")
                raise PairJEPAError(f"{path} is no run but a folder of runs: {some}. Give one of them.")
            there = sorted(p.name for p in path.iterdir())[:8] if path.is_dir() else None
            gone = "it is a file" if path.exists() else "it is not there"
            found = f"it holds {', '.join(there) or 'nothing'}" if there is not None else gone
            found = next((f"it is {kind}" for file, kind in _KINDS.items() if (path / file).is_file()), found)
            raise PairJEPAError(
                f"{path} is no run folder (no run.json; {found}). {near_path(path)}"
                "Make one with: pairjepa train contrastive --data DATA --run FOLDER."
            )
        mend = "Put the run's own back, or train it again in another folder."
        self.record = read_record(path / "run.json", _RECORD, mend, FORMAT)
        try:
            self.config = RunConfig.from_dict(updated(self.record["config"]))
            self.config.validate()
        except UsageError as error:
            raise PairJEPAError(f"{path / 'run.json'} must hold a configuration: {error} {mend}") from None

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
                if "recipe" in changed:  # the rest follows from it
                    changed = {"recipe": changed["recipe"]}
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
                write_record(path / "run.json", record)
        run = cls(path)
        run.check_data(data)
        run._begin_anew_without_weights()
        return run

    def _begin_anew_without_weights(self) -> None:
        """Forget how far the run was if the weights of its best epoch are gone: they can only be trained again."""
        measured = self.has_epochs or self.config.model.pair is not None  # whose epoch 0 is the pair itself
        if self.model_file.is_file() or not measured:
            return
        if self.summary_file.is_file():
            say(f"The weights of {self.path} are gone ({self.model_file.name}): it is trained anew.")
        for path in (self.summary_file, self.checkpoint_file):
            path.unlink(missing_ok=True)

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
                write_record(self.path / "run.json", self.record)

    def note_teachers(self, weights: str) -> None:
        """Record the digest of the teachers' weights, or check that they are the same as when the run began.

        Raises:
            PairJEPAError: they are others.
        """
        if self.record.get("teachers", weights) != weights:
            raise PairJEPAError(
                f"training.teachers must have the weights with which {self.path} was begun, got others. "
                "Put them back, or give another --run folder."
            )
        self._note(teachers=weights)

    def note_backbones(self, backbones: dict[str, Any]) -> None:
        """Record what the backbones are, or check that they are the same as when the run began."""
        if "backbones" in self.record:
            self.check_backbones(backbones)
        self._note(backbones=backbones)

    def check_trained(self) -> None:
        """Raise `PairJEPAError` if there are no weights."""
        if not self.model_file.is_file():
            found = (
                "a run whose first epoch is not finished. Run the same train command again to go on with it."
            )
            if self.summary_file.is_file():
                found = (
                    f"a complete run without its {self.model_file.name}. "
                    "Put it back, or run the same train command again, which trains anew."
                )
            raise PairJEPAError(f"{self.path} must hold a trained model, got {found}")

    @property
    def weights(self) -> str:
        """Digest of the weights of the best epoch, by which files made with them know them; nothing is loaded.

        Raises:
            PairJEPAError: they are not there, or cannot be read.
        """
        try:
            self.model_file.open("rb").close()  # safetensors says of any error that there is no file
            with safe_open(self.model_file, framework="numpy") as file:
                about = from_metadata(file.metadata())
            return about.get(KEY) or digest_file(self.model_file)  # of 0.1
        except Exception as error:
            mend = "Put it back, or remove it and run the same train command again, which trains anew."
            raise unreadable(self.model_file, error, mend) from None

    def check_backbones(self, backbones: dict[str, Any]) -> None:
        """Raise `PairJEPAError` if a backbone is not the one that the run was trained on."""
        for side, now in backbones.items():
            then = self.record["backbones"][side]
            if now["digest"] != then["digest"]:
                setting = f"model.{side}" if self.config.model.pair is None else "model.pair"
                raise PairJEPAError(
                    f"{setting} must be the backbone that {self.path} was trained on "
                    f"(digest {then['digest'][:8]}), got {now['digest'][:8]} from {now['source']}. "
                    "The folder's weights or preprocessing have changed: put the old ones back, or train again."
                )

    @property
    def has_epochs(self) -> bool:
        """Whether an epoch was measured."""
        return self.metrics_file.is_file() and self.metrics_file.stat().st_size > 0

    @property
    def summary(self) -> dict[str, Any] | None:
        """Best epoch and cost; None while the run is not complete."""
        if not self.summary_file.is_file():
            return None
        mend = "Put it back, or remove it and run the same train command again, which trains anew."
        return read_record(self.summary_file, _SUMMARY, mend)

    def finish(self, summary: dict[str, Any]) -> None:
        """Say that the run is complete; its checkpoint, three times the weights, is of no use any more."""
        with writing(self.path):
            write_record(self.summary_file, summary)
            self.checkpoint_file.unlink(missing_ok=True)

    def metrics(self) -> list[dict[str, Any]]:
        """One dict an epoch; of a run that is not complete, a line that a crash cut short is left out.

        Raises:
            PairJEPAError: the file is damaged, or lines are missing.
        """
        if not self.metrics_file.is_file():
            if self.summary_file.is_file():
                say(f"warning: {self.metrics_file} is not there: the course of the training is left out.")
            return []
        mend = "Put it back, or remove it: reports then go without the course of the training."
        lines = [line for line, _ in self._lines(mend)]
        epochs = self.config.training.epochs
        if self.summary_file.is_file() and len(lines) != epochs:
            raise self._bad_metrics(f"{epochs} epochs", len(lines), mend)
        return lines

    def keep_metrics(self, epochs: int) -> list[dict[str, Any]]:
        """Forget what stands after `epochs` epochs (they are trained again) and return the rest.

        Raises:
            PairJEPAError: the file is damaged, or lines of these epochs are missing.
        """
        mend = f"Put it back, or remove {self.checkpoint_file} and run the same command again, which trains anew."
        kept = list(islice(self._lines(mend), epochs))
        if len(kept) != epochs:
            raise self._bad_metrics(f"the {epochs} epochs before the checkpoint", len(kept), mend)
        with writing(self.path), atomic_path(self.metrics_file) as temporary:
            temporary.write_bytes(b"".join(text for _, text in kept))
        return [line for line, _ in kept]

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Add one epoch."""
        before = self.metrics_file.read_bytes().splitlines()[-1:] if self.metrics_file.is_file() else []
        record = signed(line, json.loads(before[0]).get(KEY, "") if before else "")
        with writing(self.metrics_file), self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def _lines(self, mend: str) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Each epoch with its line, as long as they are whole and in their order."""
        before = ""
        if not self.metrics_file.is_file():
            return
        for number, text in enumerate(self.metrics_file.read_bytes().splitlines(keepends=True), 1):
            if not text.endswith(b"\n") and not self.summary_file.is_file():
                return
            try:
                record = parse_json(text)
            except ValueError:
                record = None
            line, right = unsigned(record, before) if isinstance(record, dict) else ({}, False)
            if not right or line.get("epoch") != number or (before and KEY not in record):
                raise self._bad_metrics(
                    f"epoch {number} in line {number}, as it was written", "another", mend
                )
            before = record.get(KEY, "")
            yield line, text

    def _bad_metrics(self, rule: str, got: Any, mend: str) -> PairJEPAError:
        return PairJEPAError(f"{self.metrics_file} must hold {rule}, got {got}. {mend}")


def _foreign(run: Path, file: Path) -> bool:
    """Whether it is a file that no run that was killed as it began has left."""
    first = file.relative_to(run).parts[0]
    return file.is_file() and first != LOCK and not (first.startswith(".") and first.endswith(LEFTOVER))


def _versions() -> dict[str, str]:
    names = ("pairjepa", "torch", "transformers", "numpy", "pillow")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}


_RECORD = {
    "config": dict,
    "data": {
        "digest": str,
        "description": str,
        "generated": bool,
        "images": int,
        "captions": int,
        "splits": {str: {"images": int, "captions": int}},
        "unreadable": int,
        "leaks": {"counts": [{"images": int, "splits": [str], "same_bytes": int, "near": int}]},
    },
    "versions": {str: str},
}
_SUMMARY = {
    "best_epoch": int,
    "dev_rsum": float,
    "warnings": [str],
    "cost": {"training_seconds": float, "trained_parameters": int, "peak_rss_bytes": int},
}
