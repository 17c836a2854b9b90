"""Every source opens the same six pairs to the same table, and says what is wrong in the user's words."""

import base64
import csv
import gzip
import json
import re
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pairjepa.config.settings import DataConfig
from pairjepa.pairs import Pairs, open_pairs
from pairjepa.pairs.vectors import as_bytes
from pairjepa.util.errors import PairJEPAError, UsageError

from .shard_files import write_tar

Six = Any
Write = Callable[[str], Path]


def _long(six: Six) -> list[tuple[str, str, str]]:
    return [(one.name, caption, one.split) for one in six for caption in one.captions]


def _rows(six: Six, root: str = "") -> list[dict[str, Any]]:
    return [{"image": root + one.name, "captions": one.captions, "split": one.split} for one in six]


def _csv(path: Path, rows: list[tuple[str, ...]], header: tuple[str, ...], delimiter: str = ",") -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *rows])


def _flickr8k(six: Six, images: Write, *, folder: str = "Images", token: bool = False, text: str = "") -> str:
    root = images(folder + "/{name}")
    (root / text).mkdir(exist_ok=True)
    if token:
        lines = [f"{one.name}#{n}\t{caption}\n" for one in six for n, caption in enumerate(one.captions)]
        (root / text / "Flickr8k.token.txt").write_text("".join(lines), encoding="utf-8")
    else:
        _csv(root / "captions.txt", [row[:2] for row in _long(six)], ("image", "caption"))
    for split in ("train", "dev", "test"):
        names = "".join(f"{one.name}\n" for one in six if one.split == split)
        (root / text / f"Flickr_8k.{split}Images.txt").write_text(names)
    return str(root)


def _karpathy(six: Six, images: Write, *, itself: bool, below: bool = False) -> str:
    root = images("images/{split}/{name}" if below else "{name}")
    words = {"train": "restval", "dev": "val", "test": "test"}
    entries = [
        {"filename": one.name, "split": words[one.split], "sentences": [{"raw": c} for c in one.captions]}
        | ({"filepath": one.split} if below else {})
        for one in six
    ]
    path = root / "dataset_flickr8k.json"
    path.write_text(json.dumps({"images": entries, "dataset": "flickr8k"}))
    return str(path if itself else root)


def _table(six: Six, images: Write, suffix: str) -> str:
    root = images("images/{name}" if suffix == ".tsv" else "{name}")
    path = root / f"pairs{suffix}"
    if suffix in (".csv", ".tsv"):
        _csv(path, _long(six), ("image", "caption", "split"), "," if suffix == ".csv" else "\t")
    elif suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in _rows(six)))
    else:
        pq.write_table(pa.Table.from_pylist(_rows(six, f"{root}/")), path)
    return str(path)


def _parquet_bytes(six: Six, images: Write, *, struct: bool) -> str:
    path = images("unused/{name}") / "rows.parquet"
    rows = [
        {
            "image": {"bytes": one.data, "path": one.name} if struct else one.data,
            "text": one.captions,
            "split": one.split,
        }
        for one in six
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


def _sidecar(six: Six, images: Write) -> str:
    words = {"train": "train", "dev": "validation", "test": "test"}
    root = images("unused/{name}") / "data"
    for one in six:
        folder = root / words[one.split]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / one.name).write_bytes(one.data)
        (folder / one.name).with_suffix(".txt").write_text("\n".join(one.captions) + "\n", encoding="utf-8")
    return str(root)


def _imagefolder(six: Six, images: Write, *, suffix: str, inside: bool) -> str:
    root = images("data/{split}/{name}") / "data"
    for folder in {one.split for one in six} if inside else {""}:
        prefix = {one.name: "" if inside else f"{one.split}/" for one in six}
        mine = [(n, c, s) for n, c, s in _long(six) if not inside or s == folder]
        path = root / folder / f"metadata{suffix}"
        if suffix == ".csv":
            _csv(path, [(prefix[n] + n, c) for n, c, _ in mine], ("file_name", "text"))
        else:
            rows = [{"file_name": prefix[n] + n, "text": c} for n, c, _ in mine]
            if suffix == ".jsonl":
                path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            else:
                pq.write_table(pa.Table.from_pylist(rows), path)
    return str(root)


def _shards(six: Six, images: Write, *, pattern: str, text: bool = False) -> str:
    """Shards of each split (captions as text), or two of mixed splits (captions and split as JSON)."""
    root = images("unused/{name}") / "shards"
    for number, one in enumerate(six):
        stem = one.name.removesuffix(".png")
        record = json.dumps({"captions": one.captions, "split": one.split}).encode()
        words = ("txt", "\n".join(one.captions).encode()) if text else ("json", record)
        shard = f"{one.split}-{number:03}.tar" if text else f"{number:03}.tar"
        write_tar(root / shard, [(f"{stem}.{words[0]}", words[1]), (one.name, one.data)])
    return f"{root}{pattern}"


def _saved(six: Six, images: Write, *, column: bool) -> str:
    datasets = pytest.importorskip("datasets")
    path = images("unused/{name}") / "saved"
    kinds = datasets.Features(
        {
            "image": datasets.Image(),
            "caption": datasets.Sequence(datasets.Value("string")),
            "split": datasets.Value("string"),
        }
    )

    def part(some: Six) -> Any:
        rows = {
            "image": [{"bytes": one.data, "path": one.name} for one in some],
            "caption": [one.captions for one in some],
            "split": [one.split for one in some],
        }
        return datasets.Dataset.from_dict(rows, features=kinds)

    if column:  # one part called test, true splits in a column, as nlphuji/flickr30k
        datasets.DatasetDict({"test": part(six)}).save_to_disk(path)
    else:
        words = {"train": "train", "validation": "dev", "test": "test"}
        parts = {
            word: part([one for one in six if one.split == split]).remove_columns("split")
            for word, split in words.items()
        }
        datasets.DatasetDict(parts).save_to_disk(path)
    return str(path)


def _separated(six: Six, images: Write, name: str, mark: str, header: bool = True) -> str:
    path = images("{name}") / name
    lines = [mark.join(("image", "caption", "split"))] if header else []
    for row in _long(six):
        cells = row if header else row[:2]
        lines.append(mark.join(f'"{c.replace(chr(34), chr(34) * 2)}"' if '"' in c else c for c in cells))
    path.write_text("\r\n".join(lines), encoding="utf-8-sig")
    return str(path)


def _tables_of_splits(six: Six, images: Write) -> str:
    root = images("{name}")
    for word, split in (("train", "train"), ("val", "dev"), ("test", "test")):
        mine = [row[:2] for row in _long(six) if row[2] == split]
        _csv(root / f"{word}.csv", mine, ("image", "caption"))
    return str(root)


