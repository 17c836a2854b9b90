"""COCO's captions as published: `annotations/captions_train2017.json` beside `train2017/`, and data in its form."""

from itertools import product
from pathlib import Path

import pyarrow as pa

from pairjepa.pairs.folders import image_folders, matching
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RawPairs, Request
from pairjepa.pairs.sources.shards import splits_of
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import read_json

WHAT = "COCO's captions_*.json, or a folder of it (annotations/captions_train2017.json beside train2017/)"
COLUMNS = False


def matches(source: str) -> bool:
    """A JSON of images and annotations, or a folder with such files of captions."""
    return bool(_files(source))


def read(request: Request, problems: Problems) -> RawPairs:
    """Read captions; several files are splits by their names.

    Raises:
        PairJEPAError: a file has another form.
    """
    files = _files(request.source)
    inside = files[0].parent.name == "annotations"
    root = files[0].parent.parent if inside else files[0].parent
    parts = [_rows(path, root, problems) for path in files]
    words = "split as given"
    if len(files) > 1 and (splits := splits_of([file.name for file in files])):
        parts = [
            rows.append_column("split", pa.repeat(split, len(rows)))
            for rows, split in zip(parts, splits, strict=True)
        ]
        words = "split as the files are named"
    return RawPairs(pa.concat_tables(parts), root.absolute().name, words, image_folders(root), root=root)


def _rows(path: Path, root: Path, problems: Problems) -> pa.Table:
    content = read_json(path, "COCO's file")
    try:
        name_of = {str(entry["id"]): str(entry["file_name"]) for entry in content["images"]}
        captions = [(str(entry["image_id"]), str(entry["caption"])) for entry in content["annotations"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise PairJEPAError(
            f"{path} must have COCO's form (images: id, file_name; annotations: image_id, caption), but lacks {error}. "
            "Other pairs can be given as CSV, TSV, JSON, JSONL or Parquet."
        ) from None
    problems.add(
        "captions of an image that is not listed (dropped)",
        [key for key, _ in captions if key not in name_of],
    )
    bare = name_of.keys() - {key for key, _ in captions}
    problems.add("images with no caption (left out)", sorted(name_of[key] for key in bare))
    folder = path.stem.removeprefix("captions_")
    below = next((f"{at}{folder}/" for at in ("", "images/") if (root / at / folder).is_dir()), "")
    kept = [(below + name_of[key], caption) for key, caption in captions if key in name_of]
    return pa.table(
        {
            "image": pa.array([name for name, _ in kept], pa.string()),
            "caption": pa.array([caption for _, caption in kept], pa.string()),
        }
    )


def _files(source: str) -> list[Path]:
    path = Path(source).expanduser()
    if path.is_dir():
        for folder, pattern in product((path / "annotations", path), ("captions*.json", "*.json")):
            files = matching(folder, pattern)
            if found := [
                file for file in files if len(files) <= _MOST and _holds(file, *_WORDS, b'"caption"')
            ]:
                return found
        return []
    return [path] if path.suffix.lower() == ".json" and path.is_file() and _holds(path, *_WORDS) else []


_MOST = 20
"""JSON files in a folder that are looked into; where there are more, each is about an image."""


_WORDS = (b'"images"', b'"annotations"', b'"image_id"')


def _holds(path: Path, *words: bytes) -> bool:
    try:
        data = path.read_bytes()
    except OSError:
        return False
    return all(word in data for word in words)
