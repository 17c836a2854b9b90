"""What the verbs do once everything is found: fit a run on its pairs, embed a split, measure it.

This is where Torch and Transformers come in; `workflow` looks for mistakes before.
"""

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pairjepa.config import RunConfig
from pairjepa.embedder import Embedder
from pairjepa.errors import PairJEPAError
from pairjepa.evaluation.baselines import RidgeCCA
from pairjepa.evaluation.embedding_set import EmbeddingSet
from pairjepa.evaluation.illustrations import Illustrations, found
from pairjepa.evaluation.partial import Queries, evaluate_partial, shuffled_images
from pairjepa.evaluation.result import evaluate as evaluate_embeddings
from pairjepa.features.allocator import give_back_freed_memory
from pairjepa.features.masking import Masking
from pairjepa.files import atomic_folder, digest_file, write_json, writing
from pairjepa.illustrate import hidden_words, looks, thumbnails
from pairjepa.material import Material, describe, load_backbones, read_data
from pairjepa.objectives import check_terms
from pairjepa.pairs.captions import group_ids
from pairjepa.pairs.table import Pairs
from pairjepa.progress import say
from pairjepa.run_folder import RunFolder
from pairjepa.training.checkpoint import load_weights
from pairjepa.training.distributed import current
from pairjepa.training.loop import Trainer
from pairjepa.training.module import best_device, build_module
from pairjepa.training.monitor import embed_images, embed_partial, embed_texts

TEXT_ONLY = "text-only"  # the folder, in a masked run, of its control
PARTIAL_RATIOS = (0.0, 0.3, 0.6, 0.9)
PARTIAL_EXAMPLES = 24  # captions that are kept to look at
ILLUSTRATIONS = "illustrations"
DEV_IMAGES = 5000  # that an epoch is measured on: its images are compared with all of its captions


def fit(config: RunConfig, pairs: Pairs, path: Path, track: str | None = None) -> RunFolder:
    """Train a run, or go on with it, and with the text-only control of a masked one; see `workflow.train`.

    Raises:
        UsageError: a term of the objective is unknown, or a setting does not fit the backbones.
        PairJEPAError: data, backbones or run folder are not as they must be.
    """
    check_terms(config.objective)
    image, text = load_backbones(config, pairs.captions_of("train").to_pylist(), path)
    with current().turns():  # the first process fills the cache for the others
        data = read_data(pairs, config.data.max_bad)
    data.pairs.check_trainable()  # without its unreadable images
    _warn_of_leaks(data.record)
    material, control = Material(config, data, image, text), None
    if config.context.caption is not None and config.context.image:
        # what the words alone can do, by a model that never saw an image: the control of `evaluate`
        control = material.apart(replace(config, context=replace(config.context, image=False)))
    folder = fit_material(material, path, track)
    if control is not None:
        say("The text-only control:")
        fit_material(control, path / TEXT_ONLY, track)
    return folder


def fit_material(material: Material, path: Path, track: str | None = None) -> RunFolder:
    """Train one run on what was opened for it, or go on with it; a complete one is left as it is."""
    config, data, image, text = material.config, material.data, material.image, material.text
    group = current()
    with group.turns():
        folder = _begun(path, config, data.record, first=group.first)
        folder.note_backbones(describe(config, image, text))
    if folder.summary is not None:
        say(f"{path} is complete: best epoch {folder.summary['best_epoch']}. Nothing to do.")
        return folder
    for side, backbone in (("image", image), ("text", text)):
        if group.first and _kept_in_run(config, side) and not (path / side).is_dir():
            with writing(path / side), atomic_folder(path / side) as temporary:
                backbone.save(temporary)

    device = best_device()
    module = build_module(config, image, text)
    with group.turns():
        train_split = material.split("train", masks=True)
        dev = material.split("dev", most=DEV_IMAGES, masks=not config.context.image)
    material.fit_standardizers(module["joint"], train_split)  # type: ignore[arg-type]
    trainer = Trainer(
        config,
        module.to(device),
        train=train_split,
        seen=material.split("train", most=len(dev.images), masks=not config.context.image),
        dev=dev,
        text_group=group_ids(data.pairs.captions.take(material.rows("train")[1])),
        run=folder,
        device=device,
        track=track,
    )
    give_back_freed_memory()  # of tables and keys, whose size is that of the data
    summary = trainer.fit()
    if summary is not None:
        folder.finish(summary)
    group.meet()
    return folder


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


def measure(
    folder: RunFolder, pairs: Pairs, split: str, export: Path | None, relevance: Literal["owner", "text"]
) -> dict[str, Any]:
    """Embed a split, measure it beside chance and CCA, and keep both in the run folder; see `workflow.evaluate`.

    Raises:
        PairJEPAError: data or backbones have changed.
    """
    config = folder.config
    data = read_data(pairs, 1.0)
    folder.check_data(data.record)
    data.pairs.check_split(split)  # it may have lost its last readable image
    image, text = load_backbones(config, (), folder.path)
    folder.check_backbones(describe(config, image, text))
    _warn_of_leaks(data.record)
    material = Material(config, data, image, text)
    baseline = _cca(
        material, split
    )  # on the features before training: first, while the backbones are untrained
    embedder = _embedder(folder, material)
    embeddings = _embed(embedder, material, split)
    result = evaluate_embeddings(embeddings, cca=baseline, relevance=relevance)
    examples: list[dict[str, Any]] = []
    if config.context.caption is not None and config.context.image:
        result["partial"], examples = _partial(folder, material, split)
    illustrations = _illustrate(embedder, material, embeddings, examples)
    result |= {
        "run": str(folder.path),
        "recipe": config.recipe,
        "seed": config.training.seed,
        "data": {key: data.record[key] for key in ("description", "generated", "digest", "leaks")},
        "cost": folder.summary["cost"] if folder.summary else None,
    }
    name = split if relevance == "owner" else f"{split}-{relevance}"
    for target in (folder.path / "embeddings" / split, *([export] if export is not None else [])):
        with writing(target):
            embeddings.save(target)
    with writing(folder.path):
        illustrations.save(folder.path / ILLUSTRATIONS / split)
        write_json(folder.path / "evaluation" / f"{name}.json", json.loads(json.dumps(result)))
    return result


