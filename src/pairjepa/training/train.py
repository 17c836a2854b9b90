"""The verb train: a run, or a group of seeds, from a configuration and pairs."""

import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import nn

from pairjepa.backbones import location as backbones
from pairjepa.backbones.device import best_device
from pairjepa.backbones.encoders import describe, load_backbones
from pairjepa.backbones.vectors import on_vectors
from pairjepa.config.settings import RunConfig, frozen_epochs, pretrained, starts_as_pair, tuned, untuned
from pairjepa.features.engines import check_engine
from pairjepa.model.build import build_module
from pairjepa.model.lora import add_lora, linear_layers
from pairjepa.model.weights import load_weights, write_tensors
from pairjepa.model.weights import weights as tensors_of
from pairjepa.objectives import check_terms
from pairjepa.pairs import sources
from pairjepa.pairs.captions import group_ids
from pairjepa.pairs.data import known_table, read_data, read_known
from pairjepa.pairs.leaks import warn_of_leaks
from pairjepa.pairs.table import Pairs, opened
from pairjepa.run.folder import TEXT_ONLY, RunFolder
from pairjepa.run.seeds import free_folder, plan_seeds, runs_at
from pairjepa.training.chosen_on_dev import adapters, set_scale
from pairjepa.training.closed_forms import CCATrainer, finish, mixed_before
from pairjepa.training.ensemble import teach
from pairjepa.training.loop import Trainer
from pairjepa.training.material import Material, warn_of_captions
from pairjepa.training.processes import current, joined
from pairjepa.training.tracking import check_tracker
from pairjepa.util.checksums import seal
from pairjepa.util.errors import PairJEPAError, missing_extra
from pairjepa.util.files import atomic_folder, writing
from pairjepa.util.lock import exclusive
from pairjepa.util.memory import give_back_freed_memory
from pairjepa.util.progress import say
from pairjepa.util.tables import write_table


def train(config: RunConfig, pairs: Pairs | None, run: str | Path, *, track: str | None = None) -> RunFolder:
    """Train a run, or go on with it; a complete one is left as it is.

    Started by `torchrun`, all processes call it alike and train together; the first one writes.

    Args:
        config: see `pairjepa.recipe`.
        pairs: the pairs; None opens `config.data`.
        run: the run folder.
        track: a tracker that Accelerate knows, such as `tensorboard`; it gets the metrics of each epoch, too.

    Raises:
        UsageError: a setting cannot be, or the tracker is unknown.
        PairJEPAError: data, backbones or run folder are not as they must be.
    """
    return _train({Path(run): _checked(config, pairs)}, pairs, track)[0]


def train_seeds(
    config: RunConfig, pairs: Pairs | None, run: str | Path, seeds: int, *, track: str | None = None
) -> list[RunFolder]:
    """Train a seed group: the runs `run/seed-0`, `run/seed-1`, … that differ only in `training.seed`.

    Args:
        config: see `pairjepa.recipe`; its seed is the first.
        pairs: the pairs; None opens `config.data`.
        run: the folder of the group.
        seeds: how many; those that are complete are left as they are.
        track: as in `train`; each seed is one run of the tracker.

    Raises:
        UsageError: a setting cannot be, or the tracker is unknown.
        PairJEPAError: as `train`; or the folder holds one run, or seeds of another configuration.
    """
    return _train(plan_seeds(Path(run), _checked(config, pairs), seeds), pairs, track)


def _checked(config: RunConfig, pairs: Pairs | None) -> RunConfig:
    config.validate()
    config = on_vectors(backbones.as_pair(config), pairs)
    config.validate()
    return config


def own_folder(config: RunConfig, seeds: int | None = None) -> Path:
    """A run folder for a user who has named none; see `run.seeds.free_folder`."""
    return free_folder(_located(config, None), seeds)


@joined()
def _train(planned: dict[Path, RunConfig], pairs: Pairs | None, track: str | None) -> list[RunFolder]:
    if track is not None:
        check_tracker(track)
    for path, config in planned.items():
        RunFolder.fits(path, _located(config, None))
        check_engine(config.model.engine)
        if (config.model.image_lora or config.model.text_lora) and find_spec("peft") is None:
            raise missing_extra("peft", "lora")
        backbones.find_backbones(config, path)
    pairs = opened(pairs, next(iter(planned.values())).data)
    pairs.check_trainable()
    folders = []
    for path, config in planned.items():
        if len(planned) > 1:
            say(f"seed {config.training.seed}: {path}")
        folders.append(fit(config, pairs, path, track))
    return folders


DEV_IMAGES = 5000  # that an epoch is measured on: its images are compared with all of its captions


