"""Rows that cannot be used are counted, named and skipped; if nothing is left, that is an error."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pairjepa.pairs import Pairs
from pairjepa.util.errors import PairJEPAError

Write = Callable[[str], Path]


def _open(root: Path, content: bytes, **options: Any) -> Pairs:
    (root / "t.csv").write_bytes(content)
    return Pairs.open(root / "t.csv", **options)


def test_byte_order_mark_and_crlf(write_images: Write) -> None:
    pairs = _open(
        write_images("{name}"), b"\xef\xbb\xbfimage,caption\r\na.png, a dog \r\nb.png,\xef\xbb\xbfa cat\r\n"
    )
    assert pairs.captions.to_pylist() == ["a dog", "a cat"]
    assert not pairs.problems.counts


def test_line_breaks_within_a_caption(write_images: Write) -> None:
    assert _open(write_images("{name}"), b'image,caption\na.png,"a\r\ndog"\n').captions.to_pylist() == [
        "a dog"
    ]


@pytest.mark.parametrize(
    "lines",
    [
        ['a.png,"a tall ladder', "b.png,a dog", "c.png,a cat", "d.png,a cow"],
        ['a.png,"a tall ladder', "b.png,a dog", 'c.png,"a big, red cat"', "d.png,a cow"],
        ['a.png,"a tall ladder', 'b.png,a ladder of 5"', "c.png,a cat", 'd.png,"a cow'],
        [
            'a.png,"Stop" says the sign',
            "b.png,a dog",
            'c.png,"a dog, brown\nand a cat, white"',
            'd.png,"a 5"" cow',
        ],
    ],
    ids=["to the end", "to the next cell", "to an end of a line", "beside line breaks"],
)
def test_an_unpaired_quote_takes_no_rows(write_images: Write, lines: list[str]) -> None:
    content = "\n".join(["image,caption", *lines, "e.png,a car", "f.png,a bus", ""])
    pairs = _open(write_images("{name}"), content.encode())
    assert pairs.names == [f"{letter}.png" for letter in "abcdef"]
    got = pairs.captions.to_pylist()
    assert got[0] == lines[0][6:]
    assert got[2] in ("a cat", "a big, red cat", "a dog, brown and a cat, white")
    found = pairs.problems.to_dict()["rows with an unpaired quote (read as text)"]
    assert found["examples"][0] == "t.csv line 2"


def test_quotes_in_a_tsv_are_text(write_images: Write) -> None:
    root = write_images("{name}")
    cells = ['"a tall ladder', '"Stop" says the sign', '"a ""big"" dog"', 'a 5" record', '"', '""']
    rows = [f"{letter}.png\t{cell}" for letter, cell in zip("abcdef", cells, strict=True)]
    (root / "t.tsv").write_text("\n".join(["image\tcaption", *rows]))
    assert Pairs.open(root / "t.tsv").captions.to_pylist() == [*cells[:2], 'a "big" dog', cells[3], '"']


@pytest.mark.parametrize(
    ("content", "captions"),
    [
        ("image,caption\na.png,a dog,\nb.png,,\nc.png,a cat,\n", ["a dog", "a cat"]),
        ("image,caption,,,\na.png,a dog,,,\n,,,,\n", ["a dog"]),
        ("sep=;\nimage;caption\na.png;a dog, a cat\n", ["a dog, a cat"]),
        ('image, caption\na.png, "a dog, ""Rex"""\nb.png, a cat\n', ['a dog, "Rex"', "a cat"]),
        ('image,caption\na.png,"a \\"big\\", red dog"\nb.png,a 5\\" cat\n', ['a "big", red dog', 'a 5\\" cat']),
        ('image,caption,to\na.png,"a dog, red","C:\\dir\\"\n', ["a dog, red"]),
        ("image,caption\na.png,nan\nb.png,a nan\nc.png,None\nd.png,null\ne.png,NULL\nf.png,<NA>\n", ["a nan"]),
    ],
    ids=["delimiter at the end", "a spreadsheet's empty columns", "Excel's first line", "blanks before quotes",
         "backslashes", "backslash at the end", "missing"],
)  # fmt: skip
def test_what_others_write_into_csv(write_images: Write, content: str, captions: list[str]) -> None:
    assert _open(write_images("{name}"), content.encode()).captions.to_pylist() == captions


def test_lines_that_are_not_utf8(write_images: Write) -> None:
    pairs = _open(write_images("{name}"), b"image,caption\na.png,caf\xe9\na.png,tea\nb.png,\xff\n")
    assert pairs.captions.to_pylist() == ["tea"]
    assert pairs.problems.to_dict() == {
        "lines that are not UTF-8 (dropped)": {"count": 2, "examples": ["t.csv line 2", "t.csv line 4"]},
        "images with no caption (left out)": {"count": 1, "examples": ["b.png"]},
    }


def test_a_file_that_is_not_utf8_as_a_whole(write_images: Write) -> None:
    root = write_images("{name}")
    latin = "image,caption\n" + "a.png,ein Mädchen\n" * 20
    with pytest.raises(
        PairJEPAError, match=r"must be UTF-8, but 20 of its 22 lines are not, the first in line 2"
    ):
        _open(root, latin.encode("latin-1"))
    with pytest.raises(PairJEPAError, match=r"t\.csv must be UTF-8, got UTF-16\. Save it as UTF-8"):
        _open(root, latin.encode("utf-16"))


