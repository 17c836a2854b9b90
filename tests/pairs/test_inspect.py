"""The report before a training."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pairjepa.pairs import Pairs
from pairjepa.pairs.inspect import inspect, render
from pairjepa.pairs.scan import scan


@pytest.fixture
def report(write_images: Callable[[str], Path], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def report(content: str, **options: Any) -> dict[str, Any]:
        root = write_images("{name}")
        (root / "g.png").write_bytes((root / "a.png").read_bytes())
        (root / "h.png").write_bytes(b"")
        (root / "t.csv").write_text("image,caption,split\n" + content)
        pairs = Pairs.open(root / "t.csv")
        facts = scan(pairs, tmp_path / "cache")
        good, bad = np.flatnonzero(facts.readable), np.flatnonzero(~facts.readable)
        options["unreadable"] = [(pairs.names[row], facts.error[row]) for row in bad]
        return inspect(pairs.take(good), facts.take(good), **options)

    return report


CONTENT = """a.png,the same,train
a.png,the same,train
b.png,the same,train
b.png,"one, two, three.",train
c.png,shared,train
e.png,shared,dev
f.png,alone,test
g.png,last,test
h.png,unread,train
d.png,,train
"""


def test_images_of_more_than_8_bits_are_said(tmp_path: Path) -> None:
    for number in range(4):
        film = np.random.default_rng(number).normal(1800, 500, (64, 64)).clip(0, 4095).astype(np.uint16)
        Image.fromarray(film).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text(f"chest film {number}")
    pairs = Pairs.open(tmp_path)
    found = inspect(pairs, scan(pairs, tmp_path / "cache"))
    assert found["notes"] == [
        "Images of more than 8 bits: 4; of each, its own range of values becomes 0 to 255: 0 to 4,095 of 0.png, "
        "0 to 4,095 of 1.png, 0 to 4,095 of 2.png and 1 more. Save them as 8 bits to choose another window."
    ]
    assert np.asarray(pairs.image(0)).std() > 20


def test_numbers(report: Callable[..., dict[str, Any]]) -> None:
    found = report(CONTENT, max_tokens=7)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["images"], found["captions"]) == (6, 8)
    assert found["captions_per_image"] == {"min": 1, "mean": round(8 / 6, 3), "max": 2}
    assert found["splits"] == {
        "train": {"images": 3, "captions": 5},
        "dev": {"images": 1, "captions": 1},
        "test": {"images": 2, "captions": 2},
    }
    assert [example["name"] for example in found["examples"]] == ["a.png", "e.png", "g.png"]
    assert found["examples"][0]["captions"] == ["the same", "the same"]
    assert "\n  a.png: the same (and 1 more)\n  e.png: shared\n" in render(found)
    length = found["caption_length"]
    assert length["words"]["max"] == 6
    assert length["tokens"]["max"] == 8
    assert length["tokens_estimated"]
    assert length["share_cut"] == round(1 / 8, 5)
    # "the same" stands twice under a and once under b; "shared" under two images of different splits.
    assert found["identical_captions"] == {
        "overall": {"strings": 2, "captions": 5},
        "splits": {
            "train": {"strings": 1, "captions": 3},
            "dev": {"strings": 0, "captions": 0},
            "test": {"strings": 0, "captions": 0},
        },
    }
    assert found["unreadable_images"] == {
        "count": 1,
        "examples": [{"name": "h.png", "reason": "the file is empty"}],
    }
    assert found["image_size"]["width"]["max"] == 40
    assert found["leaks"]["counts"][1] == {
        "splits": ["train", "test"],
        "same_bytes": 1,
        "near": 0,
        "images": 2,
    }
    assert set(found["problems"]) == {"captions without words (dropped)", "images with no caption (left out)"}


def test_exact_token_lengths(report: Callable[..., dict[str, Any]]) -> None:
    facts = {"lengths": [3, 3, 3, 40, 3, 3, 33, 32], "unknown_share": 0.25, "equal_when_cut": 1}
    found = report(CONTENT, token_facts=facts)
    text = render(found)
    assert "25.0% of the captions' tokens are unknown to the text backbone" in text
    assert "multilingual" in text
    assert "25.0% of the captions are cut at 32 tokens, and 1 of them are then equal to another one." in text
    assert not found["caption_length"]["tokens_estimated"]
    assert found["caption_length"]["share_cut"] == round(2 / 8, 5)
    assert "estimated" not in text


def test_text_names_every_problem_and_what_to_do(report: Callable[..., dict[str, Any]]) -> None:
    text = render(report(CONTENT))
    head, warnings = text.split("\nWarning: ", 1)
    assert "unreadable images     1, left out above" in head
    assert "split dev" in head
    for part in (
        "captions without words (dropped): 1, d.png",
        "unreadable images (left out): 1, h.png (the file is empty)",
        "Of 2 images of test, 1 in train too, byte for byte, and 0 nearly so: g.png = a.png.",
        "take these images out of train",
        "5 of 8 captions stand under other images too",
    ):
        assert part in warnings


def test_a_clean_report_has_no_warning(report: Callable[..., dict[str, Any]]) -> None:
    assert "Warning" not in render(
        report("a.png,one,train\nb.png,two,train\ne.png,three,dev\nf.png,four,test\n")
    )


def test_captions_without_blanks_are_not_one_word(report: Callable[..., dict[str, Any]]) -> None:
    found = report(f"a.png,{'在一个阳光明媚的下午' * 5},train\n")
    assert found["caption_length"]["tokens"]["max"] == 52
    assert found["caption_length"]["share_cut"] == 1.0


def test_the_separator_is_said(write_images: Callable[[str], Path], tmp_path: Path) -> None:
    (write_images("{name}") / "t.csv").write_text("image;caption\na.png;a dog, a cat\nb.png;a cow\n")
    pairs = Pairs.open(tmp_path / "t.csv")
    found = inspect(pairs, scan(pairs, tmp_path / "cache"))
    assert found["notes"] == ["The cells of t.csv are separated by semicolons."]
    assert "\nNote: The cells of t.csv are separated by semicolons." in render(found)


def test_generated_and_empty_splits_are_said(tmp_path: Path) -> None:
    pairs = Pairs.open("shapes:5")
    text = render(inspect(pairs, scan(pairs, tmp_path)))
    assert "generated by the program" in text
    assert "The split dev is empty." in text
