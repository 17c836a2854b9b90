"""What the pairs are and what is wrong with them, as a dict for machines and as text for people."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pairjepa.pairs import captions as text
from pairjepa.pairs.leaks import leaks
from pairjepa.pairs.problems import EXAMPLES
from pairjepa.pairs.scan import ImageFacts
from pairjepa.pairs.splits import USED
from pairjepa.pairs.table import Pairs
from pairjepa.util.files import cache_folder
from pairjepa.util.words import counted

_QUANTILES = {"min": 0.0, "5%": 0.05, "median": 0.5, "95%": 0.95, "max": 1.0}


def inspect(
    pairs: Pairs,
    facts: ImageFacts,
    token_facts: dict[str, Any] | None = None,
    max_tokens: int = 32,
    unreadable: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Everything that is to be known before a training, ready for JSON.

    Args:
        pairs: the pairs whose images can be read.
        facts: their scan.
        token_facts: what `TextBackbone.token_facts` gives for the captions; without them the number of tokens is
            estimated: words and punctuation marks, and two special tokens.
        max_tokens: captions are cut after this many tokens.
        unreadable: name of each other image, and the reason.
    """
    words = text.word_counts(pairs.captions)
    tokens = words + 2 if token_facts is None else np.array(token_facts["lengths"])
    facts_of_tokens = token_facts or {"unknown_share": 0.0, "equal_when_cut": 0}
    per_image = pairs.captions_per_image
    return {
        "description": pairs.description,
        "generated": pairs.generated,
        "images": pairs.n_images,
        "captions": len(pairs),
        "captions_per_image": {
            "min": int(per_image.min()),
            "mean": round(float(per_image.mean()), 3),
            "max": int(per_image.max()),
        },
        "splits": {name: {"images": i, "captions": c} for name, (i, c) in pairs.splits.items()},
        "examples": [
            {"name": pairs.names[row], "captions": pairs.table["captions"][row].as_py()}
            for row in sorted({0, pairs.n_images // 2, pairs.n_images - 1})
        ],
        "image_size": {"width": _quantiles(facts.width), "height": _quantiles(facts.height)}
        if pairs.text_vectors is None
        else None,
        "caption_length": {
            "words": _quantiles(words),
            "tokens": _quantiles(tokens),
            "tokens_estimated": token_facts is None,
            "max_tokens": max_tokens,
            "share_cut": round(float((tokens > max_tokens).mean()), 5),
            "equal_when_cut": facts_of_tokens["equal_when_cut"],
            "unknown_share": round(facts_of_tokens["unknown_share"], 5),
        },
        "identical_captions": _identical(pairs),
        "unreadable_images": {
            "count": len(unreadable),
            "examples": [{"name": name, "reason": reason} for name, reason in unreadable[:EXAMPLES]],
        },
        "problems": pairs.problems.to_dict(),
        "notes": [*pairs.problems.notes, *_deep(pairs, facts)],
        "leaks": leaks(pairs, facts, cache_folder()),
    }


def render(report: dict[str, Any]) -> str:
    """The report of `inspect` for people: aligned lines, then the warnings, each with what to do."""
    length, per_image, size = report["caption_length"], report["captions_per_image"], report["image_size"]
    leaked = sum(count["same_bytes"] + count["near"] for count in report["leaks"]["counts"])
    unreadable = report["unreadable_images"]["count"]
    estimated = " (estimated; name --model.text to count)" if length["tokens_estimated"] else ""
    spread = f"{per_image['min']} to {per_image['max']}, mean {per_image['mean']:.2f}"
    rows = [
        ("images", f"{report['images']:,}"),
        ("captions", f"{report['captions']:,} ({spread} an image)"),
        *(
            (f"split {name}", f"{counted(n['images'], 'image')}, {counted(n['captions'], 'caption')}")
            for name, n in report["splits"].items()
        ),
    ]
    if size is not None:
        rows.append(("image width", _line(size["width"]) + " pixels"))
        rows.append(("image height", _line(size["height"]) + " pixels"))
    rows += [
        ("caption words", _line(length["words"])),
        ("caption tokens", _line(length["tokens"]) + estimated),
        (f"cut at {length['max_tokens']} tokens", f"{length['share_cut']:.1%} of the captions"),
        *([] if length["tokens_estimated"] else [("unknown tokens", f"{length['unknown_share']:.1%}")]),
        ("identical captions", _identical_line(report["identical_captions"])),
        ("unreadable images", f"{unreadable:,}" + (", left out above" if unreadable else "")),
        ("images in two splits", f"{leaked:,}, see below" if leaked else "none found"),
    ]
    width = max(len(name) for name, _ in rows)
    lines = [report["description"], "", *(f"{name:<{width}}  {value}" for name, value in rows)]
    lines += ["", "Pairs as they were joined:"]
    for example in report["examples"]:
        first, *others = example["captions"]
        lines.append(f"  {example['name']}: {first}" + (f" (and {len(others):,} more)" if others else ""))
    if report["notes"]:
        lines += ["", *(f"Note: {note}" for note in report["notes"])]
    if warnings := _warnings(report):
        lines += ["", *(f"Warning: {warning}" for warning in warnings)]
    return "\n".join(lines)


def _quantiles(values: np.ndarray) -> dict[str, int]:
    found = np.quantile(values, list(_QUANTILES.values()), method="nearest")
    return {name: int(value) for name, value in zip(_QUANTILES, found, strict=True)}


def _deep(pairs: Pairs, facts: ImageFacts) -> list[str]:
    """A sentence on images of more than 8 bits."""
    deep = np.flatnonzero([values is not None for values in facts.values])
    shown = [f"{facts.values[row]} of {pairs.names[row]}" for row in deep[:3]]
    return [
        f"Images of more than 8 bits: {len(deep):,}; of each, its own range of values becomes 0 to 255: "
        f"{_some(shown, len(deep))}. Save them as 8 bits to choose another window."
    ][: len(deep)]


def _identical(pairs: Pairs) -> dict[str, Any]:
    """Strings that stand under more than one image, and how many captions those are."""
    ids, owner = text.group_ids(pairs.captions), pairs.owner
    splits = pairs.table["split"].to_numpy()[owner]
    parts = {name: splits == name for name in pairs.splits}
    return {
        "overall": _shared(ids, owner),
        "splits": {name: _shared(ids[inside], owner[inside]) for name, inside in parts.items()},
    }


def _shared(ids: np.ndarray, owner: np.ndarray) -> dict[str, int]:
    under = np.unique(np.stack([ids, owner], axis=1), axis=0)[:, 0]
    strings, images = np.unique(under, return_counts=True)
    shared = strings[images > 1]
    return {"strings": len(shared), "captions": int(np.isin(ids, shared).sum())}


def _line(quantiles: dict[str, int]) -> str:
    low, median, high = (quantiles[name] for name in ("min", "median", "max"))
    return f"{low:,}" if low == high else f"{low:,} to {high:,}, median {median:,}"


def _identical_line(identical: dict[str, Any]) -> str:
    overall = identical["overall"]
    if not overall["strings"]:
        return "none under more than one image"
    parts = ", ".join(f"{name} {n['strings']:,}" for name, n in identical["splits"].items())
    return f"{counted(overall['strings'], 'string')} under more than one image ({parts})"


def _warnings(report: dict[str, Any]) -> list[str]:
    warnings = []
    if report["generated"]:
        warnings.append(
            "The images are generated by the program: figures on them say nothing about photographs."
        )
    for kind, problem in report["problems"].items():
        warnings.append(f"{kind}: {problem['count']:,}, {_some(problem['examples'], problem['count'])}.")
    if bad := report["unreadable_images"]["count"]:
        named = [f"{one['name']} ({one['reason']})" for one in report["unreadable_images"]["examples"]]
        warnings.append(f"unreadable images (left out): {bad:,}, {_some(named, bad)}. Mend or remove them.")
    for split in USED:
        if split not in report["splits"]:
            warnings.append(
                f"The split {split} is empty. Give one in the data (--data.split-column), or more images."
            )
    warnings += leak_warnings(report["leaks"])
    warnings += text.token_warnings(report["caption_length"])
    overall = report["identical_captions"]["overall"]
    if overall["captions"] > report["captions"] / 10:
        warnings.append(
            f"{overall['captions']:,} of {report['captions']:,} captions stand under other images too, so none of "
            "them can find its own image for sure. Evaluate with --relevance text, or write captions that differ."
        )
    return warnings


def leak_warnings(found: dict[str, Any]) -> list[str]:
    """A sentence for every two splits that share images, out of the result of `leaks`."""
    sentences = []
    for count in found["counts"]:
        first, second = count["splits"]
        if not count["same_bytes"] + count["near"]:
            continue
        named = [
            f"{names[1]} = {names[0]}"
            for example in found["examples"]
            if (names := example["names"]) and example["splits"] == [first, second]
        ]
        sentences.append(
            f"Of {counted(count['images'], 'image')} of {second}, {count['same_bytes']:,} in {first} too, byte for "
            f"byte, and {count['near']:,} nearly so: {_some(named, count['same_bytes'] + count['near'])}. Figures on "
            f"{second} flatter the model; take these images out of {first}."
        )
    return sentences


def _some(names: list[str], count: int, most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {count - most:,} more" if count > most else "")