def _partial(
    folder: RunFolder, material: Material, split: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Image and partly masked caption → its own caption, beside shuffled images and the text-only control.

    Returns:
        What was measured, for each ratio; and some of the queries, as `Illustrations.partial` has them.
    """
    _, _, owner = material.rows(split)
    images = len(np.unique(owner))
    other = shuffled_images(images)[owner]
    control = _control(folder, material)
    chosen = np.sort(np.random.default_rng(0).permutation(len(owner))[:PARTIAL_EXAMPLES])
    result, examples = {}, []
    for ratio in PARTIAL_RATIOS:
        seen, shuffled = queries(folder, material, split, ratio, [owner, other])
        ways = {
            "with_image": seen,
            "shuffled": shuffled if images > 1 else None,
            "text_only": queries(*control, split, ratio, [owner])[0] if control is not None else None,
        }
        result[str(ratio)] = evaluate_partial(seen, ways["shuffled"], ways["text_only"], owner, images)
        if ratio > 0:
            examples += _examples(material, split, ratio, ways, chosen, other if images > 1 else None)
    return result, examples


def _examples(
    material: Material,
    split: str,
    ratio: float,
    ways: dict[str, Queries | None],
    chosen: np.ndarray,
    other: np.ndarray | None,
) -> list[dict[str, Any]]:
    """The queries of the captions `chosen` at one ratio, word by word, and what each way of asking found."""
    _, captions, owner = material.rows(split)
    kind = material.config.context.caption
    assert kind is not None
    answers = {way: found(queries, chosen) if queries is not None else None for way, queries in ways.items()}
    texts = material.data.pairs.captions.take(captions[chosen]).to_pylist()
    return [
        {
            "caption": row,
            "image": int(owner[row]),
            "shuffled_image": None if other is None else int(other[row]),
            "ratio": ratio,
            "tokens": hidden_words(material.text, text, Masking(kind, ratio, ratio)),
            **{way: answer[number] if answer is not None else None for way, answer in answers.items()},
        }
        for number, (row, text) in enumerate(zip(chosen.tolist(), texts, strict=True))
    ]


def _illustrate(
    embedder: Embedder, material: Material, embeddings: EmbeddingSet, partial: list[dict[str, Any]]
) -> Illustrations:
    """Pictures of a split, those of an earlier evaluation of the same weights, with the examples of this one."""
    folder = embedder.run.path / ILLUSTRATIONS / embeddings.split
    with contextlib.suppress(PairJEPAError):  # damaged, or of another version: they are made again
        earlier = Illustrations.load(folder, len(embeddings.image))
        if earlier.run == embeddings.run:
            return replace(earlier, partial=partial)
    say("pictures to look at: thumbnails and where the model looked")
    pairs = material.data.pairs.split(embeddings.split)
    seen, notes = looks(embedder, pairs, embeddings)
    return Illustrations(thumbnails(pairs), partial, seen, embeddings.run, notes)


def _control(folder: RunFolder, material: Material) -> tuple[RunFolder, Material] | None:
    """The text-only run in a masked one, with backbones of its own: those of the run hold the run's weights."""
    if not (folder.path / TEXT_ONLY / "model.safetensors").is_file():
        return None
    control = RunFolder(folder.path / TEXT_ONLY)
    return control, Material(control.config, material.data, *load_backbones(control.config, (), control.path))


def queries(
    folder: RunFolder, material: Material, split: str, ratio: float, shown: list[np.ndarray]
) -> list[Queries]:
    """Predictions and targets of a run's best epoch, for each way `shown` of putting an image to each caption."""
    _, captions, _ = material.rows(split)
    kind = material.config.context.caption
    assert kind is not None
    device = best_device()
    joint, sides = _embedder(folder, material).joint, material.split(split)
    masked = material.masked(captions, Masking(kind, ratio, ratio), 1)
    targets = embed_texts(joint, sides.texts, device)
    return [(embed_partial(joint, sides.images, masked, owner, device), targets) for owner in shown]


def _embedder(folder: RunFolder, material: Material) -> Embedder:
    """A run's best epoch; tuned backbones of the material get that epoch's weights too."""
    module = build_module(folder.config, material.image, material.text)
    load_weights(module, folder.model_file)
    return Embedder(folder, module, material.image, material.text)


def _embed(embedder: Embedder, material: Material, split: str) -> EmbeddingSet:
    device, joint = best_device(), embedder.joint
    images, captions, owner = material.rows(split)
    sides = material.split(split)
    pairs = material.data.pairs.take(images)
    return EmbeddingSet(
        image=embed_images(joint, sides.images, device),
        text=embed_texts(joint, sides.texts, device),
        owner=owner,
        names=pairs.names,
        captions=material.data.pairs.captions.take(captions).to_pylist(),
        split=split,
        run=digest_file(embedder.run.model_file),
    )


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
