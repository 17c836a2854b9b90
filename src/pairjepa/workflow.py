"""The verbs: inspect, train, evaluate. Each takes an artefact and makes the next; each can be run again."""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pairjepa.config import DataConfig, ModelConfig, RunConfig
from pairjepa.errors import PairJEPAError
from pairjepa.evaluation.baselines import RidgeCCA
from pairjepa.evaluation.embedding_set import EmbeddingSet
from pairjepa.evaluation.result import evaluate as evaluate_embeddings
from pairjepa.features.encoders import load_text_backbone
from pairjepa.files import cache_folder, digest_file, write_json
from pairjepa.material import Material, describe, load_backbones, read_data
from pairjepa.pairs import inspect as inspection
from pairjepa.pairs.captions import group_ids
from pairjepa.pairs.scan import scan
from pairjepa.pairs.table import Pairs, open_pairs
from pairjepa.progress import say
from pairjepa.run_folder import RunFolder
from pairjepa.training.checkpoint import load_weights
from pairjepa.training.loop import Trainer
from pairjepa.training.module import best_device, build_module
from pairjepa.training.monitor import embed_images, embed_texts


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
    data = read_data(pairs, config.data.max_bad)
    material = Material(config, data, image, text)
    for split, least in (("train", 2), ("dev", 1)):
        if (found := len(material.rows(split)[0])) < least:
            raise PairJEPAError(f"The {split} split must hold at least {least} images, got {found}. Give more pairs.")
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
    material.fit_standardizers(module["joint"])  # type: ignore[arg-type]
    dev = material.split("dev")
    trainer = Trainer(
        config,
        module.to(device),
        train=material.split("train"),
        seen=material.split("train", most=len(dev.images)),
        dev=dev,
        text_group=group_ids(data.pairs.captions.take(material.rows("train")[1])),
        run=folder,
        device=device,
    )
    folder.finish(trainer.fit())
    return folder


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
        run: a run folder.
        split: train, dev or test.
        export: a folder for the embeddings, besides the run's own.
        relevance: `owner` counts an image's own captions, `text` every caption with the same words.
        pairs: the pairs that the run was trained on, if they were given to `train`.

    Raises:
        PairJEPAError: there is no such run or split, or data or backbones have changed.
    """
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


def _embed(folder: RunFolder, material: Material, split: str) -> EmbeddingSet:
    device = best_device()
    images, captions, owner = material.rows(split)
    module = build_module(folder.config, material.image, material.text)
    load_weights(module, folder.model_file)
    module.to(device).eval()
    sides = material.split(split)
    pairs = material.data.pairs.take(images)
    embeddings = EmbeddingSet(
        image=embed_images(module["joint"], sides.images, device),  # type: ignore[arg-type]
        text=embed_texts(module["joint"], sides.texts, device),  # type: ignore[arg-type]
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
        material.image_features.gather(train_images).mean(axis=1),
        material.text_features.gather(train_captions),
        train_owner,
    )
    return (
        fitted.image(material.image_features.gather(images).mean(axis=1)),
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
