"""Drawn pairs: the same for everyone, true, and not all alike."""

import hashlib
import re

import pytest

from pairjepa.pairs import Pairs
from pairjepa.pairs.sources import shapes
from pairjepa.util.errors import UsageError


def test_the_same_on_every_machine() -> None:
    state = hashlib.blake2b(digest_size=8)
    for index in range(20):
        data, captions = shapes.draw(3, index)
        state.update(data + "\n".join(captions).encode())
    assert state.hexdigest() == "d9efa75161dbbb54"


def test_table() -> None:
    pairs = Pairs.open("shapes:60", seed=7)
    assert pairs.generated
    assert "generated" in pairs.description
    assert pairs.splits == {"train": (48, 240), "dev": (6, 30), "test": (6, 30)}
    assert pairs.image(0).size == (shapes.SIZE, shapes.SIZE)
    assert len({pairs.read_bytes(row) for row in range(60)}) == 60
    more, other = Pairs.open("shapes:70", seed=7), Pairs.open("shapes:60", seed=8)
    assert more.table.slice(0, 60).equals(pairs.table)
    assert other.names[0] != pairs.names[0]
    assert other.read_bytes(0) != pairs.read_bytes(0)


def _named(scene: shapes.Scene) -> dict[str, list[shapes.Thing]]:
    """All phrases that name a thing of the scene, with the things that they fit."""
    named: dict[str, list[shapes.Thing]] = {}
    for thing in scene.things:
        size, colour, shape = thing.size, thing.colour, thing.shape
        for phrase in (f"{size} {colour} {shape}", f"{colour} {shape}", f"{size} {shape}", shape):
            named.setdefault(phrase, []).append(thing)
    return named


@pytest.mark.parametrize("seed", range(3))
def test_captions_are_true(seed: int) -> None:
    """Oracle: every phrase, relation, number, place and background is checked against the scene itself."""
    sizes, colours = "|".join(shapes.SIZES), "|".join(shapes.COLOURS)
    phrase = rf"((?:(?:{sizes}) )?(?:(?:{colours}) )?(?:{'|'.join(shapes.SHAPES)}))"
    relations = rf"{phrase} (?:is )?(above|below|left of|right of) (?:a|the) {phrase}"
    numbers = {"one": 1, "two": 2, "three": 3, "only": 1}
    for index in range(150):
        dice = shapes._Dice(f"{seed}:{index}")
        scene = shapes._scene(dice)
        shapes._picture(scene, dice)
        captions = shapes._captions(scene, dice)
        assert shapes.draw(seed, index)[1] == captions
        assert len(set(captions)) == 5
        named = _named(scene)
        for caption in captions:
            found = re.findall(phrase, caption)
            assert set(found) <= set(named), caption
            assert all(ground == scene.background for ground in re.findall(r"(\w+) background", caption))
            for word, count in numbers.items():
                if caption.startswith(word):
                    assert count == len(scene.things), caption
            for first, relation, second in re.findall(relations, caption):
                assert any(_holds(a, relation, b) for a in named[first] for b in named[second]), caption
            for place in re.findall(
                r"at the ((?:top|bottom|left|right|centre)(?: (?:left|right))?)", caption
            ):
                (only,) = scene.things
                row, column = ("top", "", "bottom")[only.row], ("left", "", "right")[only.column]
                assert place == (f"{row} {column}".strip() or "centre"), caption


def _holds(a: shapes.Thing, relation: str, b: shapes.Thing) -> bool:
    return {
        "above": a.row < b.row,
        "below": a.row > b.row,
        "left of": a.column < b.column,
        "right of": a.column > b.column,
    }[relation]


def test_shapes_are_drawn_where_and_as_they_are_said() -> None:
    for index in range(60):
        dice = shapes._Dice(f"0:{index}")
        scene = shapes._scene(dice)
        image = shapes._picture(scene, dice).convert("RGB")
        for thing in scene.things:
            seen = image.getpixel((12 + 20 * thing.column, 12 + 20 * thing.row))
            assert max(abs(a - b) for a, b in zip(seen, shapes.COLOURS[thing.colour], strict=True)) <= 10


def test_enough_scenes_and_a_small_vocabulary() -> None:
    pairs = Pairs.open("shapes:500")
    captions = pairs.captions.to_pylist()
    assert len({word for caption in captions for word in caption.split()}) < 60
    assert len({own[0] for own in pairs.table["captions"].to_pylist()}) > 480


@pytest.mark.parametrize("source", ["shapes:", "shapes:0", "shapes:many", "shapes:-3"])
def test_a_number_that_is_none(source: str) -> None:
    if source == "shapes:":
        assert Pairs.open("shapes:").n_images == 2000
        return
    with pytest.raises(UsageError, match=rf"must be shapes or shapes:NUMBER, got '{source}'"):
        Pairs.open(source)
