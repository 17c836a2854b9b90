"""Data sets in the form in which they are published: Flickr8k and Flickr30k, Karpathy's JSON, COCO, Chinese-CLIP."""

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pairjepa.config.settings import DataConfig
from pairjepa.pairs import splits as splitting
from pairjepa.pairs.folders import entries, image_folders, is_image, matching
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RawPairs, place_of
from pairjepa.pairs.sources import columns
from pairjepa.pairs.sources.reading import read_table, read_text
from pairjepa.pairs.sources.tables import read_rows
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import read_json

_IMAGES = (
    "Images", "Flicker8k_Dataset", "Flickr8k_Dataset/Flicker8k_Dataset", "Flickr8k_Dataset",
    "flickr30k-images", "flickr30k_images/flickr30k_images", "flickr30k_images",
)  # fmt: skip
_CAPTIONS = (
    "captions.txt", "Flickr8k.token.txt", "Flickr8k_text/Flickr8k.token.txt",
    "results.csv", "results_20130124.token", "flickr30k_images/results.csv",
)  # fmt: skip
_SPLITS = {splitting.TRAIN: "trainImages", splitting.DEV: "devImages", splitting.TEST: "testImages"}
_KARPATHY = (b'"images"', b'"sentences"')
_COCO = (b'"images"', b'"annotations"', b'"image_id"')
_MOST = 20
"""JSON files in a folder that are looked into; where there are more, each is about an image."""


def flickr(source: str) -> tuple[Path, Path] | None:
    """Images and captions; Karpathy's file goes first where the official split is not there."""
    root = Path(source).expanduser()
    images = next((folder for name in _IMAGES if (folder := root / name).is_dir()), None)
    captions = next((file for name in _CAPTIONS if (file := root / name).is_file()), None)
    if images is None or captions is None:
        return None
    return (images, captions) if _split_files(root) or not matching(root, "dataset_*.json") else None


def read_flickr(found: tuple[Path, Path], config: DataConfig, problems: Problems) -> RawPairs:
    """Read captions and the official split; images that it does not name are in the split `rest`."""
    images, captions = found
    root = place_of(config)
    rows = read_rows(captions, replace(config, no_header=False), problems)
    title = f"folder {root.absolute().name}"
    if files := _split_files(root):
        title = "Flickr8k"
        rows = rows.append_column("split", _official(rows["image"], files, problems))
    present = [name for name, _ in entries(images) if is_image(name)]
    return RawPairs(rows, title, "official split", (images,), present, root)


def _split_files(root: Path) -> dict[str, Path]:
    places = product(_SPLITS.items(), ("", "Flickr8k_text"))
    files = ((split, root / folder / f"Flickr_8k.{name}.txt") for (split, name), folder in places)
    return {split: path for split, path in files if path.is_file()}


def _official(images: pa.ChunkedArray, files: dict[str, Path], problems: Problems) -> pa.Array:
    split_of: dict[str, str] = {}
    for split, path in files.items():
        names = [line.strip() for line in read_text(path, problems).decode().split("\n") if line.strip()]
        problems.add(
            "names in two of the split files (the first counts)", [n for n in names if n in split_of]
        )
        split_of = dict.fromkeys(names, split) | split_of
    captioned = set(images.unique().to_pylist())
    problems.add(
        "names in the split files without a caption", [name for name in split_of if name not in captioned]
    )
    # A test file alone says nothing about the others: then they are for training.
    others = splitting.REST if splitting.TRAIN in files else splitting.TRAIN
    return pa.array([split_of.get(name, others) for name in images.to_pylist()], pa.string())


def _holds(path: Path, words: tuple[bytes, ...]) -> bool:
    """Whether it is a JSON file in which all these words stand."""
    try:
        data = path.read_bytes() if path.suffix.lower() == ".json" and path.is_file() else b""
    except OSError:
        return False
    return all(word in data for word in words)


def karpathy(source: str) -> Path | None:
    """A `.json` file with images and sentences, or the one `dataset_*.json` of a folder."""
    path = Path(source).expanduser()
    if path.is_dir():
        files = matching(path, "dataset_*.json")
        return files[0] if len(files) == 1 else None
    return path if _holds(path, _KARPATHY) else None


def read_karpathy(path: Path, config: DataConfig, problems: Problems) -> RawPairs:
    """Read captions and splits; `restval` is for training, as usual.

    Raises:
        PairJEPAError: the file has another form.
    """
    content = read_json(path, "Karpathy's file")
    try:
        rows = [
            {
                "image": f"{entry['filepath']}/{entry['filename']}"
                if entry.get("filepath")
                else entry["filename"],
                "caption": [sentence["raw"] for sentence in entry["sentences"]],
                "split": entry["split"],
            }
            for entry in content["images"]
        ]
        table = _table(rows, split=pa.string())
    except (KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        raise PairJEPAError(
            f"{path} must have Karpathy's form (images: filename, split, sentences: raw), but lacks {error}. "
            "Other pairs can be given as CSV, TSV, JSONL or Parquet."
        ) from None
    folders = image_folders(path.parent)
    return RawPairs(table, path.stem.removeprefix("dataset_"), "Karpathy's split", folders, root=path.parent)


def _table(rows: list[dict[str, Any]], **others: pa.DataType) -> pa.Table:
    kinds = {"image": pa.string(), "caption": pa.list_(pa.string())}
    return pa.Table.from_pylist(rows, pa.schema(kinds | others))


def coco(source: str) -> list[Path]:
    """A JSON of images and annotations, or such files of captions in a folder."""
    path = Path(source).expanduser()
    if not path.is_dir():
        return [path] if _holds(path, _COCO) else []
    for folder, pattern in product((path / "annotations", path), ("captions*.json", "*.json")):
        files = matching(folder, pattern)
        if len(files) <= _MOST and (found := [one for one in files if _holds(one, (*_COCO, b'"caption"'))]):
            return found
    return []


def read_coco(files: list[Path], config: DataConfig, problems: Problems) -> RawPairs:
    """Read captions; several files are splits by their names.

    Raises:
        PairJEPAError: a file has another form.
    """
    inside = files[0].parent.name == "annotations"
    root = files[0].parent.parent if inside else files[0].parent
    splits = splitting.from_words([file.name for file in files]) if len(files) > 1 else None
    rows = columns.together([_coco_rows(path, root, problems) for path in files], splits)
    words = "split as given" if splits is None else "split as the files are named"
    return RawPairs(rows, root.absolute().name, words, image_folders(root), root=root)


def _coco_rows(path: Path, root: Path, problems: Problems) -> pa.Table:
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
    rows = [{"image": below + name_of[key], "caption": [one]} for key, one in captions if key in name_of]
    return _table(rows)


def chinese_clip(source: str) -> list[tuple[Path, Path]]:
    """The files of images and of texts, by split."""
    root = Path(source).expanduser()
    both = [
        (path, root / path.name.replace("_imgs.tsv", "_texts.jsonl")) for path in matching(root, "*_imgs.tsv")
    ]
    return [(images, texts) for images, texts in both if texts.is_file()]


def read_chinese_clip(files: list[tuple[Path, Path]], config: DataConfig, problems: Problems) -> RawPairs:
    """Read all splits; each text goes to every image that it names.

    Raises:
        PairJEPAError: the texts have another form.
    """
    root = files[0][0].parent
    splits = splitting.from_words([images.name for images, _ in files])
    rows = columns.together([_chinese_clip_rows(*both, problems) for both in files], splits)
    return RawPairs(rows, root.absolute().name, "split as the files are named", root=root)


def _chinese_clip_rows(images: Path, texts: Path, problems: Problems) -> pa.Table:
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
