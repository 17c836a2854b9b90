"""The model card of a run: what its own files say of it, and what they do not say is called missing."""

import html
import re
from typing import Any

from pairjepa.backbones.location import TINY
from pairjepa.config.settings import RunConfig, starts_as_pair, tuned
from pairjepa.embedder.embedder import Embedder
from pairjepa.evaluation.tables import markdown_table, partial_table
from pairjepa.util.words import counted

DIRECTIONS = {"image_to_text": "image → text", "text_to_image": "text → image"}


def model_card(
    name: str,
    address: str,
    record: dict[str, Any],
    summary: dict[str, Any] | None,
    evaluations: dict[str, dict[str, Any]],
    embedder: Embedder,
    licence: str | None,
) -> str:
    """The README.md of a hub folder, with the metadata that the hub reads.

    Args:
        name: of the model.
        address: what `Embedder.from_pretrained` takes.
        record: the run's run.json, free of what is private.
        summary: the run's summary.json; None if it is not complete.
        evaluations: what `evaluate` wrote, by the name of its file.
        embedder: the run.
        licence: the hub's identifier of a licence, or None.
    """
    measured = next((evaluations[split] for split in ("test", "dev") if split in evaluations), None)
    sections = [
        f"---\n{_metadata(name, record, measured, licence)}\n---",
        f"# {_text(name)}",
        _what(embedder),
        "## Use\n\n" + _use(address, embedder),
        "## How good it is\n\n" + _measured(name, measured),
        "## What it learned from\n\n" + _data(record),
        "## What it is made of\n\n" + _parts(record, embedder),
        "## What it cost\n\n" + _cost(summary, embedder.config),
        "## Limits\n\n" + _limits(record, embedder),
        "## Licence\n\n" + _licence(record, licence),
    ]
    return "\n\n".join(sections) + "\n"


def _metadata(
    name: str,
    record: dict[str, Any],
    measured: dict[str, Any] | None,
    licence: str | None,
) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    results = []
    if measured is not None:
        recalls = {
            f"{words} {metric}": measured[way][metric]
            for way, words in DIRECTIONS.items()
            for metric in ("R@1", "R@5", "R@10")
        }
        results = [
            EvalResult(
                task_type="image-text-retrieval",
                dataset_type="pairs",
                dataset_name=record["data"]["description"],
                dataset_split=measured["split"],
                metric_type="recall",
                metric_name=metric,
                metric_value=round(value, 2),
            )
            for metric, value in (recalls | {"rsum": measured["rsum"]}).items()
        ]
    data = ModelCardData(
        license=licence,
        library_name="pairjepa",
        tags=["pairjepa", "image-text-retrieval", "joint-embedding", record["config"]["recipe"]],
        base_model=[source for source in _sources(record) if "/" in source] or None,
        model_name=name if results else None,
        eval_results=results or None,
    )
    return data.to_yaml()


def _what(embedder: Embedder) -> str:
    seen = "an image and, where there is one, a part of its caption" if embedder.sees_captions else "an image"
    return (
        f"From {seen}, it predicts the embedding of the whole caption, in one forward pass. "
        f"Images and captions become unit vectors of {embedder.dim} numbers; "
        "their inner product says how well they fit."
    )


def _use(address: str, embedder: Embedder) -> str:
    predict = (
        f'\nboth = embedder.predict(["photo.jpg"], ["a dog in{_hole(embedder)} snow"])'
        if embedder.sees_captions
        else ""
    )
    return f"""```python
import pairjepa

embedder = pairjepa.Embedder.from_pretrained("{address}")
images = embedder.encode_image(["photo.jpg"])
captions = embedder.encode_text(["a dog in the snow", "two people on a bench"])
print(images @ captions.T)  # cosines, (images, captions){predict}
```

Weights are safetensors, backbones included. Loading runs no code but that of PairJEPA and Transformers."""


def _hole(embedder: Embedder) -> str:
    """What stands for a word that is not known, in the training of the run."""
    omitted = embedder.config.context.hidden_words == "omit"
    mask = None if omitted else embedder.text.tokenizer.mask_token
    return f" {mask}" if mask else ""


def _measured(name: str, measured: dict[str, Any] | None) -> str:
    if measured is None:
        return "It was not evaluated before it was exported. `pairjepa evaluate RUN --split test` does that."
    parts = [
        f"Measured on the {measured['split']} split of its own data: {counted(measured['images'], 'image')} and "
        f"{counted(measured['captions'], 'caption')}, from images alone. In brackets the 95 % interval of the "
        "bootstrap over images; CCA is a closed formula on the same features.",
        markdown_table({_text(name): measured}),
    ]
    parts += [_text(note) for note in measured["notes"]]
    if measured["split"] == "dev":
        parts.append("The epoch was chosen on this split, so the numbers are a little too good.")
    if "partial" in measured:
        parts.append(f"```\n{partial_table([measured['partial']])}\n```")
    return "\n\n".join(parts)