def _hub_parts(six: Six, images: Write) -> str:
    """As the hub stores data sets: parts of each split, images in the rows, an equal path in two splits."""
    root = images("unused/{name}") / "clone"
    (root / "data").mkdir(parents=True)
    (root / "README.md").touch()
    words = {"train": "train", "dev": "validation", "test": "test"}
    for number, one in enumerate(six):
        row = {"image": {"bytes": one.data, "path": one.name}, "caption": one.captions}
        name = f"{words[one.split]}-{number:05}-of-00006.parquet"
        pq.write_table(pa.Table.from_pylist([row]), root / "data" / name)
    return str(root)


def _img2dataset(six: Six, images: Write) -> str:
    """The folders of pairs that img2dataset writes, a table and a JSON about each beside them."""
    root = Path(_sidecar(six, images))
    for folder in list(root.iterdir()):
        about = {"key": ["0"], "url": ["https://example.org/0.png"], "caption": ["x"], "status": ["success"]}
        pq.write_table(pa.table(about), folder.with_suffix(".parquet"))
        folder.with_name(f"{folder.name}_stats.json").write_text("{}")
        for image in folder.glob("*.png"):
            image.with_suffix(".json").write_text('{"caption": "x"}')
    return str(root)


def _img2dataset_shards(six: Six, images: Write) -> str:
    root = Path(_shards(six, images, pattern=""))
    for shard in list(root.glob("*.tar")):
        pq.write_table(
            pa.table({"url": ["https://example.org/0.png"], "key": ["0"]}), shard.with_suffix(".parquet")
        )
        shard.with_name(f"{shard.stem}_stats.json").write_text("{}")
    return str(root)


def _img2dataset_parquet(six: Six, images: Write) -> str:
    root = images("unused/{name}") / "parts"
    root.mkdir()
    for number, one in enumerate(six):
        row = {"key": one.name, "caption": one.captions, "split": one.split, "jpg": one.data}
        pq.write_table(pa.Table.from_pylist([row]), root / f"{number:05}.parquet")
    return str(root)


def _coco(six: Six, images: Write) -> str:
    words = {"train": "train2017", "dev": "val2017", "test": "test2017"}
    root = images("unused/{name}") / "coco"
    (root / "annotations").mkdir(parents=True)
    for split, word in words.items():
        (root / word).mkdir()
        mine = [(number, one) for number, one in enumerate(six) if one.split == split]
        content = {
            "images": [{"id": number, "file_name": one.name, "height": 30} for number, one in mine],
            "annotations": [
                {"id": 0, "image_id": str(number) if split == "dev" else number, "caption": caption}
                for number, one in mine
                for caption in one.captions
            ],
        }
        (root / "annotations" / f"captions_{word}.json").write_text(json.dumps(content))
        (root / "annotations" / f"instances_{word}.json").write_text("{}")
        for _, one in mine:
            (root / word / one.name).write_bytes(one.data)
    return str(root)


def _json(six: Six, images: Write, content: Any) -> str:
    root = images("images/{name}")
    (root / "t.json").write_text(json.dumps(content))
    return str(root)


def _json_lines(six: Six, images: Write) -> str:
    path = next(Path(_json(six, images, [])).glob("*.json"))
    path.write_text("".join(json.dumps(row) + "\n" for row in _rows(six)))
    return str(path)


def _json_of_splits(six: Six, images: Write) -> str:
    root = images("images/{name}")
    for word, split in (("train", "train"), ("val", "dev"), ("test", "test")):
        captions = {f"images/{one.name}": one.captions for one in six if one.split == split}
        (root / f"{word}.json").write_text(json.dumps(captions))
    return str(root)


def _json_beside(six: Six, images: Write) -> str:
    root = images("data/{split}/{name}") / "data"
    for one in six:
        path = (root / one.split / one.name).with_suffix(".json")
        path.write_text(json.dumps({"caption": one.captions, "width": 40}))
    return str(root)