def test_a_replacement_character_that_was_there_is_kept(write_images: Write) -> None:
    assert len(_open(write_images("{name}"), "image,caption\na.png,caf\ufffd\n".encode())) == 1


def test_empty_captions_missing_images_and_broken_rows(write_images: Write) -> None:
    content = b"image,caption\na.png,x\na.png,\na.png,  \nb.png,\nnone.png,y\nnone.png,z\n,w\nc.png,one,two\nd.png,v\n"
    pairs = _open(write_images("{name}"), content)
    assert pairs.names == ["a.png", "d.png"]
    assert pairs.captions.to_pylist() == ["x", "v"]
    assert pairs.problems.to_dict() == {
        "rows with another number of cells than the header (skipped)": {
            "count": 1,
            "examples": ["t.csv: c.png,one,two"],
        },
        "rows that name no image (skipped)": {"count": 1, "examples": ["row 7"]},
        "captions without words (dropped)": {"count": 3, "examples": ["a.png", "a.png", "b.png"]},
        "captions that name no image file (dropped)": {"count": 2, "examples": ["none.png"]},
        "images with no caption (left out)": {"count": 1, "examples": ["b.png"]},
    }


def test_nothing_is_left(write_images: Write) -> None:
    root = write_images("{name}")
    with pytest.raises(
        PairJEPAError,
        match=r"image with a caption, got none\. There are captions without words \(dropped\): 1",
    ):
        _open(root, b"image,caption\na.png,\n")
    with pytest.raises(
        PairJEPAError, match=r"none of its 2 is\. Looked for 'x\.png' in .*holds a\.png, b\.png"
    ):
        _open(root, b"image,caption\nx.png,a\ny.png,b\n")
    (root / "my photos").mkdir()
    (root / "a.png").rename(root / "my photos" / "x.png")
    with pytest.raises(PairJEPAError, match=r"Name their folder: --data\.images '.*/my photos'\."):
        _open(root, b"image,caption\nx.png,a\n")
    with pytest.raises(PairJEPAError, match="must name at least one image, got none"):
        _open(root, b"image,caption\n,a\n")


def test_paths_outside_and_absolute(write_images: Write) -> None:
    root = write_images("photos/{name}")
    (root / "tables").mkdir()
    content = f"image,caption\n../photos/a.png,a\n{root}/photos/b.png,b\n"
    pairs = _open(root / "tables", content.encode())
    assert pairs.n_images == 2
    assert pairs.image(1).size == (40, 30)


def test_an_image_in_two_splits_stays_in_the_first(write_images: Write) -> None:
    content = b"image,caption,split\na.png,x,train\na.png,y,test\nb.png,z,test\nc.png,z,\nd.png,v,dev\n"
    pairs = _open(write_images("{name}"), content)
    assert pairs.splits == {"train": (1, 2), "dev": (1, 1), "test": (1, 1), "rest": (1, 1)}
    assert pairs.problems.to_dict() == {
        "images whose rows stand in several splits (kept in the first)": {"count": 1, "examples": ["a.png"]},
        "images without a split (not used)": {"count": 1, "examples": ["c.png"]},
    }


def test_an_unknown_split(write_images: Write) -> None:
    with pytest.raises(PairJEPAError, match=r"must be one of train, training, dev, .* got 'fold1'"):
        _open(write_images("{name}"), b"image,caption,split\na.png,x,fold1\n")


def test_one_single_pair_and_an_empty_split(write_images: Write) -> None:
    pairs = _open(write_images("{name}"), b"image,caption\na.png,x\n")
    assert len(pairs) == pairs.n_images == 1
    (only,) = pairs.splits
    other = next(split for split in ("train", "dev", "test") if split != only)
    with pytest.raises(
        PairJEPAError, match=rf"split '{other}' must hold at least one image.*{only} \(1 image\).*--data"
    ):
        pairs.split(other)
    with pytest.raises(PairJEPAError, match=r"Unknown split 'tst'\. Did you mean 'test'"):
        pairs.split("tst")


def test_files_without_partner_beside_each_other(tmp_path: Path, write_images: Write) -> None:
    root = write_images("data/{name}") / "data"
    (root / "a.txt").write_bytes(b"a dog\r\n\r\na big dog\r\n")
    (root / "b.txt").write_bytes(b"")
    (root / "notes.txt").write_text("not a caption")
    pairs = Pairs.open(root)
    assert pairs.captions.to_pylist() == ["a dog", "a big dog"]
    found = pairs.problems.to_dict()
    assert found["caption files that name no image (not used)"] == {"count": 1, "examples": ["notes.txt"]}
    assert found["images with no caption (left out)"]["count"] == 5
    assert "a dog" not in str(found)


def test_imagefolder_counts_images_without_metadata(write_images: Write) -> None:
    root = write_images("{name}")
    (root / "metadata.csv").write_text("file_name,text\na.png,x\nb.png,y\n")
    assert Pairs.open(root).problems.counts == {"images with no caption (left out)": 4}