def _data(record: dict[str, Any]) -> str:
    data = record["data"]
    drawn = " They were drawn by a program, not photographed." if data["generated"] else ""
    lines = [f"{_text(data['description'])}.{drawn}", ""]
    lines += [
        f"- {split}: {counted(n['images'], 'image')}, {counted(n['captions'], 'caption')}"
        for split, n in data["splits"].items()
    ]
    lines += [f"- left out because they cannot be read: {data['unreadable']:,}"]
    lines += [f"- digest of the pairs: `{data['digest']}`"]
    return "\n".join(lines)


def _parts(record: dict[str, Any], embedder: Embedder) -> str:
    config = embedder.config
    lines = [f"- recipe `{config.recipe}`, seed {config.training.seed}"]
    for side, backbone in record["backbones"].items():
        revision = f" at `{_text(backbone['revision'])}`" if backbone["revision"] else ""
        rank = getattr(config.model, f"{side}_lora")
        way = f"LoRA of rank {rank}" if rank else "tuned" if tuned(config.model, side) else "frozen"
        if side == "text" and (frozen := config.model.text_frozen_layers):
            way += f" above layer {frozen}"
        lines.append(
            f"- {side} backbone: {_text(backbone['source'])}{revision}, {backbone['parameters']:,} parameters, {way}"
        )
    lines.append(
        f"- images of {embedder.image.preprocessing.size} pixels, views {', '.join(config.model.image_views)}; "
        f"captions of at most {embedder.text.max_tokens} tokens"
    )
    lines.append(f"- shared space of {embedder.dim} numbers, temperature {embedder.temperature:.4f}")
    lines.append(f"- digest of the weights: `{embedder.weights}`")
    versions = ", ".join(f"{package} {version}" for package, version in record["versions"].items())
    return "\n".join([*lines, f"- made with {versions}"])


def _cost(summary: dict[str, Any] | None, config: RunConfig) -> str:
    if summary is None:
        return "The training was not complete when it was exported."
    cost, epoch = summary["cost"], summary["best_epoch"]
    start = "closed formula"
    if starts_as_pair(config.model):
        start = "pretrained pair" if config.training.start is None else "weights it started from"
    share = summary.get("closed_form_share")
    mixed = f" {100 * share:g} % of the heads is ridge CCA." if share else ""
    kept = "" if share else ", which it is"
    best = f"The best epoch was {epoch}." if epoch else f"No epoch was better than the {start}{kept}."
    return (
        f"{cost['training_seconds']:,.1f} seconds of training, {cost['trained_parameters']:,} trained parameters, "
        f"{cost['peak_rss_bytes'] / 2**30:.1f} GiB of memory at most. {best}{mixed}"
    )


def _limits(record: dict[str, Any], embedder: Embedder) -> str:
    lines = [
        "What it knows comes from the pairs above and from what its backbones learned from; their biases are its own.",
        "The numbers above say nothing about other pictures or another style of captions: measure on your own pairs.",
        f"Captions are cut after {embedder.text.max_tokens} tokens, in the language of the text backbone.",
        "A high cosine is no statement of fact: it says which of the given captions fits best, not that one is true.",
    ]
    if record["data"]["generated"]:
        lines.append("It was trained on drawings of shapes and is of no use for photographs.")
    for leak in record["data"]["leaks"]["counts"]:
        if count := leak["same_bytes"] + leak["near"]:
            lines.append(
                f"{count:,} of {leak['images']:,} {leak['splits'][1]} images stand in {leak['splits'][0]} too "
                "(the same or nearly): numbers on that split are too good."
            )
    return "\n".join(f"- {line}" for line in lines)


def _licence(record: dict[str, Any], licence: str | None) -> str:
    stated = f"`{_text(licence)}`." if licence else "Not stated by whoever exported it."
    own = {str(one["source"]): one.get("licence") for one in record["backbones"].values()}
    lines = [
        f"- {_text(source)}: `{_text(terms)}`, which holds for what is made of it, too"
        if terms
        else f"- {_text(source)}: unknown here; its own terms hold for what is made of it, too"
        for source, terms in own.items()
        if source not in TINY.values()
    ]
    return "\n".join(
        [f"{stated} The pairs have a licence of their own, and so have, as their cards say:", "", *lines]
    )


def _sources(record: dict[str, Any]) -> list[str]:
    """Names of the backbones; those of a pair have one."""
    return list(dict.fromkeys(str(backbone["source"]) for backbone in record["backbones"].values()))


def _text(value: Any) -> str:
    """What a user has named, on one line, so that Markdown and HTML show it as it is."""
    escaped = html.escape(re.sub(r"\s+", " ", str(value)), quote=False)
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", escaped)
