"""The verbs: inspect, train, evaluate. Each takes an artefact and makes the next; each can be run again."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from pairjepa.config import DataConfig, ModelConfig, RunConfig
from pairjepa.errors import PairJEPAError
from pairjepa.evaluation.baselines import RidgeCCA
from pairjepa.evaluation.embedding_set import EmbeddingSet
from pairjepa.evaluation.partial import Queries, evaluate_partial, shuffled_images
from pairjepa.evaluation.result import evaluate as evaluate_embeddings
from pairjepa.evaluation.seeds import over_seeds
from pairjepa.features.encoders import load_text_backbone
from pairjepa.features.masking import Masking
from pairjepa.files import cache_folder, digest_file, write_json
from pairjepa.material import Material, describe, load_backbones, read_data
from pairjepa.model.joint import JointModel
from pairjepa.objectives import check_terms
from pairjepa.pairs import inspect as inspection
from pairjepa.pairs.captions import group_ids
from pairjepa.pairs.scan import scan
from pairjepa.pairs.table import Pairs, open_pairs
from pairjepa.progress import say
from pairjepa.run_folder import RunFolder
from pairjepa.seed_group import is_seed_group, plan_seeds, runs_at
from pairjepa.training.checkpoint import load_weights
from pairjepa.training.inputs import Inputs
from pairjepa.training.loop import Trainer
from pairjepa.training.module import best_device, build_module
from pairjepa.training.monitor import embed_images, embed_partial, embed_texts

TEXT_ONLY = "text-only"  # the folder, in a masked run, of its control
PARTIAL_RATIOS = (0.0, 0.3, 0.6, 0.9)


def inspect(config: DataConfig, text_model: str | None = None, max_tokens: int = 32) -> dict[str, Any]:
    """What is in the pairs, and what is wrong with them, JSON-ready.

    Args:
        config: which pairs.
        text_model: a text backbone whose tokenizer counts the captions' tokens exactly.
        max_tokens: where captions are cut.
    """
    pairs = open_pairs(config)
    lengths = None
    if text_model is not None:
        backbone = load_text_backbone(ModelConfig(text=text_model, max_tokens=1 << 16), 0, ())
        ids = backbone.tokenize(pairs.captions.to_pylist())
        lengths = np.array([len(caption) for caption in ids])
    return inspection.inspect(pairs, scan(pairs, cache_folder()), lengths, max_tokens)


def train(config: RunConfig, pairs: Pairs | None, run: str | Path) -> RunFolder:
    """Train a run, or go on with it; a complete one is left as it is.

    Args:
        config: see `pairjepa.recipe`.
        pairs: the pairs; None opens `config.data`.
        run: the run folder.

    Raises:
        UsageError: a setting cannot be.
        PairJEPAError: data, backbones or run folder are not as they must be.
    """
    config.validate()
    path = Path(run)
    RunFolder.fits(path, config)
    pairs = pairs if pairs is not None else open_pairs(config.data)
    image, text = load_backbones(config, _captions_of(pairs, "train"), path)
    check_terms(config.objective)
    material = Material(config, read_data(pairs, config.data.max_bad), image, text)
    folder = _fit(material, path)
    if config.context.caption is not None and config.context.image:
        # what the words alone can do, by a model that never saw an image: the control of `evaluate`
        alone = replace(config, context=replace(config.context, image=False))
        say("The text-only control:")
        _fit(Material(alone, material.data, image, text), path / TEXT_ONLY)
    return folder


def _fit(material: Material, path: Path) -> RunFolder:
    config, data, image, text = material.config, material.data, material.image, material.text
    for split, least in (("train", 2), ("dev", 1)):
        if (found := len(material.rows(split)[0])) < least:
            raise PairJEPAError(
                f"The {split} split must hold at least {least} images, got {found}. Give more pairs."
            )
    folder = RunFolder.start(path, config, data.record)
    folder.note_backbones(describe(config, image, text))
    if folder.summary is not None:
        say(f"{path} is complete: best epoch {folder.summary['best_epoch']}. Nothing to do.")
        return folder
    _warn_of_leaks(data.record)
    for side, backbone in (("image", image), ("text", text)):
        if _kept_in_run(config, side) and not (path / side).is_dir():
            backbone.save(path / side)

    device = best_device()
    module = build_module(config, image, text)
    train_split = material.split("train", masks=True)
    material.fit_standardizers(module["joint"], train_split)  # type: ignore[arg-type]
    dev = material.split("dev", masks=not config.context.image)
    trainer = Trainer(
        config,
        module.to(device),
        train=train_split,
        seen=material.split("train", most=len(dev.images), masks=not config.context.image),
        dev=dev,
        text_group=group_ids(data.pairs.captions.take(material.rows("train")[1])),
        run=folder,
        device=device,
    )
    folder.finish(trainer.fit())
    return folder


def train_seeds(config: RunConfig, pairs: Pairs | None, run: str | Path, seeds: int) -> list[RunFolder]:
    """Train a seed group: the runs `run/seed-0`, `run/seed-1`, … that differ only in `training.seed`.

    Args:
        config: see `pairjepa.recipe`; its seed is the first.
        pairs: the pairs; None opens `config.data`.
        run: the folder of the group.
        seeds: how many; those that are complete are left as they are.

    Raises:
        UsageError: a setting cannot be.
        PairJEPAError: as `train`; or the folder holds one run, or seeds of another configuration.
    """
    config.validate()
    planned = plan_seeds(Path(run), config, seeds)
    pairs = pairs if pairs is not None else open_pairs(config.data)
    folders = []
    for path, one in planned.items():
        say(f"seed {one.training.seed}: {path}")
        folders.append(train(one, pairs, path))
    return folders


def evaluate(
    run: str | Path,
    split: str = "test",
    *,
    export: str | Path | None = None,
    relevance: Literal["owner", "text"] = "owner",
    pairs: Pairs | None = None,
) -> dict[str, Any]:
    """Embed a split, measure it beside chance and CCA, and keep both in the run folder.

    Args:
        run: a run folder; or a seed group, whose result is that of `evaluation.over_seeds`.
        split: train, dev or test.
        export: a folder for the embeddings, besides the run's own; of a seed group, one in it for each seed.
        relevance: `owner` counts an image's own captions, `text` every caption with the same words.
        pairs: the pairs that the run was trained on, if they were given to `train`.

    Raises:
        PairJEPAError: there is no such run or split, or data or backbones have changed.
    """
    if is_seed_group(Path(run)):
        group = runs_at(Path(run))
        pairs = pairs if pairs is not None else open_pairs(group[0].config.data)
        return over_seeds(
            [
                evaluate(
                    one.path,
                    split,
                    export=Path(export) / one.path.name if export is not None else None,
                    relevance=relevance,
                    pairs=pairs,
                )
                for one in group
            ]
        )
    folder = RunFolder(Path(run))
    config = folder.config
    data = read_data(pairs if pairs is not None else open_pairs(config.data), 1.0)
    folder.check_data(data.record)
    image, text = load_backbones(config, (), folder.path)
    folder.check_backbones(describe(config, image, text))
    if folder.summary is None:
        say(f"warning: the training of {folder.path} is not complete; this is the best epoch so far.")
    _warn_of_leaks(data.record)
    material = Material(config, data, image, text)
    baseline = _cca(material, split)
    embeddings = _embed(folder, material, split)
    result = evaluate_embeddings(embeddings, cca=baseline, relevance=relevance)
    if config.context.caption is not None and config.context.image:
        result["partial"] = _partial(folder, material, split)
    result |= {
        "run": str(folder.path),
        "recipe": config.recipe,
        "seed": config.training.seed,
        "data": {key: data.record[key] for key in ("description", "generated", "digest", "leaks")},
        "cost": folder.summary["cost"] if folder.summary else None,
    }
    name = split if relevance == "owner" else f"{split}-{relevance}"
    write_json(folder.path / "evaluation" / f"{name}.json", json.loads(json.dumps(result)))
    if export is not None:
        embeddings.save(Path(export))
    return result


def _partial(folder: RunFolder, material: Material, split: str) -> dict[str, Any]:
    """Image and partly masked caption → its own caption, beside shuffled images and the text-only control."""
    _, captions, owner = material.rows(split)
    kind = material.config.context.caption
    assert kind is not None
    device = best_device()
    model, control = _trained(folder, material, device), None
    if (folder.path / TEXT_ONLY / "model.safetensors").is_file():
        control = _trained(RunFolder(folder.path / TEXT_ONLY), material, device)
    sides = material.split(split)
    images = len(sides.images)
    other = shuffled_images(images)[owner]
    result = {}
    for ratio in PARTIAL_RATIOS:
        masked = material.masked(captions, Masking(kind, ratio, ratio), 1)

        def queries(joint: JointModel, shown: np.ndarray, masked: Inputs = masked) -> Queries:
            predictions = embed_partial(joint, sides.images, masked, shown, device)
            return predictions, embed_texts(joint, sides.texts, device)

        result[str(ratio)] = evaluate_partial(
            queries(model, owner),
            queries(model, other) if images > 1 else None,
            queries(control, owner) if control is not None else None,
            owner,
            images,
        )
    return result


def _trained(folder: RunFolder, material: Material, device: torch.device) -> JointModel:
    """The heads of a run's best epoch; tuned backbones of the material get that epoch's weights too."""
    module = build_module(folder.config, material.image, material.text)
    load_weights(module, folder.model_file)
    joint = module.to(device).eval()["joint"]
    assert isinstance(joint, JointModel)
    return joint


def _embed(folder: RunFolder, material: Material, split: str) -> EmbeddingSet:
    device = best_device()
    images, captions, owner = material.rows(split)
    joint = _trained(folder, material, device)
    sides = material.split(split)
    pairs = material.data.pairs.take(images)
    embeddings = EmbeddingSet(
        image=embed_images(joint, sides.images, device),
        text=embed_texts(joint, sides.texts, device),
        owner=owner,
        names=pairs.names,
        captions=material.data.pairs.captions.take(captions).to_pylist(),
        split=split,
        run=digest_file(folder.model_file),
    )
    embeddings.save(folder.path / "embeddings" / split)
    return embeddings


def _cca(material: Material, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of ridge CCA on the features that the run began with, views averaged."""
    train_images, train_captions, train_owner = material.rows("train")
    images, captions, _ = material.rows(split)
    fitted = RidgeCCA.fit(
        material.pooled_features(train_images),
        material.text_features.gather(train_captions),
        train_owner,
    )
    return (
        fitted.image(material.pooled_features(images)),
        fitted.text(material.text_features.gather(captions)),
    )


def _captions_of(pairs: Pairs, split: str) -> list[str]:
    return pairs.split(split).captions.to_pylist()


def _kept_in_run(config: RunConfig, side: str) -> bool:
    """Whether a backbone is more than a pointer to pretrained weights."""
    model = config.model
    return (
        getattr(model, f"{side}_tune") is not None
        or getattr(model, f"{side}_weights") == "random"
        or str(getattr(model, side)).startswith("tiny-")
    )


def _warn_of_leaks(record: dict[str, Any]) -> None:
    for count in record["leaks"]["counts"]:
        for kind, words in (("same_bytes", "the same bytes"), ("near", "nearly the same picture")):
            if count[kind]:
                first, second = count["splits"]
                say(
                    f"warning: {count[kind]:,} of {count['images']:,} {second} images stand in {first} too ({words}): "
                    f"numbers on {second} are too good. Which ones: pairjepa inspect."
                )