def fit(config: RunConfig, pairs: Pairs, path: Path, track: str | None = None) -> RunFolder:
    """Train a run, or go on with it, and with the text-only control of a masked one; see `train`.

    Raises:
        UsageError: a term of the objective is unknown, or a setting does not fit the backbones.
        PairJEPAError: data, backbones or run folder are not as they must be.
    """
    check_terms(config.objective)
    begun = (path / "run.json").is_file()
    base = path if begun or config.training.start is None else Path(config.training.start)
    then = RunFolder(base).config if begun or base != path else None
    config = _located(config, then)
    complete = begun and RunFolder(path).summary is not None
    teachers = () if complete else [run for one in config.training.teachers for run in runs_at(Path(one))]
    for run in teachers:
        run.check_trained()
    # those that the run keeps, unless others are named now: these are loaded and compared
    alike = then is None or all(
        getattr(then.model, role) == getattr(config.model, role) for role in backbones.ROLES
    )
    captions = pairs.captions_of("train").to_pylist()
    image, text = load_backbones(config, captions, base if alike else None)
    for side, backbone in (("image", image), ("text", text)):
        if tuned(config.model, side):
            tower = backbone.tower  # says in a sentence where there is none to be tuned
            if getattr(config.model, f"{side}_lora") is not None:
                linear_layers(tower, side)
    with current().turns():  # the first process fills the cache for the others
        most = config.data.max_bad
        data = read_known(pairs, most, RunFolder(path)) if begun else read_data(pairs, most)
    data.pairs.check_trainable()  # without its unreadable images
    for run in teachers:
        run.check_data(data.record)
    warn_of_leaks(data.record)
    warn_of_captions(data.pairs, text)
    material, control = Material(config, data, image, text), None
    if config.context.caption is not None and config.context.image:
        # what the words alone can do, by a model that never saw an image: the control of `evaluate`
        context, model = replace(config.context, image=False), replace(config.model, closed_form_share=None)
        control = material.apart(replace(config, context=context, model=model))
    folder = fit_material(material, path, track)
    if control is not None:
        say("The text-only control:")
        fit_material(control, path / TEXT_ONLY, track)
    return folder


def fit_material(material: Material, path: Path, track: str | None = None) -> RunFolder:
    """Train one run on what was opened for it, or go on with it; a complete one is left as it is.

    Raises:
        PairJEPAError: another process trains it, or the folder is of another run.
    """
    if not current().first:  # the first process checks the folder and is writing to it by now
        return _fit_material(material, path, track)
    RunFolder.fits(path, material.config)
    with exclusive(path):
        return _fit_material(material, path, track)


