"""Zero-shot labels: which of some words fit an image best, by a run that was trained on captions alone.

Axes: `images`, `labels`, `dim` = shared space.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Float32
from scipy.special import softmax

from pairjepa.apps.embed import embed_entries, load_encoder
from pairjepa.apps.search.sources import Entry, open_source
from pairjepa.config.settings import DataConfig, EngineName
from pairjepa.embedder.encoder import Encoder, warn_of_unknown
from pairjepa.util.errors import PairJEPAError, UsageError, close_matches
from pairjepa.util.files import write_rows
from pairjepa.util.unit import unit

TEMPLATES = ("a {}", "the {}", "a photo of a {}")
"""What a label is said in; docs/labels.md has what each is worth."""

FOLDER = "folder"
"""As `truth`: an image's right label is the name of its folder."""


class Labels:
    """Labels as directions of the shared space: each the mean of its embeddings in all templates, of unit norm.

    Averaging over templates is that of CLIP (Radford et al., Learning Transferable Visual Models From Natural
    Language Supervision, 2021, section 3.1.4).

    Attributes:
        labels: the labels.
        templates: what they are said in.
        embeddings: (labels, dim) float32 of unit norm.
    """

    embeddings: Float32[np.ndarray, "labels dim"]

    def __init__(self, encoder: Encoder, labels: Sequence[str], templates: Sequence[str] = TEMPLATES) -> None:
        """Embed the labels.

        Args:
            encoder: a run in use.
            labels: two or more; white space around them does not count.
            templates: each with `{}` in the label's place.

        Raises:
            UsageError: there are fewer than two labels, one is empty or there twice, or a template has no `{}`.
        """
        self.labels, self.templates = checked_labels(labels), checked_templates(templates)
        self.temperature = encoder.temperature
        sentences = [template.replace("{}", label) for label in self.labels for template in self.templates]
        said = encoder.encode_text(sentences).reshape(len(self.labels), len(self.templates), -1)
        self.embeddings = unit(said.mean(axis=1))

    def probabilities(
        self, images: Float32[np.ndarray, "images dim"]
    ) -> Float32[np.ndarray, "images labels"]:
        """How likely each label is, if one of them is right: the softmax of the cosines over the run's τ.

        Args:
            images: embeddings, of unit norm, as `encoder.encode_image` gives them.
        """
        return softmax(images @ self.embeddings.T / self.temperature, axis=1)


@dataclass(frozen=True, eq=False)
class Labelled:
    """Images and what they were labelled."""

    labels: tuple[str, ...]
    templates: tuple[str, ...]
    names: list[str]
    """Of the images that could be read."""
    probabilities: Float32[np.ndarray, "images labels"]
    unreadable: list[tuple[str, str]]
    """Name and reason of the images that could not."""
    truth: list[str | None] | None
    """The right label of each image, if it is known; None if none is."""
    weights: str
    """Digest of the weights that labelled them."""

    def top(self, k: int) -> list[list[tuple[str, float]]]:
        """The `k` likeliest labels of each image with their probabilities; of equal ones the first given is first."""
        order = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :k]
        return [
            [(self.labels[at], float(row[at])) for at in best]
            for row, best in zip(self.probabilities, order, strict=True)
        ]


def label_images(
    run: str | Path,
    images: str | Path,
    labels: Sequence[str],
    *,
    templates: Sequence[str] = TEMPLATES,
    truth: str | None = None,
    engine: EngineName = "auto",
) -> Labelled:
    """Label images with a trained run. What cannot be read is left out and named.

    Args:
        run: folder of a run, one that `pairjepa export RUN --to onnx` wrote, or a pretrained pair.
        images: a folder of images, an image, or a table of them.
        labels: what to choose from.
        templates: each with `{}` in the label's place.
        truth: where the right label is: `folder`, the name of the folder that an image lies in, or a column of a table.
        engine: what forwards the backbone, as `model.engine` of a training.

    Raises:
        UsageError: labels or templates are not as they must be, or the truth holds another label.
        PairJEPAError: there is no such run, nothing to label, or an image has two right labels.
    """
    chosen, said = checked_labels(labels), checked_templates(templates)
    column = None if truth in (None, FOLDER) else truth
    entries = open_source(str(images), DataConfig(caption_column=(column,) if column else None)).entries
    right = None if truth is None else [_right(entry, column) for entry in entries]
    if right is not None:
        _check_truth(right, chosen, str(truth))
    encoder = load_encoder(run)
    warn_of_unknown(encoder, chosen, "labels")
    known = Labels(encoder, chosen, said)
    found = embed_entries(encoder, entries, engine)
    return Labelled(
        known.labels,
        known.templates,
        [entries[row].name for row in found.rows],
        known.probabilities(found.vectors),
        found.unreadable,
        None if right is None else [right[row] for row in found.rows],
        encoder.weights,
    )


