"""The verb evaluate: embed a split of a run, measure it beside baselines, keep both in the run folder."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pairjepa.backbones.device import best_device
from pairjepa.backbones.encoders import describe, load_backbones
from pairjepa.backbones.location import find_backbones
from pairjepa.config.settings import DataConfig
from pairjepa.embedder.embedder import Embedder
from pairjepa.evaluation import baseline_rows
from pairjepa.evaluation.embedding_set import EmbeddingSet, check_target
from pairjepa.evaluation.illustrate import hidden_words, split_saliency, thumbnails
from pairjepa.evaluation.illustrations import Illustrations, found
from pairjepa.evaluation.result import evaluate_embeddings, measure_twins
from pairjepa.features.engines import check_engine
from pairjepa.metrics.over_seeds import over_seeds
from pairjepa.metrics.partial import Queries, evaluate_partial, shuffled_images
from pairjepa.pairs.data import read_data, read_known
from pairjepa.pairs.leaks import warn_of_leaks
from pairjepa.pairs.sources import located
from pairjepa.pairs.splits import ORDER, TEST, USED
from pairjepa.pairs.table import Pairs, opened
from pairjepa.run.folder import TEXT_ONLY, RunFolder
from pairjepa.run.seeds import is_seed_group, runs_at
from pairjepa.training.chosen_on_dev import load_or_fit
from pairjepa.training.material import Material, warn_of_captions
from pairjepa.training.monitor import embed_images, embed_partial, embed_texts
from pairjepa.util.checksums import write_record
from pairjepa.util.errors import PairJEPAError, UsageError, unknown
from pairjepa.util.files import check_file, remove_leftovers, writing
from pairjepa.util.progress import say
from pairjepa.util.words import counted

PARTIAL_RATIOS = (0.0, 0.3, 0.6, 0.9)
PARTIAL_EXAMPLES = 24  # captions that are kept to look at
ILLUSTRATIONS = "illustrations"
ALL = "all"


def evaluate(
    run: str | Path,
    split: str = "test",
    *,
    export: str | Path | None = None,
    relevance: Literal["owner", "text"] = "owner",
    pairs: Pairs | None = None,
    data: str | Path | DataConfig | None = None,
) -> dict[str, Any]:
    """Embed a split, measure it beside chance and CCA, and keep both in the run folder.

    Args:
        run: a run folder; or a seed group, whose result is that of `metrics.over_seeds`.
        split: train, dev or test; `all` of other pairs.
        export: a folder for the embeddings, besides the run's own; of a seed group, one in it for each seed.
        relevance: `owner` counts an image's own captions, `text` every caption with the same words.
        pairs: the pairs that the run was trained on, if they were given to `train`.
        data: where the data are now, if they have moved, which the run keeps; or other pairs, whose result has files
            of its own (`SPLIT-on-DIGEST`). Of other pairs without that split all are measured. A `DataConfig` says
            how they are read, too.

    Raises:
        UsageError: `split` or `relevance` is unknown.
        PairJEPAError: there is no such run or split, or data or backbones have changed.
    """
    if relevance not in ("owner", "text"):
        raise unknown("relevance", relevance, ("owner", "text"))
    runs = {one: None if export is None else Path(export) for one in runs_at(Path(run))}
    if group := is_seed_group(Path(run)):
        runs = {one: target and target / one.path.name for one, target in runs.items()}
    for one, target in runs.items():
        one.check_trained()
        check_engine(one.config.model.engine)
        find_backbones(one.config, one.path)
        if target is not None:
            check_target(target)
    named = next(iter(runs)).config.data
    if data is not None:
        given = data if isinstance(data, DataConfig) else replace(named, source=str(data))
        named = replace(given, source=located(str(given.source)))
    try:
        try:
            pairs = opened(pairs, named)
        except UsageError:
            plain = DataConfig(named.source)
            if data is None or isinstance(data, DataConfig) or plain == named:
                raise
            # the columns are those of the run's data, which other pairs need not have
            pairs, named = opened(None, plain), plain
    except UsageError:
        raise
    except PairJEPAError as error:
        raise PairJEPAError(
            f"{error} If the data of {run} have moved, say where they are now: pairjepa evaluate {run} --data WHERE."
        ) from None
    other = data is not None and _is_other(next(iter(runs)), pairs)
    if other:
        say(f"{pairs.description}: not the pairs that {run} was trained on; the run's own results stay.")
        if split in pairs.drawn:
            say(f"Measured is their split {split}, which a hash has drawn; all: --split all")
        pairs, split = with_split(pairs, split)
    pairs.check_split(split)
    for one in runs:
        check_file(one.path / "evaluation" / f"{split}.json")
    results = []
    for one, target in runs.items():
        if one.summary is None:
            say(f"warning: the training of {one.path} is not complete; this is the best epoch so far.")
        results.append(measure(one, pairs, split, target, relevance, other=other))
        if data is not None and not other:
            one.note_names(replace(one.config, data=named))
    return over_seeds(results) if group else results[0]


def _is_other(run: RunFolder, pairs: Pairs) -> bool:
    """Whether these are other pairs than those that the run was trained on, by their digests."""
    if not any(split in pairs.splits for split in USED):
        return True
    return bool(read_known(pairs, 1.0, run).record["digest"] != run.record["data"]["digest"])


def with_split(pairs: Pairs, split: str) -> tuple[Pairs, str]:
    """Other pairs with the split that is measured: their own of that name, else all of them; `all` makes them test."""
    if split == ALL:
        return pairs.with_splits([TEST] * pairs.n_images), TEST
    if split in pairs.splits or split not in ORDER:
        return pairs, split
    say(f"{pairs.description} have no split {split!r}: measured on all ({counted(pairs.n_images, 'image')}).")
    return pairs.with_splits([split] * pairs.n_images), split


def measure(
    folder: RunFolder,
    pairs: Pairs,
    split: str,
    export: Path | None,
    relevance: Literal["owner", "text"],
    *,
    other: bool = False,
) -> dict[str, Any]:
    """Embed a split, measure it beside chance and CCA, and keep both in the run folder; see `evaluate`.

    Raises:
        PairJEPAError: data or backbones have changed.
    """
    config = folder.config
    remove_leftovers(folder.path, deep=True)
    data = read_data(pairs, 1.0) if other else read_known(pairs, 1.0, folder)
    if not other:
        folder.check_data(data.record)
    data.pairs.check_split(split)  # it may have lost its last readable image
    image, text = load_backbones(config, (), folder.path)
    folder.check_backbones(describe(config, image, text))
    warn_of_leaks(data.record)
    if other:  # of its own pairs, `train` has said it
        warn_of_captions(data.pairs, text)
    material = Material(config, data, image, text, folder.record.get("engines"))
    twins = material.twins(split)
    # on the features before training: first, while the backbones are untrained
    pretrained = (
        baseline_rows.pretrained(material, split, not other, twins) if config.model.pair is not None else None
    )
    forms = baseline_rows.closed_forms(material, split, not other, twins, None if other else folder)
    cca = forms.pop("cca", None)
    embedder = Embedder.of(folder, image, text)
    kept = f"{split}-on-{data.record['digest'][:8]}" if other else split
    joint, device, sides = embedder.joint, best_device(), material.split(split)
    rows = embed_images(joint, sides.images, device), embed_texts(joint, sides.texts, device)
    embeddings = replace(embedding_set(material, split, *rows, embedder.weights), split=kept)
    correction = (
        load_or_fit(folder, material, joint, embedder.weights, device)
        if config.context.image and not other  # its bank and its α and k are of the run's own pairs
        else None
    )
    result = evaluate_embeddings(
        embeddings,
        cca=cca,
        pretrained=pretrained,
        regressions=forms,
        hubness=correction,
        relevance=relevance,
    )
    texts = embed_texts(joint, material.texts([twin.text for twin in twins]), device)
    model = embeddings.image, embeddings.text, texts
    result["hard_negatives"], measured_twins = measure_twins(twins, model, embeddings.owner, cca)
    examples: list[dict[str, Any]] = []
    control = None
    if config.context.caption is not None and config.context.image:
        control = _control(embedder, material)
        result["partial"], examples = _partial(embedder, material, split, control)
    illustrations = None if other else _illustrate(embedder, material, embeddings, examples)
    if illustrations is not None:
        illustrations = replace(illustrations, twins=measured_twins)
    result |= {
        "split": split,
        "run": str(folder.path),
        "weights": embedder.weights,
        "control_weights": None if control is None else control[0].weights,
        "recipe": config.recipe,
        "seed": config.training.seed,
        "data": {key: data.record[key] for key in ("description", "generated", "digest", "leaks")}
        | {"other": other},
        "cost": folder.summary["cost"] if folder.summary else None,
    }
    name = kept if relevance == "owner" else f"{kept}-{relevance}"
    for target in (folder.path / "embeddings" / kept, *([export] if export is not None else [])):
        embeddings.save(target)
    with writing(folder.path):
        if illustrations is not None:
            illustrations.save(folder.path / ILLUSTRATIONS / split)
        write_record(folder.path / "evaluation" / f"{name}.json", result)
    return result


def _partial(
    embedder: Embedder, material: Material, split: str, control: tuple[Embedder, Material] | None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Image and partly masked caption → its own caption, beside shuffled images and the text-only control.

    Returns:
        What was measured, for each ratio; and some of the queries, as `Illustrations.partial` has them.
    """
    _, _, owner = material.rows(split)
    images = len(np.unique(owner))
    other = shuffled_images(images)[owner]
    chosen = np.sort(np.random.default_rng(0).permutation(len(owner))[:PARTIAL_EXAMPLES])
    result, examples = {}, []
    for ratio in PARTIAL_RATIOS:
        seen, shuffled = queries(embedder, material, split, ratio, [owner, other])
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
    answers = {way: found(queries, chosen) if queries is not None else None for way, queries in ways.items()}
    texts = material.data.pairs.captions.take(captions[chosen]).to_pylist()
    return [
        {
            "caption": row,
            "image": int(owner[row]),
            "shuffled_image": None if other is None else int(other[row]),
            "ratio": ratio,
            "tokens": hidden_words(material.text, text, material.masking(ratio)),
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
    say("illustrations: thumbnails and saliency maps")
    pairs = material.data.pairs.split(embeddings.split)
    saliency, notes = split_saliency(embedder, pairs, embeddings)
    return Illustrations(thumbnails(pairs), partial, saliency, embeddings.run, notes)


def _control(embedder: Embedder, material: Material) -> tuple[Embedder, Material] | None:
    """The text-only run in a masked one, with backbones of its own: those of the run hold the run's weights."""
    path = embedder.run.path / TEXT_ONLY
    if not (path / "model.safetensors").is_file():
        say(
            f"warning: {path} holds no weights: the text-only queries are left out. "
            "Run the same train command again to have them."
        )
        return None
    control = RunFolder(path)
    backbones = load_backbones(control.config, (), path)
    features = Material(control.config, material.data, *backbones, control.record.get("engines"))
    return Embedder.of(control, *backbones), features


def queries(
    embedder: Embedder, material: Material, split: str, ratio: float, shown: list[np.ndarray]
) -> list[Queries]:
    """Predictions and targets of a run's best epoch, for each way `shown` of putting an image to each caption."""
    _, captions, _ = material.rows(split)
    device, joint, sides = best_device(), embedder.joint, material.split(split)
    masked = material.masked(captions, material.masking(ratio), 1)
    targets = embed_texts(joint, sides.texts, device)
    return [(embed_partial(joint, sides.images, masked, owner, device), targets) for owner in shown]


def embedding_set(
    material: Material, split: str, image: np.ndarray, text: np.ndarray, weights: str
) -> EmbeddingSet:
    """Both sides of a split as an artefact; `weights` is the digest of those that made them."""
    images, captions, owner = material.rows(split)
    pairs = material.data.pairs
    names, texts = pairs.take(images).names, pairs.captions.take(captions).to_pylist()
    return EmbeddingSet(image, text, owner, names, texts, split, weights)
