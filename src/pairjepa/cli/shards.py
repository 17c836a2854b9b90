"""Pairs as WebDataset shards: shards."""

from typing import Any

from pairjepa.cli.common import Json, next_command, print_result, stdout_for_results
from pairjepa.cli.flags import given_settings, settings, with_flags
from pairjepa.config.recipes import override
from pairjepa.config.settings import RunConfig
from pairjepa.util.progress import say
from pairjepa.util.words import counted


@with_flags(settings(RunConfig(), "data", without=("data.source", "data.max_bad")))
def shards(
    data: str,
    /,
    *,
    out: str,
    images_per_shard: int = 1000,
    as_json: Json = False,
    **given: Any,
) -> None:
    """Write pairs as WebDataset shards (.tar), or go on with that; images are not encoded again.

    Args:
        data: The pairs, as for `pairjepa inspect`; a data set id of the hub is streamed.
        out: Folder for the shards, or a URL of one (s3://, gs://, …).
        images_per_shard: Images in a shard.
    """
    config = override(RunConfig(), {"data.source": data, **given_settings(given)})
    config.validate()
    with stdout_for_results():
        from pairjepa.pairs.shards.convert import convert

        written = convert(config.data, out, images_per_shard)
    result = {
        "out": out,
        "shards": len(written.shards),
        "kept": written.kept,
        "images": written.images,
        "captions": written.captions,
        "bytes": written.bytes,
        "problems": written.problems.to_dict(),
    }
    lines = [
        f"{counted(len(written.shards), 'shard')} written: {counted(written.images, 'image')}, "
        f"{counted(written.captions, 'caption')}, {written.bytes / 1e6:,.0f} MB."
        + (f" Kept from before: {written.kept:,}." if written.kept else "")
    ]
    lines += [f"Warning: {line}" for line in written.problems.lines()]
    print_result(result, as_json, lambda _: "\n".join(lines))
    say(f"wrote {out}")
    next_command("inspect", out)