def _nested_imagefolder(six: Six, images: Write) -> str:
    root = images("data/{split}/a/{name}") / "data"
    for split in ("train", "dev", "test"):
        rows = [{"file_name": one.name, "text": one.captions} for one in six if one.split == split]
        (root / split / "a" / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(root)


def _chinese_clip(six: Six, images: Write) -> str:
    root = images("unused/{name}") / "own"
    root.mkdir()
    for word, split in (("train", "train"), ("valid", "dev"), ("test", "test")):
        mine = [one for one in six if one.split == split]
        lines = [f"{one.name}\t{base64.b64encode(one.data).decode()}\n" for one in mine]
        (root / f"{word}_imgs.tsv").write_text("".join(lines))
        texts = [{"text_id": 0, "text": c, "image_ids": [one.name]} for one in mine for c in one.captions]
        (root / f"{word}_texts.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))
    return str(root)


def _base64(six: Six, images: Write) -> str:
    path = images("unused/{name}") / "t.tsv"
    data = {one.name: base64.b64encode(one.data).decode() for one in six}
    _csv(path, [(data[n], c, s) for n, c, s in _long(six)], ("image", "caption", "split"), "\t")
    return str(path)


def _lists_of_bytes(six: Six, images: Write) -> str:
    path = images("unused/{name}") / "t.parquet"
    rows = {
        "image": pa.array([list(one.data) for one in six], pa.list_(pa.uint8())),
        "caption": [one.captions for one in six],
        "split": [one.split for one in six],
    }
    pq.write_table(pa.table(rows), path)
    return str(path)


def _annotations(six: Six, images: Write) -> str:
    root = images("images/{name}")
    (root / "annotations").mkdir()
    _csv(root / "annotations" / "t.csv", _long(six), ("image", "caption", "split"))
    return str(root)


def _split_folders(six: Six, images: Write, suffix: str) -> str:
    root = images("{split}/images/{name}")
    for split in ("train", "dev", "test"):
        rows = [
            (f"images/{one.name}", caption) for one in six if one.split == split for caption in one.captions
        ]
        if suffix == "csv":
            _csv(root / split / "captions.csv", rows, ("image", "caption"))
        else:
            table = pa.table(
                {"image": [name for name, _ in rows], "caption": [caption for _, caption in rows]}
            )
            pq.write_table(table, root / split / "0000.parquet")
    return str(root)


def _coco_by_split(six: Six, images: Write) -> str:
    root = Path(_coco(six, images))
    for path in list((root / "annotations").glob("captions_*")):
        split = path.stem.removeprefix("captions_")
        path.rename(path.with_name(f"{split.rstrip('0123456789')}.json"))
        (root / split).rename(root / split.rstrip("0123456789"))
    (root / "annotations" / "instances.json").write_text('{"images": [], "annotations": [{"image_id": 1}]}')
    return str(root)


def _gzip(six: Six, images: Write) -> str:
    path = Path(_table(six, images, ".csv"))
    path.with_suffix(".csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return str(path.parent)


def _flickr30k(six: Six, images: Write, name: str, *, itself: bool = False) -> str:
    """As published: `results.csv` has one row without its second mark."""
    root = images("flickr30k_images/{name}")
    each = [(one.name, n, caption) for one in six for n, caption in enumerate(one.captions)]
    if name == "results.csv":
        lines = [f"{image}| {n}| {caption}" for image, n, caption in each]
        lines[1] = lines[1].replace("1| ", "1   ")
        (root / name).write_text("\n".join(["image_name| comment_number| comment", *lines]))
    elif name == "captions.txt":
        _csv(
            root / name,
            [(image, str(n), caption) for image, n, caption in each],
            ("image_name", "comment_number", "comment"),
        )
    elif name.endswith(".token"):
        (root / name).write_text("".join(f"{image}#{n}\t{caption}\n" for image, n, caption in each))
    else:  # the hub's: lists written as text
        rows = [(json.dumps(one.captions), "[]", one.split, one.name) for one in six]
        _csv(root / name, rows, ("raw", "sentids", "split", "filename"))
    return str(root / name if itself else root)


def _other_sidecar(six: Six, images: Write, name: str) -> str:
    root = images("data/{split}/{name}") / "data"
    for one in six:
        (root / one.split / name.format(one.name[0])).write_text("\n".join(one.captions))
    return str(root)


def _captions_apart(six: Six, images: Write) -> str:
    root = images("images/{split}/{name}")
    for one in six:
        path = (root / "captions" / one.split / one.name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(one.captions))
    return str(root)


def _odd_shards(six: Six, images: Write) -> str:
    root = images("unused/{name}") / "odd"
    for one in six:
        stem = one.name.removesuffix(".png")
        files = [(f"{stem}.img", one.data), (f"{stem}.cap", "\n".join(one.captions).encode())]
        write_tar(root / f"{one.split}-{stem}.tar", files)
    return str(root)


def vector_of(one: Any) -> np.ndarray:
    """An image as a vector that someone brings."""
    return np.frombuffer(one.data[-40:], np.uint8).astype(np.float32)


def _vectors(six: Six, images: Write) -> str:
    """A row a caption, no pictures: of each, a vector of its image and one of its own."""
    root = images("unused/{name}") / "vectors"
    root.mkdir()
    rows = [
        {
            "image": one.name,
            "caption": caption,
            "split": one.split,
            "image_embedding": vector_of(one).tolist(),
            "text_embedding": [float(len(caption)), 1.0],
        }
        for one in six
        for caption in one.captions
    ]
    pq.write_table(pa.Table.from_pylist(rows), root / "t.parquet")
    return str(root)


def _vectors_npy(six: Six, images: Write) -> str:
    root = Path(_vectors(six, images))
    table = pq.read_table(root / "t.parquet")
    np.save(root / "texts.npy", np.array(table["text_embedding"].to_pylist()))
    np.save(root / "images.npy", np.stack([vector_of(one) for one in six]).astype(np.float64))
    owner = [str(row) for row, one in enumerate(six) for _ in one.captions]
    _csv(
        root / "t.csv",
        [(*row, at) for row, at in zip(_long(six), owner, strict=True)],
        ("image", "caption", "split", "image_row"),
    )
    (root / "t.parquet").unlink()
    return str(root)


FORMATS: dict[str, Callable[[Six, Write], str]] = {
    "flickr8k": _flickr8k,
    "flickr8k token": lambda six, images: _flickr8k(six, images, folder="Flicker8k_Dataset", token=True),
    "flickr8k text folder": lambda six, images: _flickr8k(six, images, token=True, text="Flickr8k_text"),
    "karpathy file": lambda six, images: _karpathy(six, images, itself=True),
    "karpathy folder": lambda six, images: _karpathy(six, images, itself=False),
    "karpathy filepath": lambda six, images: _karpathy(six, images, itself=True, below=True),
    "csv": lambda six, images: _table(six, images, ".csv"),
    "tsv": lambda six, images: _table(six, images, ".tsv"),
    "jsonl": lambda six, images: _table(six, images, ".jsonl"),
    "parquet": lambda six, images: _table(six, images, ".parquet"),
    "parquet bytes": lambda six, images: _parquet_bytes(six, images, struct=False),
    "parquet struct": lambda six, images: _parquet_bytes(six, images, struct=True),
    "sidecar": _sidecar,
    "imagefolder csv": lambda six, images: _imagefolder(six, images, suffix=".csv", inside=False),
    "imagefolder jsonl": lambda six, images: _imagefolder(six, images, suffix=".jsonl", inside=True),
    "imagefolder parquet": lambda six, images: _imagefolder(six, images, suffix=".parquet", inside=True),
    "shards of each split": lambda six, images: _shards(six, images, pattern="/*.tar", text=True),
    "shards in braces": lambda six, images: _shards(six, images, pattern="/{000..005}.tar"),
    "shard folder": lambda six, images: _shards(six, images, pattern=""),
    "semicolons": lambda six, images: _separated(six, images, "t.csv", ";"),
    "tabs in a csv": lambda six, images: _separated(six, images, "t.csv", "\t"),
    "bars in a txt": lambda six, images: _separated(six, images, "t.txt", "|"),
    "coco": _coco,
    "coco by split": _coco_by_split,
    "split folders": lambda six, images: _split_folders(six, images, "csv"),
    "split folders of the hub": lambda six, images: _split_folders(six, images, "parquet"),
    "json list": lambda six, images: _json(six, images, _rows(six)),
    "json list under a key": lambda six, images: _json(six, images, {"version": 1, "data": _rows(six)}),
    "json captions by image": _json_of_splits,
    "json pairs by image": lambda six, images: _json(
        six, images, {one.name: {"captions": one.captions, "split": one.split} for one in six}
    ),
    "json columns": lambda six, images: _json(
        six,
        images,
        {
            "image": [one.name for one in six],
            "captions": {str(at): one.captions for at, one in enumerate(six)},
            "split": [one.split for one in six],
        },
    ),
    "json lines": _json_lines,
    "json lists by split": lambda six, images: _json(
        six,
        images,
        {
            split: [{"image": one.name, "captions": one.captions} for one in six if one.split == split]
            for split in ("train", "dev", "test")
        },
    ),
    "tables of splits": _tables_of_splits,
    "parts of the hub": _hub_parts,
    "img2dataset files": _img2dataset,
    "img2dataset webdataset": _img2dataset_shards,
    "img2dataset parquet": _img2dataset_parquet,
    "json beside images": _json_beside,
    "imagefolder nested": _nested_imagefolder,
    "chinese-clip": _chinese_clip,
    "base64": _base64,
    "lists of bytes": _lists_of_bytes,
    "annotations": _annotations,
    "csv.gz": _gzip,
    "captions.txt": lambda six, images: _flickr30k(six, images, "captions.txt", itself=True),
    "flickr30k csv": lambda six, images: _flickr30k(six, images, "results.csv"),
    "flickr30k csv itself": lambda six, images: _flickr30k(six, images, "results.csv", itself=True),
    "flickr30k token": lambda six, images: _flickr30k(six, images, "results_20130124.token"),
    "flickr30k token itself": lambda six, images: _flickr30k(
        six, images, "results_20130124.token", itself=True
    ),
    "flickr30k of the hub": lambda six, images: _flickr30k(six, images, "flickr_annotations_30k.csv"),
    "no header": lambda six, images: _separated(six, images, "t.csv", ";", header=False),
    "no header, tsv": lambda six, images: _separated(six, images, "t.tsv", "\t", header=False),
    "sidecar .TXT": lambda six, images: _other_sidecar(six, images, "{}.TXT"),
    "sidecar .caption": lambda six, images: _other_sidecar(six, images, "{}.caption"),
    "sidecar .png.txt": lambda six, images: _other_sidecar(six, images, "{}.png.txt"),
    "captions apart": _captions_apart,
    "shards of any suffix": _odd_shards,
    "vectors": _vectors,
    "vectors npy": _vectors_npy,
    "saved": lambda six, images: _saved(six, images, column=False),
    "saved, split column": lambda six, images: _saved(six, images, column=True),
}


NAMELESS = ("parquet bytes", "img2dataset parquet", "base64", "lists of bytes")
"""Forms in which an image has no name."""
UNSPLIT = (
    "captions.txt",
    "flickr30k csv",
    "flickr30k csv itself",
    "flickr30k token",
    "flickr30k token itself",
    "no header",
    "no header, tsv",
)
"""Forms that give no splits: a hash of the name draws them."""
OPTIONS: dict[str, dict[str, Any]] = {
    "no header": {"no_header": True},
    "no header, tsv": {"no_header": True},
    "shards of any suffix": {"image_column": "img", "caption_column": "cap"},
}
"""What a form has to be opened with."""


@pytest.mark.parametrize("form", FORMATS)
def test_contract(form: str, six: Six, write_images: Write, looks: list[str]) -> None:
    source = FORMATS[form](six, write_images)
    looks.clear()
    pairs = Pairs.open(source, **OPTIONS.get(form, {}))
    if pairs.shards is None:  # their names are patterns, expanded by themselves
        assert len(looks) == len(set(looks)), "each folder is looked into once"
    content = {pairs.read_bytes(row): row for row in range(pairs.n_images)}
    data = [as_bytes(vector_of(one)[None])[0] if form.startswith("vectors") else one.data for one in six]
    got = pairs.take(np.array([content[one] for one in data]))
    if form not in NAMELESS:
        stems = [name.rpartition("/")[2].partition(".")[0] for name in got.names]
        assert stems == [one.name.removesuffix(".png") for one in six]
    assert got.table["captions"].to_pylist() == [one.captions for one in six]
    if form in UNSPLIT:
        assert "hash" in pairs.description
    else:
        assert got.table["split"].to_pylist() == [one.split for one in six]
        assert pairs.splits == {"train": (4, 8), "dev": (1, 1), "test": (1, 2)}
    if form.startswith("vectors"):
        assert pairs.vector_widths == (40, 2)
        assert got.text_vectors is not None
        assert got.text_vectors[:, 0].tolist() == [len(caption) for caption in got.captions.to_pylist()]
    assert len(set(pairs.names)) == pairs.n_images == 6
    assert len(pairs) == 11
    assert not pairs.problems.counts
    assert not pairs.generated
    assert "6 images" in pairs.description
    fields = {field.name: field.type for field in pairs.table.schema}
    assert fields["name"] == fields["path"] == fields["split"] == pa.string()
    assert fields["bytes"] == pa.large_binary()
    assert fields["captions"] == pa.list_(pa.string())
    places = [
        pairs.table[name].is_valid().to_pylist() for name in ("bytes", "path", "member") if name in fields
    ]
    assert all(sum(there) == 1 for there in zip(*places, strict=True))
    assert (pairs.shards is None) == ("member" not in fields)


def test_the_page_of_forms_names_what_tests_them() -> None:
    """Each form of the contract stands in docs/forms.md; each name there is a form, the start of one, or a test."""
    page = (Path(__file__).parents[2] / "docs" / "forms.md").read_text(encoding="utf-8")
    named = [
        n
        for line in page.splitlines()
        if line.count("|") > 2
        for n in re.findall(r"`([^`]+)`", line.rsplit("|", 2)[1])
    ]
    starts = tuple(name.removesuffix("…") for name in named if name.endswith(" …"))
    assert {form for form in FORMATS if form not in named and not f"{form} ".startswith(starts)} == set()
    assert [name for name in named if not name.endswith(" …") and name not in {*FORMATS, *globals()}] == []
    assert [start for start in starts if not any(f"{form} ".startswith(start) for form in FORMATS)] == []


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            {"image_embedding": [[1.0, 2.0], [3.0]]},
            "must hold vectors of one width, got 2 numbers in row 1 and 1 in row 2",
        ),
        (
            {"image_embedding": [[1.0, 2.0], [3.0, float("nan")]]},
            "got NaN or infinity in 1 of 2 rows, the first of them 2",
        ),
        ({"text_embedding": [[0.0], [3.0]]}, "got zeros alone in 1 of 2 rows, the first of them 1"),
        ({"image": [None, "b"]}, "must name the image of every row, got none in row 1"),
        ({"image_embedding": ["[1.0]", "[2.0]"]}, "must hold lists of floats, got string"),
    ],
)
def test_vectors_that_cannot_be(change: dict[str, list[Any]], match: str, tmp_path: Path) -> None:
    good = {
        "image": ["a", "b"],
        "image_embedding": [[1.0, 2.0], [3.0, 4.0]],
        "text_embedding": [[1.0], [2.0]],
    }
    pq.write_table(pa.table(good | change), tmp_path / "t.parquet")
    with pytest.raises(PairJEPAError, match=match):
        Pairs.open(tmp_path / "t.parquet")


