"""Karpathy's JSON of Flickr8k, Flickr30k and COCO (Karpathy and Fei-Fei, CVPR 2015): captions and splits."""

from pathlib import Path

import pyarrow as pa

from pairjepa.pairs.folders import image_folders, matching
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RawPairs, Request
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import read_json

WHAT = "Karpathy's dataset_*.json, itself or in the folder of the images"
COLUMNS = False


def matches(source: str) -> bool:
    """A `.json` file with images and sentences, or a folder with one `dataset_*.json`."""
    return _file(source) is not None


def read(request: Request, problems: Problems) -> RawPairs:
    """Read captions and splits; `restval` is for training, as usual.

    Raises:
        PairJEPAError: the file has another form.
    """
    path = _file(request.source)
    assert path is not None
    content = read_json(path, "Karpathy's file")
    try:
        entries = content["images"]
        names = [
            f"{entry['filepath']}/{entry['filename']}" if entry.get("filepath") else entry["filename"]
            for entry in entries
        ]
        splits = ["train" if entry["split"] == "restval" else entry["split"] for entry in entries]
        captions = [[sentence["raw"] for sentence in entry["sentences"]] for entry in entries]
        columns = {"image": names, "caption": captions, "split": splits}
        kinds = (pa.string(), pa.list_(pa.string()), pa.string())
        rows = pa.table(
            [pa.array(c, kind) for c, kind in zip(columns.values(), kinds, strict=True)], [*columns]
        )
    except (KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        raise PairJEPAError(
            f"{path} must have Karpathy's form (images: filename, split, sentences: raw), but lacks {error}. "
            "Other pairs can be given as CSV, TSV, JSONL or Parquet."
        ) from None
    folders = image_folders(path.parent)
    return RawPairs(rows, path.stem.removeprefix("dataset_"), "Karpathy's split", folders, root=path.parent)


def _file(source: str) -> Path | None:
    path = Path(source).expanduser()
    if path.is_dir():
        files = matching(path, "dataset_*.json")
        return files[0] if len(files) == 1 else None
    if path.suffix.lower() != ".json" or not path.is_file():
        return None
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return path if b'"images"' in data and b'"sentences"' in data else None
