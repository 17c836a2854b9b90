"""Where pairs come from. A new form is a `Source` in a file here and one line in `SOURCES`."""

import os
from dataclasses import replace
from pathlib import Path

from pairjepa.config.settings import DataConfig
from pairjepa.pairs.folders import count_unread, forget, looked_once, tables_of, walk
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RawPairs, Source, listing
from pairjepa.pairs.shards import index, places
from pairjepa.pairs.sources import beside, hub, published, shapes, tables, vectors
from pairjepa.util.errors import PairJEPAError, UsageError, near_path

SOURCES: dict[str, Source] = {
    "shapes": Source("shapes or shapes:3000 (images that the program draws)", shapes.named, shapes.read),
    "shards": Source(
        "WebDataset shards: a .tar, a pattern ('shards/{000..127}.tar', 'shards/*.tar'), or a URL of them (s3://, …)",
        places.named,
        index.read,
        columns=True,
    ),
    "hub": Source(
        "a data set of the Hugging Face hub (user/name), or a folder of datasets.save_to_disk",
        hub.saved_or_id,
        hub.read,
        columns=True,
    ),
    "vectors": Source(
        "vectors: a folder with images.npy and texts.npy, and a table of image, caption, split if there is one; or a "
        f"Parquet table with the columns {vectors.IMAGE} and {vectors.TEXT}",
        vectors.arrays,
        vectors.read_arrays,
        columns=True,
    ),
    "flickr8k": Source(
        "a folder of Flickr8k or Flickr30k (Images/, Flicker8k_Dataset/, flickr30k-images/, … with captions.txt, "
        "Flickr8k.token.txt, results.csv or results_20130124.token)",
        published.flickr,
        published.read_flickr,
    ),
    "karpathy": Source(
        "Karpathy's dataset_*.json, itself or in the folder of the images",
        published.karpathy,
        published.read_karpathy,
    ),
    "coco": Source(
        "COCO's captions_*.json, or a folder of it (annotations/captions_train2017.json beside train2017/)",
        published.coco,
        published.read_coco,
    ),
    "chinese-clip": Source(
        "Chinese-CLIP's train_imgs.tsv with train_texts.jsonl (and valid_, test_) in a folder",
        published.chinese_clip,
        published.read_chinese_clip,
    ),
    "imagefolder": Source(
        "a Hugging Face ImageFolder (metadata.csv, .jsonl or .parquet beside the images, or in folders below)",
        tables.imagefolder,
        tables.read_imagefolder,
        columns=True,
    ),
    "shard folder": Source(
        "a folder of WebDataset shards (.tar), in it or in a folder for each split",
        places.folder,
        index.read,
        columns=True,
    ),
    "tables": Source(
        "tables (.csv, .tsv, .txt, .json, .jsonl, .parquet, also .gz): one, or one for each split (train.csv, val.csv, "
        "test.csv; train-00000-of-00002.parquet), in a folder, its data/ or annotations/",
        tables_of,
        tables.read_tables,
        columns=True,
    ),
    "sidecar": Source(
        "a folder of images with a .txt, .caption or .json of the same name for each (a.txt or a.jpg.txt of a.jpg), "
        "beside it or in a folder of their own (images/a.jpg, captions/a.txt)",
        beside.texts,
        beside.read_texts,
    ),
    "class folders": Source(
        "a folder of images for each class (cat/1.jpg, dog/2.jpg; also below train/, val/, test/)",
        beside.classes,
        beside.read_classes,
    ),
    "split folders": Source(
        "tables in a folder for each split (train/captions.csv, val/captions.csv; train/0000.parquet)",
        tables.split_folders,
        tables.read_split_folders,
        columns=True,
    ),
}
"""The sources in the order in which they are asked; the first that finds something reads."""


@looked_once()
def read(config: DataConfig, place: str, problems: Problems) -> RawPairs:
    """Read the pairs at `place` from the first source that finds something there.

    Raises:
        PairJEPAError: no source does, or the one that does cannot read it.
        UsageError: a column is named for a source that has none.
    """
    both = ((source, source.find(place)) for source in SOURCES.values())
    source, found = next((one for one in both if one[1]), (None, None))
    if source is None:
        raise PairJEPAError(_nothing_matches(place))
    for setting in ("image_column", "caption_column", "split_column", "no_header"):
        if not source.columns and (value := getattr(config, setting)):
            raise UsageError(
                f"data.{setting} must be left out for {source.what}, got {value!r}. Only tables have columns."
            )
    folder = None if config.images is None else Path(config.images).expanduser()
    if folder is not None and not folder.is_dir():
        raise UsageError(f"data.images must be a folder that is there, got {config.images!r}.")
    raw = source.read(found, config, problems)
    forget()
    if folder is not None and not raw.folders:
        raise UsageError(
            f"data.images must be left out for {source.what}, got {config.images!r}. They hold their images."
        )
    return replace(raw, images=folder)


def located(source: str) -> str:
    """The same source from any working directory: paths and patterns are made absolute."""
    if shapes.named(source) or places.is_url(source) or hub.is_id(source):
        return source
    return os.path.abspath(Path(source.removeprefix("file://")).expanduser())


def _nothing_matches(place: str) -> str:
    path = Path(place).expanduser().absolute()
    looked = "Looked for:" + "".join(f"\n  {source.what}" for source in SOURCES.values())
    if path.is_dir():
        places.check_plain(walk(path))
        count_unread(walk(path), problems := Problems())
        found = f"{listing(path)}{problems.summary()}"
        return f"The folder {path} must hold pairs, but nothing in it is known. {found} {looked}"
    if path.exists():
        return f"The file {path} must be pairs of a known kind, but is not. {looked}"
    parent = next(folder for folder in path.parents if folder.is_dir())
    return (
        f"{place!r} must be pairs that are there, but {path} is not. {near_path(path)}{listing(parent)} "
        "Name a folder, a file, shards, a data set of the hub (user/name), or shapes."
    )
