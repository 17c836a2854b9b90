"""Pairs that the program draws itself: coloured shapes and what is true of them, so that all runs offline.

A scene has one to three shapes in different cells of a 3 x 3 grid. Five captions say different things of it, some
of one shape only, so that they are true of other images too, as people's captions are.
"""

import io
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TypeVar

import pyarrow as pa
from PIL import Image, ImageDraw

from pairjepa.config.settings import DataConfig
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RawPairs
from pairjepa.util.errors import UsageError

SIZE = 64
"""Side of an image in pixels."""

COLOURS = {
    "red": (220, 40, 40), "green": (40, 160, 60), "blue": (50, 80, 220), "yellow": (240, 215, 50),
    "orange": (240, 140, 30), "purple": (140, 60, 180), "cyan": (60, 200, 215), "brown": (120, 75, 40),
}  # fmt: skip
BACKGROUNDS = {
    "white": (250, 250, 250),
    "black": (15, 15, 15),
    "grey": (135, 135, 135),
    "pink": (250, 190, 205),
}
SIZES = {"small": 5, "large": 9}
"""Radius in pixels."""
SHAPES: dict[str, tuple[tuple[float, float], ...]] = {
    "circle": (),
    "square": ((-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)),
    "triangle": ((0, -1), (1, 0.85), (-1, 0.85)),
    "diamond": ((0, -1), (0.7, 0), (0, 1), (-0.7, 0)),
    "star": (
        (0, -1), (0.24, -0.32), (0.95, -0.31), (0.38, 0.12), (0.59, 0.81),
        (0, 0.4), (-0.59, 0.81), (-0.38, 0.12), (-0.95, -0.31), (-0.24, -0.32),
    ),
    "cross": (
        (-0.3, -1), (0.3, -1), (0.3, -0.3), (1, -0.3), (1, 0.3), (0.3, 0.3),
        (0.3, 1), (-0.3, 1), (-0.3, 0.3), (-1, 0.3), (-1, -0.3), (-0.3, -0.3),
    ),
}  # fmt: skip
"""Corners on a square of side 2; none is a circle."""
_OPPOSITE = {"above": "below", "below": "above", "left of": "right of", "right of": "left of"}
_MENTION = (
    rf"(?:(?:{'|'.join(SIZES)}) )?(?:(?:{'|'.join([*COLOURS, *BACKGROUNDS])}) )?(?:{'|'.join(SHAPES)})\b"
)
_NUMBERS = ("one shape", "two shapes", "three shapes")
_DEFAULT = 2000

T = TypeVar("T")


