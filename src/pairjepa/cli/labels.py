"""Label images with words that no one trained on: label."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from pairjepa.cli.common import AnyEncoder, Device, Json, next_command, print_result, stdout_for_results
from pairjepa.cli.flags import given_settings, settings, with_flags
from pairjepa.config.recipes import override
from pairjepa.config.settings import RunConfig
from pairjepa.evaluation.tables import aligned
from pairjepa.util.errors import UsageError
from pairjepa.util.files import check_file, write_rows
from pairjepa.util.progress import say

if TYPE_CHECKING:
    from pairjepa.apps.labels.labels import Labelled


@with_flags(settings(RunConfig(), "model.engine"))
def label(
    run: AnyEncoder,
    images: str,
    /,
    *,
    labels: str,
    template: Annotated[Sequence[str] | None, Parameter(negative_iterable=())] = None,
    k: Annotated[int, Parameter(name=("-k", "--k", "--top-k"))] = 1,
    truth: str | None = None,
    out: Path | None = None,
    as_json: Json = False,
    device: Device = None,
    **given: Any,
) -> None:
    """Say which label fits each image best and how likely it is; with the truth given, how often that is right.

    Args:
        images: A folder of images, an image, or a table of images.
        labels: What to choose from: dog,cat,street; or @FILE, one a line.
        template: What a label is said in, such as 'a photo of a {}'; several are averaged.
        k: Labels an image in the output.
        truth: Where the right label is: a table's column, or `folder`, the name of an image's folder.
        out: CSV for the labels; with --truth also a confusion matrix beside it.
    """
    if k < 1:
        raise UsageError(f"k must be at least 1, got {k}.")
    if out is not None:
        check_file(out, images)
    with stdout_for_results(device):
        from pairjepa.apps.labels import confusion
        from pairjepa.apps.labels.labels import TEMPLATES, label_images, read_labels, write_csv

        found = label_images(
            run,
            images,
            read_labels(labels),
            templates=template or TEMPLATES,
            truth=truth,
            engine=override(RunConfig(), given_settings(given)).model.engine,
        )
        measured = None
        if found.truth is not None:
            first = [best[0][0] for best in found.top(1)]
            known = [(right, given) for right, given in zip(found.truth, first, strict=True) if right]
            measured = confusion.measure(confusion.confusion(known, found.labels), found.labels)

    def words(_: dict[str, Any]) -> str:
        lines = _each(found, k) if out is None else _counts(found)
        return "\n".join([*lines, *(["", confusion.table(measured)] if measured is not None else [])])

    print_result(_record(found, k, measured), as_json, words)
    if out is not None:
        written = [out]
        write_csv(out, found, k)
        if measured is not None:
            written.append(out.with_name(f"{out.stem}-confusion{out.suffix}"))
            write_rows(written[1], confusion.matrix_rows(measured))
        say(f"wrote {' and '.join(map(str, written))}")
    same = ["label", str(run), images, "--labels", labels, *(["--truth", truth] if truth else [])]
    if out is None:
        next_command(*same, "--out", "labels.csv")
    elif truth is None:
        next_command(*same, "--out", str(out), then="--truth folder|COLUMN")


def _each(found: "Labelled", k: int) -> list[str]:
    """A line an image."""
    return [
        f"{name}\t" + "\t".join(f"{label} {likely:.3f}" for label, likely in best)
        for name, best in zip(found.names, found.top(k), strict=True)
    ]


def _counts(found: "Labelled") -> list[str]:
    """How many were given each label."""
    counts = Counter(best[0][0] for best in found.top(1))
    return aligned([["label", "images"], *([one, f"{counts[one]:,}"] for one in found.labels)])


def _record(found: "Labelled", k: int, measured: dict[str, Any] | None) -> dict[str, Any]:
    truth = found.truth or [None] * len(found.names)
    return {
        "labels": list(found.labels),
        "weights": found.weights,
        "templates": list(found.templates),
        "results": [
            {
                "path": name,
                "labels": [{"label": label, "probability": likely} for label, likely in best],
                **({"truth": right} if found.truth is not None else {}),
            }
            for name, best, right in zip(found.names, found.top(k), truth, strict=True)
        ],
        "unreadable": [{"path": name, "reason": reason} for name, reason in found.unreadable],
        "measured": measured,
    }