def test_vectors_without_names_or_captions(tmp_path: Path) -> None:
    rows = {"image_embedding": [[1.0, 2.0], [1.0, 2.0], [3.0, 4.0]], "text_embedding": [[1.0], [2.0], [3.0]]}
    pq.write_table(pa.table(rows), tmp_path / "t.parquet")
    pairs = Pairs.open(tmp_path)
    assert pairs.table["captions"].to_pylist() == [["t text 0", "t text 1"], ["t text 2"]], (
        "equal vectors are an image"
    )
    pq.write_table(pa.table({"image": ["a", "a", "a"], **rows}), tmp_path / "t.parquet")
    pairs = Pairs.open(tmp_path)
    assert pairs.n_images == 1
    assert [*pairs.problems.counts.values()] == [1]
    for name, width in (("images", 2), ("texts", 3)):
        np.save(tmp_path / f"{name}.npy", np.ones((3, width)) + np.arange(3)[:, None])
    (tmp_path / "t.parquet").unlink()
    assert Pairs.open(tmp_path).names == ["image 0", "image 1", "image 2"]
    np.save(tmp_path / "texts.npy", np.ones((4, 3)))
    with pytest.raises(PairJEPAError, match=r"must have as many rows, got 3 and 4\. .*column image_row"):
        Pairs.open(tmp_path)
    (tmp_path / "t.csv").write_text("caption\na\nb\n")
    with pytest.raises(
        PairJEPAError, match=r"must have a row for each of the 4 vectors of texts\.npy, got 2"
    ):
        Pairs.open(tmp_path)