@dataclass(frozen=True)
class Thing:
    """One shape of a scene: what it is and in which column and row of the grid (from the top left)."""

    size: str
    colour: str
    shape: str
    column: int
    row: int

    @property
    def words(self) -> str:
        """`large red circle`"""
        return f"{self.size} {self.colour} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """What is to be drawn."""

    background: str
    things: tuple[Thing, ...]


class _Dice:
    """Draws that are the same on every machine and in every version of Python, which promises so for `random()`."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def below(self, limit: int) -> int:
        return int(self._random.random() * limit)

    def choose(self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        rest = list(items)
        return [rest.pop(self.below(len(rest))) for _ in items]


def named(source: str) -> str:
    """The word itself, with or without a number; a folder of that name is `./shapes`."""
    return source if source == "shapes" or source.startswith("shapes:") else ""


def read(source: str, config: DataConfig, problems: Problems) -> RawPairs:
    """Draw the scenes; of ten in a row eight are for training, one is dev, one is test.

    Raises:
        UsageError: what follows `shapes:` is no number of at least 1.
    """
    number = source.partition(":")[2] or str(_DEFAULT)
    if not re.fullmatch(r"[0-9]{1,7}", number) or int(number) < 1:
        raise UsageError(f"data.source must be shapes or shapes:NUMBER, got {source!r}. Try shapes:3000.")
    count = int(number)
    drawn = [draw(config.seed, index) for index in range(count)]
    rows = pa.table(
        {
            "image": pa.array([f"shapes-{config.seed}-{index:06d}" for index in range(count)], pa.string()),
            "bytes": pa.array([data for data, _ in drawn], pa.large_binary()),
            "caption": pa.array([captions for _, captions in drawn], pa.list_(pa.string())),
            "split": pa.array([{8: "dev", 9: "test"}.get(index % 10, "train") for index in range(count)]),
        }
    )
    title = f"generated shapes of {SIZE} x {SIZE} pixels, seed {config.seed}"
    return RawPairs(rows, title, "8 of 10 for training", generated=True)


def draw(seed: int, index: int) -> tuple[bytes, list[str]]:
    """Image `index` of a seed: the bytes of a BMP file and five captions, all of them true.

    BMP is not compressed, so the bytes, and with them every digest, do not depend on a version of zlib.
    """
    dice = _Dice(f"{seed}:{index}")
    scene = _scene(dice)
    picture = io.BytesIO()
    _picture(scene, dice).save(picture, format="BMP")
    return picture.getvalue(), _captions(scene, dice)


def holds(name: str, text: str) -> bool:
    """Whether a text is true of the image of this name; one that speaks otherwise than the captions is not."""
    scene = _scene_of(name)
    grounds = re.findall(r"(on|of) an? (\w+) background", text)
    counts = [_NUMBERS.index(number) + 1 for number in re.findall("|".join(_NUMBERS), text)]
    if "only" in text:
        counts.append(1)
    if len(grounds) != text.count("background") or any(n != len(scene.things) for n in counts):
        return False
    first, *others = re.split(f"({_MENTION})", text)[1:] or [""]
    mentions, between = [first, *others[1::2]], others[::2]
    things = [[t for t in scene.things if set(m.split()) <= set(t.words.split())] for m in mentions]
    return (
        bool(first)
        and all(ground == scene.background for _, ground in grounds)
        and any(all(map(_fits, between, some, [*some[1:], None])) for some in product(*things))
    )


@lru_cache(1000)
def _scene_of(name: str) -> Scene:
    _, seed, index = name.split("-")
    return _scene(_Dice(f"{seed}:{int(index)}"))


def _fits(words: str, thing: Thing, following: Thing | None) -> bool:
    """Whether the words behind a thing are true of it, and of the thing that is named after them."""
    if place := re.match(r" (?:is )?(at the (?:(?:top|bottom|left|right|centre)\b ?)+)", words):
        return place[1].strip() == _place(thing)
    if relation := re.fullmatch(rf" (?:is )?({'|'.join(_OPPOSITE)}) (?:a|an|the) ", words):
        return following is not None and relation[1] in _relations(thing, following)
    return True


def _scene(dice: _Dice) -> Scene:
    count = dice.choose((1, 2, 2, 3, 3))
    cells = dice.shuffled([(column, row) for column in range(3) for row in range(3)])[:count]
    # Different colours, so that "the red circle" is one thing.
    colours = dice.shuffled(list(COLOURS))
    things = tuple(
        Thing(dice.choose(list(SIZES)), colour, dice.choose(list(SHAPES)), column, row)
        for colour, (column, row) in zip(colours, cells, strict=False)
    )
    return Scene(dice.choose(list(BACKGROUNDS)), things)


def _picture(scene: Scene, dice: _Dice) -> Image.Image:
    picture = Image.new("P", (SIZE, SIZE), 0)
    pencil = ImageDraw.Draw(picture)
    palette = list(_shade(BACKGROUNDS[scene.background], dice))
    for index, thing in enumerate(scene.things, 1):
        palette.extend(_shade(COLOURS[thing.colour], dice))
        x, y = (12 + 20 * cell + dice.below(5) - 2 for cell in (thing.column, thing.row))
        radius = SIZES[thing.size] + dice.below(2)
        if corners := SHAPES[thing.shape]:
            pencil.polygon(
                [(round(x + radius * dx), round(y + radius * dy)) for dx, dy in corners], fill=index
            )
        else:
            pencil.ellipse((x - radius, y - radius, x + radius, y + radius), fill=index)
    picture.putpalette(palette)
    return picture


def _shade(colour: tuple[int, int, int], dice: _Dice) -> tuple[int, ...]:
    return tuple(min(255, max(0, channel + dice.below(21) - 10)) for channel in colour)


def _captions(scene: Scene, dice: _Dice) -> list[str]:
    """Five different captions: two rich ones, the others drawn from all that can be said."""
    ground = f"on a {scene.background} background"
    things = dice.shuffled(scene.things)
    number = _NUMBERS[len(things) - 1]
    said = [f"a {thing.words} {ground}" for thing in things]
    said += [f"a picture of a {thing.colour} {thing.shape}" for thing in things]
    said += [f"there is a {thing.size} {thing.shape} {ground}" for thing in things]
    if len(things) == 1:
        (only,) = things
        place = _place(only)
        rich = [
            f"one {only.words} {place} of a {scene.background} background",
            f"a picture with a {only.words} {place}",
        ]
        said += [f"only a {only.colour} {only.shape} {ground}", f"the {only.colour} {only.shape} is {place}"]
    else:
        first, second = things[:2]
        relation = dice.choose(_relations(first, second))
        third = f" and a {things[2].words}" if len(things) == 3 else ""
        rich = [
            f"a {first.words} {relation} a {second.words}{third or f' {ground}'}",
            f"{number} {ground} with a {second.words} {_OPPOSITE[relation]} a {first.colour} {first.shape}",
        ]
        said += [
            f"the {first.shape} is {relation} the {second.colour} {second.shape}",
            f"a {first.colour} {first.shape} and a {second.colour} {second.shape}",
            f"{number} {ground} and one is a {second.colour} {second.shape}",
        ]
    return [*rich, *dice.shuffled(list(dict.fromkeys(said)))[:3]]


def _relations(first: Thing, second: Thing) -> list[str]:
    """The relations of the first to the second that one can see; different cells have at least one."""
    relations = []
    if first.row != second.row:
        relations.append("above" if first.row < second.row else "below")
    if first.column != second.column:
        relations.append("left of" if first.column < second.column else "right of")
    return relations


def _place(thing: Thing) -> str:
    row, column = ("top", "", "bottom")[thing.row], ("left", "", "right")[thing.column]
    return f"at the {f'{row} {column}'.strip() or 'centre'}"
