"""Find the pairs that are probably wrong: audit."""

from pathlib import Path
from typing import Any

from pairjepa.cli.common import Device, Json, next_command, print_result, stdout_for_results
from pairjepa.cli.flags import as_flags, given_settings, settings, with_flags
from pairjepa.config.recipes import override
from pairjepa.config.settings import RunConfig
from pairjepa.util.progress import say


@with_flags(settings(RunConfig(), "data", without=("data.source",)))
def audit(
    run: Path,
    data: str,
    /,
    *,
    out: Path,
    folds: int = 5,
    as_json: Json = False,
    device: Device = None,
    **given: Any,
) -> None:
    """Find the captions that are probably under a wrong image, and images and captions that are there twice.

    Args:
        run: A run folder; its backbones are taken.
        data: The pairs in question, as for `pairjepa inspect`: the run's or others.
        out: Folder for audit.csv, audit.json and audit.html.
        folds: Parts of the data; each is scored by a model of all others.
    """
    config = override(RunConfig(), {"data.source": data, **given_settings(given)})
    config.validate()
    with stdout_for_results(device):
        from pairjepa.apps.audit import audit

        found = audit(run, config.data, out, folds=folds)
    print_result(found, as_json, _words)
    say(f"wrote {', '.join(str(out / f'audit.{kind}') for kind in ('csv', 'json', 'html'))}")
    say(f"Look at {out / 'audit.html'}, mend the data, and:")
    next_command("inspect", data, *as_flags(given_settings(given)))


def _words(found: dict[str, Any]) -> str:
    wrong = found["estimated_wrong"]
    if wrong is None:
        first = f"It cannot be told how many captions are wrong; {found['verdict']}. The most suspicious all the same:"
    elif wrong == 0:
        first = (
            f"None of {found['captions']:,} captions looks as if it were under a wrong image. "
            "The most suspicious all the same:"
        )
    else:
        share = f"{100 * wrong / found['captions']:.1f} %"
        first = (
            f"About {wrong:,} of {found['captions']:,} captions ({share}) look as if they were under a wrong image. "
            "The first:"
        )
    worst = [
        f"  {one['image']}  (rank {one['rank']:,} of {one['gallery']:,})  {one['caption']}"
        for one in found["worst"]
    ]
    last = (
        f"Couples of images that are the same or nearly so: {found['twin_images']['count']:,}. "
        f"Captions under several images: {found['shared_captions']['count']:,}."
    )
    return "\n".join([first, *worst, last])