def _fit_material(material: Material, path: Path, track: str | None) -> RunFolder:
    config, data, image, text = material.config, material.data, material.image, material.text
    group = current()
    with group.turns():
        folder = _begun(path, config, data.record, first=group.first)
        folder.note_backbones(describe(config, image, text))
        folder.note_names(config)
        if group.first and config.context.image and not folder.pairs_file.is_file():
            with writing(path):
                write_table(known_table(data), folder.pairs_file)
    material.engines = dict(folder.record.get("engines", {}))
    if folder.summary is not None:
        folder.checkpoint_file.unlink(missing_ok=True)  # of a kill between the two
        say(f"{path} is complete: best epoch {folder.summary['best_epoch']}. Nothing to do.")
        return folder
    for side, backbone in (("image", image), ("text", text)):
        if group.first and _kept_in_run(config, side) and not (path / side).is_dir():
            with writing(path / side), atomic_folder(path / side) as temporary:
                backbone.save(temporary)
                seal(temporary)

    device, materials = best_device(), [material]
    if frozen_epochs(config):  # the heads alone first, on what the untrained backbones give
        alone = replace(config, model=untuned(config.model))
        materials.insert(0, Material(alone, data, image, text, material.engines))
    if group.size > 1:  # each computes its part of the features
        for one in materials:
            one.compute((group.rank, group.size))
        group.wait_for_all()
    with group.turns():
        stages = [one.splits(DEV_IMAGES) for one in materials]
    with group.turns():
        folder.note_engines(materials[0].engines | material.engines)
    for side, backbone in (("image", image), ("text", text)):
        if tuned(config.model, side):
            backbone.to(device)  # a pair's projections, too, which do not learn
        if (rank := getattr(config.model, f"{side}_lora")) is not None:
            add_lora(backbone.tower, rank, side, config.training.seed)
    module = build_module(config, image, text)
    material.fit_standardizers(module["joint"], stages[0].train)  # type: ignore[arg-type]
    if config.training.start is not None:
        _start_from(Path(config.training.start), module, material)
    teacher = None
    if config.training.teachers and config.context.image:
        with group.turns():
            teacher, weights = teach(config.training.teachers, material)
            folder.note_teachers(weights)
    trainer = (CCATrainer if config.training.solver == "cca" else Trainer)(
        config,
        module.to(device),
        stages=stages,
        text_group=group_ids(data.pairs.captions.take(material.rows("train")[1])),
        run=folder,
        device=device,
        track=track,
        teacher=teacher,
    )
    if isinstance(trainer, CCATrainer):
        trainer.material = material
    give_back_freed_memory()  # of tables and keys, whose size is that of the data
    summary = trainer.fit()
    if summary is not None:
        joint: Any = module["joint"]
        summary |= mixed_before(folder)
        if adapters(joint) and "adapter_scale" not in summary:
            load_weights(module, folder.model_file)
            summary |= set_scale(joint, config.model.adapter_scale, trainer.dev_rsum)
            write_tensors(tensors_of(module), folder.model_file)
        if config.context.image:
            finish(folder, material, module, summary, trainer.dev_rsum, device)
        folder.finish(summary)
        heads_alone = not any(tuned(config.model, side) for side in ("image", "text"))
        scale, share = summary.get("adapter_scale"), summary.get("closed_form_share")
        start = config.training.start
        as_begun = summary["best_epoch"] == 0 or (start is None and heads_alone and scale == 0)
        # the text-only control begins as one tower, not as the pair
        if config.context.image and starts_as_pair(config.model) and as_begun and not share:
            say(
                f"{path}: these pairs did not improve the pretrained pair, whose weights are kept as they are."
                if start is None
                else f"{path}: no epoch was better than the weights it started from, of {start}."
            )
        elif not heads_alone and summary["best_epoch"] <= frozen_epochs(config):
            say(
                f"{path}: tuning did not improve dev: kept is epoch {summary['best_epoch']}, with heads on frozen "
                "backbones."
            )
        elif (
            config.context.image
            and config.context.caption
            and 0 < 2 * summary["best_epoch"] < config.training.epochs
        ):
            say(
                f"{path}: kept is epoch {summary['best_epoch']} of {config.training.epochs}, the best on dev by the "
                "image alone; words beside it may still have gained. A lower context.full_mask_prob weighs them more."
            )
    group.wait_for_all()
    return folder


def _start_from(start: Path, module: nn.ModuleDict, material: Material) -> None:
    """Put the weights of another run in place of the first ones.

    Raises:
        PairJEPAError: it is no trained run, or one of other encoders or heads.
    """
    run = RunFolder(start if material.config.context.image else start / TEXT_ONLY)
    run.check_trained()
    run.check_backbones(describe(material.config, material.image, material.text))
    load_weights(module, run.model_file)
    say(f"starting from the weights of {run.path}")


def _begun(path: Path, config: RunConfig, data: dict[str, Any], *, first: bool) -> RunFolder:
    """The run folder: the first process makes it, the others find it.

    Raises:
        PairJEPAError: as `RunFolder.start`; or it is not where the first process has made it.
    """
    if first:
        return RunFolder.start(path, config, data)
    if not (path / "run.json").is_file():
        raise PairJEPAError(
            f"--run must be a folder that all processes share, got {path}, which is not the first process's. "
            "Give one on a file system that all machines see."
        )
    RunFolder.fits(path, config)
    folder = RunFolder(path)
    folder.check_data(data)
    return folder


def _located(config: RunConfig, then: RunConfig | None) -> RunConfig:
    """The same configuration from any working directory; `then`: of the run, if it is begun."""
    data = config.data
    names: dict[str, Any] = {}
    if data.source is not None:
        data = replace(data, source=sources.located(data.source))
    if data.images is not None:
        data = replace(data, images=os.path.abspath(os.path.expanduser(data.images)))
    for role in backbones.ROLES:
        name = getattr(config.model, role)
        if isinstance(name, tuple):
            names[role] = tuple(map(backbones.located, name))
        elif name:
            path = os.path.abspath(Path(name).expanduser())
            # it may be gone, if the run keeps it
            known = then is not None and getattr(then.model, role) == path
            names[role] = path if known else backbones.located(name)
    training = config.training
    if training.start is not None:
        training = replace(training, start=os.path.abspath(os.path.expanduser(training.start)))
    teachers = tuple(os.path.abspath(os.path.expanduser(path)) for path in training.teachers)
    training = replace(training, teachers=teachers)
    return replace(config, data=data, model=replace(config.model, **names), training=training)


def _kept_in_run(config: RunConfig, side: str) -> bool:
    """Whether a backbone is more than a pointer to pretrained weights, and what learns beside them."""
    model = config.model
    beside = model.pair is not None or getattr(model, f"{side}_lora") is not None
    return not pretrained(model, side) or (tuned(model, side) and not beside)