def test_a_table_without_header(six: Six, write_images: Write) -> None:
    path = Path(_separated(six, write_images, "t.csv", ";", header=False))
    with pytest.raises(PairJEPAError, match=r"add --data\.no-header"):
        Pairs.open(path)
    (path.parent / "u.csv").write_text('"a dog, red",a.png')
    pairs = Pairs.open(path.parent / "u.csv", no_header=True, image_column="2", caption_column="1")
    assert pairs.captions.to_pylist() == ["a dog, red"]
    with pytest.raises(UsageError, match=r"data\.no_header must be left out for a folder of images"):
        Pairs.open(_sidecar(six, write_images), no_header=True)


def test_captions_and_owner_follow_the_rows(six: Six, write_images: Write) -> None:
    pairs = Pairs.open(_table(six, write_images, ".csv"))
    assert pairs.captions.to_pylist() == [caption for one in six for caption in one.captions]
    assert pairs.owner.tolist() == [row for row, one in enumerate(six) for _ in one.captions]
    part = pairs.take(np.array([5, 0]))
    assert part.captions.to_pylist() == six[5].captions + six[0].captions
    assert part.owner.tolist() == [0, 0, 1, 1]
    assert pairs.split("dev").names == ["e.png"]
    assert pairs.image(2).size == (40, 30)


def test_metadata_and_named_columns(six: Six, write_images: Write) -> None:
    root = write_images("{name}")
    rows = [(f"./{n}", "wrong", c, s, f"by {n}") for n, c, s in _long(six)]
    _csv(root / "t.csv", rows, ("where", "title", "said", "part", "name"))
    options = {"image_column": "where", "caption_column": "said", "split_column": "part"}
    pairs = Pairs.open(root / "t.csv", **options)
    assert pairs.names == [one.name for one in six]
    assert pairs.table["name_"].to_pylist() == [f"by {one.name}" for one in six]
    assert pairs.splits["train"] == (4, 8)
    options["caption_column"] = ("said",)
    assert open_pairs(DataConfig(source=str(root / "t.csv"), **options)).names == pairs.names


def test_rows_of_one_image_need_not_stand_together(six: Six, write_images: Write) -> None:
    root = write_images("{name}")
    long = _long(six)
    _csv(root / "t.csv", long[::2] + long[1::2], ("image", "caption", "split"))
    pairs = Pairs.open(root / "t.csv")
    assert pairs.n_images == 6
    assert sorted(pairs.captions.to_pylist()) == sorted(caption for _, caption, _ in long)


def test_numbered_caption_columns(six: Six, write_images: Write) -> None:
    root = write_images("{name}")
    _csv(
        root / "t.csv",
        [(one.name, one.captions[0], one.captions[-1]) for one in six],
        ("image", "caption_0", "caption_1"),
    )
    pairs = Pairs.open(root / "t.csv")
    assert pairs.table["captions"].to_pylist() == [[one.captions[0], one.captions[-1]] for one in six]


def test_splits_under_another_name_are_said(six: Six, write_images: Write) -> None:
    root = write_images("{name}")
    words = ["train", "train", "Train", "val", "val", "test"]
    rows = [(one.name, one.captions[0], "red", word) for one, word in zip(six, words, strict=True)]
    _csv(root / "t.csv", rows, ("image", "caption", "colour", "partition"))
    note = "The column partition holds splits that are not used. To use them: --data.split-column partition."
    assert note in Pairs.open(root / "t.csv").problems.notes
    named = Pairs.open(root / "t.csv", split_column="partition")
    assert note not in named.problems.notes
    assert {split: images for split, (images, _) in named.splits.items()} == {"train": 3, "dev": 2, "test": 1}


def test_several_caption_columns(six: Six, write_images: Write) -> None:
    root = write_images("{name}")
    rows = [(one.name, one.captions[0], one.captions[-1] if at else "") for at, one in enumerate(six)]
    _csv(root / "t.csv", rows, ("image", "caption", "title"))
    pairs = Pairs.open(root / "t.csv")
    assert len(pairs) == 6
    assert pairs.weights is None
    note = "The captions are those of the column caption. To take title too: --data.caption-column caption title."
    assert note in pairs.problems.notes
    pairs = Pairs.open(root / "t.csv", caption_column=["title", "caption"])
    assert pairs.table["captions"].to_pylist()[1:] == [[one.captions[-1], one.captions[0]] for one in six[1:]]
    assert note not in pairs.problems.notes
    pairs = Pairs.open(root / "t.csv", caption_column=["title=0.25", "caption=0.75"])
    assert pairs.weights is not None
    assert pairs.weights.tolist() == [0.75] + [0.25, 0.75] * 5, "without the empty one"
    assert pairs.take(np.array([1, 0])).weights.tolist() == [0.25, 0.75, 0.75]  # type: ignore[union-attr]
    for wrong in ("title=0", "title=x", "title=inf"):
        with pytest.raises(UsageError, match="must give a positive weight"):
            Pairs.open(root / "t.csv", caption_column=["caption", wrong])