def read_labels(text: str) -> list[str]:
    """Labels as the command line takes them: `dog,cat,street`, or `@FILE` with one a line.

    Raises:
        UsageError: the file cannot be read.
    """
    if not text.startswith("@"):
        return split_labels(text)
    try:
        lines = Path(text[1:]).expanduser().read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror or error
        raise UsageError(
            f"--labels must name a file of one label a line after the @, got {text[1:]!r}: {reason}."
        ) from None
    return [line.strip() for line in lines if line.strip()]


def split_labels(text: str) -> list[str]:
    """`dog,"red, round"` as two labels; a line break is a blank."""
    line = " ".join(text.split())
    return [part.strip() for part in next(csv.reader([line], skipinitialspace=True), []) if part.strip()]


def checked_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels without white space around them.

    Raises:
        UsageError: there are fewer than two, or one is empty or there twice.
    """
    cleaned = tuple(label.strip() for label in labels)
    if len(cleaned) < 2:
        raise UsageError(
            f"labels must be at least two, got {len(cleaned)}{f' ({cleaned[0]!r})' if cleaned else ''}. "
            "Give all that an image may show, such as dog,cat,street."
        )
    if "" in cleaned:
        raise UsageError("labels must not be empty, got an empty one. Leave it out.")
    if twice := [label for at, label in enumerate(cleaned) if label in cleaned[:at]]:
        raise UsageError(f"labels must differ, got {twice[0]!r} twice. Leave one out.")
    return cleaned


def checked_templates(templates: Sequence[str]) -> tuple[str, ...]:
    """The templates as they are.

    Raises:
        UsageError: there is none, or one has no `{}`.
    """
    if not templates:
        raise UsageError("templates must be at least one, got none. Give one such as 'a photo of a {}'.")
    if bad := [template for template in templates if "{}" not in template]:
        raise UsageError(
            f"A template must hold {{}} where the label goes, got {bad[0]!r}. Write one such as 'a photo of a {{}}'."
        )
    return tuple(templates)


def write_csv(path: Path, found: Labelled, k: int) -> None:
    """One row an image: `path`, the likeliest `label`, `probability`, `label_2`, … up to `k`, `truth`, `weights`.

    Raises:
        PairJEPAError: the file cannot be written.
    """
    k = min(k, len(found.labels))
    header = ["path", "label", "probability"]
    header += [name for place in range(2, k + 1) for name in (f"label_{place}", f"probability_{place}")]
    rows: list[list[Any]] = [header]
    for name, best in zip(found.names, found.top(k), strict=True):
        rows.append([name, *(cell for label, likely in best for cell in (label, f"{likely:.6f}"))])
    if found.truth is not None:
        header.append("truth")
        for row, right in zip(rows[1:], found.truth, strict=True):
            row.append(right or "")
    for row, cell in zip(rows, ["weights", *[found.weights] * len(found.names)], strict=True):
        row.append(cell)
    write_rows(path, rows)


def _right(entry: Entry, column: str | None) -> str | None:
    """The right label of an image; None if it has none."""
    if column is None:
        folder = PurePosixPath(entry.name).parent.name
        return folder or None
    found = {caption.strip() for caption in entry.captions}
    if len(found) > 1:
        raise PairJEPAError(
            f"An image must have one right label, got {', '.join(sorted(found))} for {entry.name}. "
            "Name a column with one label an image."
        )
    return next(iter(found), None)


def _check_truth(truth: list[str | None], labels: tuple[str, ...], where: str) -> None:
    others = sorted({label for label in truth if label is not None} - set(labels))
    if others:
        what = "names of the images' folders" if where == FOLDER else f"column {where!r}"
        raise UsageError(
            f"The {what} must hold only what --labels names, got {others[0]!r}"
            + (f" and {len(others) - 1:,} more" if len(others) > 1 else "")
            + f".{close_matches(others[0], labels)}"
        )
    if not any(truth):
        raise UsageError(
            f"--truth {where} must give at least one image its right label, got none. "
            "Put the images into a folder for each label, or name the column of a table that holds it."
        )
