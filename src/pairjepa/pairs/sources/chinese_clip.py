"""Chinese-CLIP's own form: a `train_imgs.tsv` (id, base64) and a `train_texts.jsonl` (text, image_ids) a split."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pairjepa.pairs.folders import matching
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RawPairs, Request
from pairjepa.pairs.sources import columns
from pairjepa.pairs.sources.reading import read_table
from pairjepa.pairs.sources.shards import splits_of
from pairjepa.util.errors import PairJEPAError

WHAT = "Chinese-CLIP's train_imgs.tsv with train_texts.jsonl (and valid_, test_) in a folder"
COLUMNS = False


def matches(source: str) -> bool:
    """A folder with such files."""
    return bool(_files(source))


def read(request: Request, problems: Problems) -> RawPairs:
    """Read all splits; each text goes to every image that it names.

    Raises:
        PairJEPAError: the texts have another form.
    """
    files = _files(request.source)
    splits = splits_of([images.name for images, _ in files])
    parts = []
    for number, (images, texts) in enumerate(files):
        rows = _rows(images, texts, problems)
        parts.append(
            rows if splits is None else rows.append_column("split", pa.repeat(splits[number], len(rows)))
        )
    root = Path(request.source).expanduser()
    return RawPairs(columns.together(parts), root.absolute().name, "split as the files are named", root=root)


def _rows(images: Path, texts: Path, problems: Problems) -> pa.Table:
    pictures = read_table(images, problems, header=False).rename_columns(["id", "image"])
    table = read_table(texts, problems)
    try:
        ids = table["image_ids"].cast(pa.list_(pa.string())).combine_chunks()
        captions = table["text"].cast(pa.string()).take(pc.list_parent_indices(ids))
    except (KeyError, pa.ArrowException) as error:
        raise PairJEPAError(
            f"{texts} must have Chinese-CLIP's form (text, image_ids), but has not: {error}."
        ) from None
    at = pc.index_in(pc.list_flatten(ids), pictures["id"].combine_chunks())
    lost = pc.list_flatten(ids).filter(pc.is_null(at))
    problems.add("captions that name no image (dropped)", lost[:10].to_pylist(), len(lost))
    kept = pc.is_valid(at)
    rows = pictures.take(at.filter(kept)).append_column("caption", captions.filter(kept))
    found = columns.Columns("image", ("caption",), None)
    return columns.long_form(rows, found, str(images)).set_column(0, "image", rows["id"])


def _files(source: str) -> list[tuple[Path, Path]]:
    root = Path(source).expanduser()
    found = matching(root, "*_imgs.tsv")
    both = [(path, root / path.name.replace("_imgs.tsv", "_texts.jsonl")) for path in found]
    return [(images, texts) for images, texts in both if texts.is_file()]