def test_all_rows_with_another_number_of_cells(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,caption\na.png,a big, red dog\nb.png,a cat, too\n")
    with pytest.raises(PairJEPAError, match=r"got none\. There are rows with another number of cells"):
        Pairs.open(tmp_path)


def test_a_file_of_coco_alone_is_split_by_hash(six: Six, write_images: Write) -> None:
    path = Path(_coco(six, write_images)) / "annotations" / "captions_train2017.json"
    pairs = Pairs.open(path)
    assert pairs.names == [f"train2017/{one.name}" for one in six[:4]]
    assert "hash" in pairs.description


def test_pictures_that_are_not_read_are_counted(six: Six, write_images: Write) -> None:
    root = Path(_sidecar(six, write_images))
    (root / "train" / "x.cr2").touch()
    (root / "train" / "a.png").rename(root / "train" / "a.jfif")
    pairs = Pairs.open(root)
    assert pairs.names[0] == "test/f.png"
    assert "train/a.jfif" in pairs.names
    kind = "pictures of a kind that is not read (save them as JPEG)"
    assert pairs.problems.to_dict() == {kind: {"count": 1, "examples": ["train/x.cr2"]}}
    (root / "only").mkdir()
    (root / "only" / "x.jxl").touch()
    with pytest.raises(
        PairJEPAError, match=r"There are pictures of a kind that is not read .*: 1, such as x.jxl"
    ):
        Pairs.open(root / "only")


def test_class_folders(six: Six, write_images: Write) -> None:
    root = write_images("data/{split}/x/{name}") / "data"
    (root / "train" / "red_cat").mkdir()
    (root / "train" / "x" / "a.png").rename(root / "train" / "red_cat" / "a.png")
    pairs = Pairs.open(root)
    assert pairs.n_images == 6
    assert set(pairs.captions.to_pylist()) == {"x", "red cat"}
    assert pairs.splits == {"train": (4, 4), "dev": (1, 1), "test": (1, 1)}
    assert (
        "the names of their 2 folders ('red cat', 'x', …) are taken for captions" in pairs.problems.notes[0]
    )
    with pytest.raises(PairJEPAError, match="nothing in it is known"):
        Pairs.open(root / "dev")


def test_a_json_beside_an_image_that_is_none(six: Six, write_images: Write) -> None:
    root = Path(_json_beside(six, write_images))
    (root / "train" / "a.json").write_text("[]")
    pairs = Pairs.open(root)
    assert pairs.n_images == 5
    assert pairs.problems.counts["caption files that are no JSON object (not used)"] == 1


def test_parts_with_metadata_of_several_types(six: Six, write_images: Write) -> None:
    root = write_images("{name}")
    for number, ids in enumerate(([1, 2, 3], ["4", None, "x"])):
        mine = six[3 * number : 3 * number + 3]
        rows = {"image": [one.name for one in mine], "caption": [one.captions for one in mine], "id": ids}
        pq.write_table(pa.table(rows), root / f"train-{number}.parquet")
    pairs = Pairs.open(root)
    assert pairs.table["id"].to_pylist() == ["1", "2", "3", "4", None, "x"]
    assert pairs.table["captions"].to_pylist() == [one.captions for one in six]


def test_texts_of_chinese_clip_without_image(six: Six, write_images: Write) -> None:
    root = Path(_chinese_clip(six, write_images))
    with (root / "train_texts.jsonl").open("a") as file:
        file.write(json.dumps({"text": "x", "image_ids": ["nosuch", "a.png"]}) + "\n")
    pairs = Pairs.open(root)
    assert len(pairs) == 12
    assert pairs.problems.to_dict() == {
        "captions that name no image (dropped)": {"count": 1, "examples": ["nosuch"]}
    }
    (root / "train_texts.jsonl").write_text('{"text": "x"}\n')
    with pytest.raises(PairJEPAError, match="must have Chinese-CLIP's form"):
        Pairs.open(root)


def test_damaged_base64_is_an_unreadable_image(six: Six, write_images: Write) -> None:
    path = Path(_base64(six, write_images))
    text = path.read_text().replace("/", "é", 1).replace("iVBORw0KGgo", "iVBORw0KGg", 2)
    path.write_text(text)
    assert Pairs.open(path).n_images >= 6


@pytest.mark.parametrize("word", ["restval", " Train2017"])
def test_other_words_for_train(six: Six, write_images: Write, word: str) -> None:
    path = Path(_table(six, write_images, ".csv"))
    path.write_text(path.read_text().replace(",train", f",{word}"))
    assert Pairs.open(path).splits["train"] == (4, 8)


def test_lists_written_as_text(six: Six, write_images: Write) -> None:
    root = write_images("{name}")
    cells = [
        json.dumps(six[0].captions),
        str(six[1].captions),
        "['a child' 'a child'\n 'the child, again']",
        "[a girl] on a bike",
        "['a boat' at 'sea']",
        str(tuple(six[5].captions)),
    ]
    _csv(root / "t.csv", [(one.name, cell) for one, cell in zip(six, cells, strict=True)], ("image", "raw"))
    got = Pairs.open(root / "t.csv").table["captions"].to_pylist()
    assert got == [*(one.captions for one in six[:3]), *([cell] for cell in cells[3:5]), six[5].captions]
    rows = [("a.png", "[]", "['x', None]"), ("b.png", "y", '["z", null]')]
    _csv(root / "t.csv", rows, ("image", "raw", "more"))
    pairs = Pairs.open(root / "t.csv", caption_column=["raw", "more"])
    assert pairs.table["captions"].to_pylist() == [["x"], ["y", "z"]]


def test_several_columns_of_lists(six: Six, write_images: Write) -> None:
    root = write_images("{name}")
    rows = {
        "image": [one.name for one in six],
        "short": [[], *(["a"] for _ in six[1:])],
        "long": [["b", "c"]] * 6,
    }
    pq.write_table(pa.table(rows), root / "t.parquet")
    pairs = Pairs.open(root / "t.parquet", caption_column=["short=0.75", "long=0.25"])
    assert pairs.table["captions"].to_pylist() == [["b", "c"], *[["a", "b", "c"]] * 5]
    assert pairs.table["weights"].to_pylist() == [[0.125, 0.125], *[[0.75, 0.125, 0.125]] * 5]


def test_dictionaries_and_lists_of_integers(six: Six, tmp_path: Path) -> None:
    """As pandas writes categories, and Arrow lists of Python's integers."""
    words = pa.array([one.captions[0] for one in six]).dictionary_encode()
    for cells in (
        pa.array([one.data for one in six]).dictionary_encode(),
        pa.array([[*one.data] for one in six]),
    ):
        pq.write_table(pa.table({"image": cells, "caption": words}), tmp_path / "t.parquet")
        pairs = Pairs.open(tmp_path)
        assert [pairs.read_bytes(row) for row in range(6)] == [one.data for one in six]
        assert pairs.captions.to_pylist() == [one.captions[0] for one in six]


def test_a_link_to_the_folder_of_the_images(six: Six, write_images: Write) -> None:
    root = write_images("train/{name}")
    (root / "train").rename(root / "all")
    (root / "train").symlink_to("all")
    _csv(root / "all" / "metadata.csv", [(one.name, one.captions[0]) for one in six], ("file_name", "text"))
    pairs = Pairs.open(root)
    assert pairs.n_images == 6
    assert not pairs.problems.counts, "no image is without a caption"


@pytest.mark.parametrize("image", [1, 2])
def test_without_header_the_image_is_found(six: Six, write_images: Write, image: int) -> None:
    root = write_images("{name}")
    rows = [(one.name, one.captions[0])[:: 1 if image == 1 else -1] for one in six]
    _csv(root / "t.csv", rows[1:], rows[0])
    with pytest.raises(PairJEPAError, match=r"If its first line is a pair, add --data\.no-header"):
        Pairs.open(root / "t.csv")
    pairs = Pairs.open(root / "t.csv", no_header=True)
    assert pairs.names == [one.name for one in six]
    assert pairs.captions.to_pylist() == [one.captions[0] for one in six]


def test_folders_behind_links_are_read(six: Six, write_images: Write) -> None:
    root = Path(_sidecar(six, write_images))
    (root / "train").rename(root.parent / "elsewhere")
    (root / "train").symlink_to("../elsewhere")
    (root / "test" / "loop").symlink_to("..")
    pairs = Pairs.open(root)
    assert pairs.splits == {"train": (4, 8), "dev": (1, 1), "test": (1, 2)}
    assert not pairs.problems.counts


def test_jsonl_of_mixed_cells_and_dates_stays_text(six: Six, write_images: Write) -> None:
    root = write_images("{name}")
    rows = [
        {"image": "a.png", "caption": "2011-01-02"},
        {"image": "b.png", "caption": ["one", "two"]},
        {"caption": "three", "image": "c.png", "likes": 3},
    ]
    (root / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n")
    pairs = Pairs.open(root / "t.jsonl")
    assert pairs.table["captions"].to_pylist() == [["2011-01-02"], ["one", "two"], ["three"]]
    assert pairs.table["likes"].to_pylist() == [None, None, 3]
    assert pairs.problems.to_dict() == {
        "lines that are not a JSON object (skipped)": {"count": 1, "examples": ["t.jsonl line 4"]}
    }


def test_flickr8k_images_in_no_split_file_are_not_used(six: Six, write_images: Write) -> None:
    root = Path(_flickr8k(six, write_images))
    (root / "Flickr_8k.testImages.txt").write_text("nowhere.jpg\n")
    pairs = Pairs.open(root)
    assert pairs.splits["rest"] == (1, 2)
    assert pairs.problems.counts == {"names in the split files without a caption": 1}


def test_karpathy_goes_before_flickr8k_without_official_split(six: Six, write_images: Write) -> None:
    root = Path(_flickr8k(six, write_images))
    _karpathy(six, write_images, itself=False)
    assert "official split" in Pairs.open(root).description
    assert Pairs.open(root).description.startswith("Flickr8k ")
    for path in root.glob("Flickr_8k.*"):
        path.unlink()
    assert "Karpathy's split" in Pairs.open(root).description


def test_bytes_of_one_path_and_other_content_are_two_images(six: Six, tmp_path: Path) -> None:
    rows = [
        {"image": {"bytes": one.data, "path": path}, "caption": caption}
        for one, path, caption in zip(six[:3] + six[:1], ["x", "x", None, "x"], "abcd", strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    pairs = Pairs.open(tmp_path)
    assert pairs.table["captions"].to_pylist() == [["a", "d"], ["b"], ["c"]]
    assert [pairs.read_bytes(row) for row in range(3)] == [one.data for one in six[:3]]


def test_hub_loads_by_id(six: Six, write_images: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    saved = datasets.load_from_disk(_saved(six, write_images, column=False))
    asked: list[str] = []
    monkeypatch.setattr(datasets, "load_dataset", lambda name: asked.append(name) or saved)
    pairs = Pairs.open("someone/pairs")
    assert asked == ["someone/pairs"]
    assert pairs.splits == {"train": (4, 8), "dev": (1, 1), "test": (1, 2)}


def test_hub_images_outside_the_rows(six: Six, write_images: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    root = write_images("snapshot/{split}/{name}") / "snapshot"
    rows = {
        "image": [f"{root}/{one.split}/{one.name}" for one in six],
        "text": [one.captions[0] for one in six],
    }
    part = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    monkeypatch.setattr(datasets, "load_dataset", lambda name: datasets.DatasetDict({"train": part}))
    pairs = Pairs.open("someone/pairs")
    assert pairs.names == [f"{one.split}/{one.name}" for one in six]  # nothing of this machine
    assert [pairs.read_bytes(row) for row in range(6)] == [one.data for one in six]


def test_a_single_saved_dataset(six: Six, write_images: Write) -> None:
    datasets = pytest.importorskip("datasets")
    path = Path(_saved(six, write_images, column=True))
    datasets.load_from_disk(path)["test"].save_to_disk(path.parent / "single")
    assert Pairs.open(path.parent / "single").splits == {"train": (4, 8), "dev": (1, 1), "test": (1, 2)}


def test_a_damaged_saved_folder(six: Six, write_images: Write) -> None:
    path = Path(_saved(six, write_images, column=True))
    for file in path.rglob("*.arrow"):
        file.unlink()
    with pytest.raises(PairJEPAError, match=r"must be a whole folder of datasets\.save_to_disk"):
        Pairs.open(path)


def test_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def fail(name: str) -> None:
        raise ConnectionError(f"Couldn't reach {name!r} on the Hub\nand more")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(PairJEPAError, match=r"no such folder or file here .* hub gave: Couldn't reach"):
        Pairs.open("someone/pairs")


def test_hub_without_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(PairJEPAError, match=r"pip install 'pairjepa\[hub\]'"):
        Pairs.open("someone/pairs")


def test_nothing_there_says_what_is_there_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "readme.md").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PairJEPAError, match=r"photo must|holds photos/") as error:
        Pairs.open("photo")
    assert f"Did you mean {str(tmp_path / 'photos')!r}? {tmp_path} holds photos/." in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(
        PairJEPAError, match=r"nothing in it is known\. .*holds readme\.md\..* for:\n  shapes"
    ):
        Pairs.open("photos")
    with pytest.raises(PairJEPAError, match=r"photos/missing is not\. .*holds readme\.md"):
        Pairs.open("photos/missing")  # not taken for a data set of the hub
    with pytest.raises(PairJEPAError, match="must be pairs of a known kind"):
        Pairs.open("photos/readme.md")
    with pytest.raises(UsageError, match=r"data\.source must name the pairs, got none"):
        open_pairs(DataConfig())


def test_columns_that_are_not_there(six: Six, write_images: Write) -> None:
    path = _table(six, write_images, ".csv")
    with pytest.raises(
        UsageError, match=r"data\.caption_column must be .* got 'captoin'\. Did you mean 'caption'\?"
    ):
        Pairs.open(path, caption_column="captoin")
    _csv(Path(path), [("a.png", "x")], ("Image Path", "Caption"))
    assert Pairs.open(path).names == ["a.png"]
    _csv(Path(path), [("a.png", "x")], ("picture", "caption"))
    with pytest.raises(
        PairJEPAError, match=r"for the image, got the columns picture, caption\. Looked for image,"
    ):
        Pairs.open(path)
    _csv(Path(path), [("a.png", "x")], ("Datei", "Worte"))
    with pytest.raises(PairJEPAError, match=r"with --data\.image-column and --data\.caption-column"):
        Pairs.open(path)
    _csv(Path(path), [("",) * 3000], tuple(map(str, range(3000))))
    with pytest.raises(PairJEPAError, match=r"28, 29, … \(3,000 in all\)\. Looked for"):
        Pairs.open(path)
    _csv(Path(path), [("http://a/b.png", "x")], ("image_urls", "captions"))
    with pytest.raises(PairJEPAError, match="Download images behind addresses first: img2dataset"):
        Pairs.open(path)
    _csv(Path(path), [("http://a/b.png", "x")], ("image", "caption"))
    with pytest.raises(PairJEPAError, match="must hold paths of image files, got addresses"):
        Pairs.open(path)
    with pytest.raises(UsageError, match=r"data\.image_column must be left out for .*Flickr8k"):
        Pairs.open(_flickr8k(six, write_images), image_column="image")


@pytest.mark.parametrize(
    "cell",
    [
        "images\\{stem}.png",
        "{stem}",
        "images/{stem}",
        "./images//{stem}.PNG",
        "IMAGES/{stem}.Png",
        "Images\\{stem}",
    ],
)
def test_images_under_other_names(six: Six, write_images: Write, cell: str) -> None:
    root = write_images("images/{name}")
    if cell.endswith("PNG"):
        for path in (root / "images").iterdir():
            path.rename(path.with_name(unicodedata.normalize("NFD", f"ä{path.stem}.PNG")))
    stem = "ä{}" if cell.endswith("PNG") else "{}"
    rows = [(cell.format(stem=stem.format(one.name[0])), one.captions[0]) for one in six]
    _csv(root / "t.csv", rows, ("image", "caption"))
    pairs = Pairs.open(root / "t.csv")
    assert [pairs.read_bytes(row) for row in range(6)] == [one.data for one in six]


def test_folders_of_another_normal_form_and_numbers(six: Six, write_images: Write) -> None:
    root = write_images("x/{name}")
    (root / "x").rename(root / unicodedata.normalize("NFD", "fünf"))
    for at, one in enumerate(six):
        inside = root / unicodedata.normalize("NFD", "fünf")
        (inside / one.name).rename(inside / f"{at + 1:012d}.png")
    _csv(root / "t.csv", [(f"fünf/{at + 1}", "x") for at in range(6)], ("image", "caption"))
    pairs = Pairs.open(root / "t.csv")
    assert [pairs.read_bytes(row) for row in range(6)] == [one.data for one in six]


def test_names_that_two_files_may_mean(six: Six, write_images: Write) -> None:
    root = write_images("{name}")
    for name, one in (("x.png", six[0]), ("X.png", six[1]), ("01.png", six[2]), ("001.png", six[3])):
        (root / name).write_bytes(one.data)
    _csv(root / "t.csv", [("X.png", "a"), ("X.PNG", "b"), ("1", "c"), ("001", "d")], ("image", "caption"))
    pairs = Pairs.open(root / "t.csv")
    assert [pairs.read_bytes(row) for row in range(2)] == [six[1].data, six[3].data]
    assert pairs.captions.to_pylist() == ["a", "d"]
    assert pairs.problems.counts == {"captions that name no image file (dropped)": 2}


def test_names_below_the_folder_of_the_images(six: Six, write_images: Write) -> None:
    """As of MIMIC-CXR and WikiArt, whose tables hold the names alone."""
    root = write_images("files/{split}/deep/{name}")
    _csv(root / "t.csv", [(one.name[0], "x") for one in six], ("image", "caption"))
    with pytest.raises(PairJEPAError, match=rf"Name their folder: --data\.images {root}\."):
        Pairs.open(root / "t.csv")
    pairs = Pairs.open(root / "t.csv", images=root)
    assert [pairs.read_bytes(row) for row in range(6)] == [one.data for one in six]
    (root / "files" / "a.png").write_bytes(six[1].data)
    assert Pairs.open(root / "t.csv", images=root).n_images == 5, "which a.png is meant, nobody knows"


def test_a_table_elsewhere(six: Six, write_images: Write, tmp_path: Path) -> None:
    write_images("photos/{split}/{name}")
    (tmp_path / "tables").mkdir()
    for number, prefix in enumerate(("", "photos/", "C:\\data\\photos\\", "/home/me/photos/")):
        path = tmp_path / "tables" / f"{number}.csv"
        _csv(
            path, [(f"{prefix}{one.split}/{one.name}", one.captions[0]) for one in six], ("image", "caption")
        )
        with pytest.raises(PairJEPAError, match=r"Name their folder: --data\.images"):
            Pairs.open(path)
        pairs = Pairs.open(path, images=tmp_path / "photos")
        assert [pairs.read_bytes(row) for row in range(6)] == [one.data for one in six]
    config = DataConfig(source=str(path), images=str(tmp_path / "photos"))
    assert open_pairs(config).n_images == 6
    with pytest.raises(UsageError, match=r"data\.images must be a folder that is there, got .*nowhere"):
        Pairs.open(path, images=tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"data\.images must be left out for shapes"):
        Pairs.open("shapes:4", images=tmp_path / "photos")


def test_columns_of_a_wrong_type(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": ["a"], "caption": [1.5]}), tmp_path / "t.parquet")
    with pytest.raises(PairJEPAError, match=r"Column 'caption' of .* must hold text, got double"):
        Pairs.open(tmp_path)


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    for name, content, match in (
        ("t.parquet", b"no parquet", "must be a PARQUET table, but cannot be read"),
        ("t.csv", b"", "must hold at least one row, got none"),
        ("t.csv", b"image,caption\n", "must hold at least one row, got none"),
        ("t.csv", b"image,image,caption\na,b,c\n", "must have different names, got 'image' twice"),
        ("t.csv", b"image^caption\na^b\n", "Cells stand apart by commas, semicolons, tabs or"),
        (
            "t.jsonl",
            b"no\njson\n",
            "must hold one JSON object a line, got 2 lines of another kind.* is a .json file",
        ),
        ("t.json", b"{}", "must hold a list of pairs"),
        ("t.json", b'{"images": [1], "sentences": 2}', "must have Karpathy's form"),
        (
            "t.json",
            b'{"images": [], "annotations": [{"image_id": 1}]}',
            "must have COCO's form .* lacks 'caption'",
        ),
        ("t.json", b"{", "is not valid JSON"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(PairJEPAError, match=match):
            Pairs.open(tmp_path / name)


def test_two_tables_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    (tmp_path / "b.csv").touch()
    with pytest.raises(
        PairJEPAError, match=r"must hold one table, or one for each split, got a\.csv, b\.csv"
    ):
        Pairs.open(tmp_path)
