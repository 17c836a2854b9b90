"""Hard negatives by rule: twins of captions that differ from them in one thing, for captions in English.

A word is replaced by another of its class, drawn by how often the captions hold it; where the word itself is drawn
there is no twin. So each two words stand for each other equally often in both directions, and a model that only
knows which word is common is right in half of the cases. Or two words of a caption change places.

The classes of colours, numbers, relations and sides are lists. Nouns and adjectives are found by where the captions
have them: a noun between a determiner or colour and a preposition, a form of "be" or the end of a phrase; an adjective
between a determiner and three different nouns or more.
"""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterator, Sequence
from itertools import accumulate, combinations, islice
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

MOST = 1_000
"""Twins of a kind that are kept: a 95 % interval of about ± 3 points, and a bounded time for their embedding."""
MOST_CAPTIONS = 20_000
"""Captions that twins are made of: seconds; of more, those of random images."""
MOST_WORDS = 24
"""Of a caption, the words that are looked at: text backbones cut long ones, and cut twins would be alike."""


def _words(line: str) -> tuple[str, ...]:
    return tuple(line.split())


_NUMBERS = _words("two three four five six seven eight nine ten")
_DETERMINERS = {*_NUMBERS, *_words("a an the this that his her their its my our some several many")}
_BOUNDARIES = set(
    _words(
        "on in at with by near behind beside under over above below through across against along around into onto "
        "inside outside from for to towards past between during while as is are was were who which that . ; : ! ?"
    )
)
_SYMMETRIC = set(_words("and or with near beside next to , by"))
"""Between two nouns without adjectives: whichever comes first, the same is meant."""
_NO_NOUNS = _words(
    "one other another each both all it them him her there top bottom left right front back side middle centre center "
    "edge end way"
)
_IRREGULAR_PLURALS = _words("men women children people police feet teeth mice geese")
_COLOURS = _words(
    "red green blue yellow orange purple pink brown black white grey gray cyan tan gold silver beige maroon"
)
_RELATIONS = (
    "in front of|on top of|next to|left of|right of|on|under|over|above|below|behind|beside|near|inside|outside|"
    "across|through|around|between|against|along|past|beneath|underneath"
)
CLASSES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("colour", _COLOURS),
    ("number", _NUMBERS),
    ("relation", tuple(_RELATIONS.split("|"))),
    ("side", ("left", "right")),
    ("side", ("top", "bottom")),
    ("side", ("upper", "lower")),
)
"""Kind and words that can stand for each other; a word belongs to the first match, so "left of" is a relation."""
KINDS = (
    "noun",
    "colour",
    "number",
    "relation",
    "side",
    "nouns exchanged",
    "colours exchanged",
    "adjectives exchanged",
)
_ENTRY = {entry: number for number, (_, words) in enumerate(CLASSES) for entry in words}
_CLOSED = {*_ENTRY, *_DETERMINERS, *_BOUNDARIES, *_SYMMETRIC, *_NO_NOUNS}
_PHRASES = "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in sorted(_ENTRY, key=len, reverse=True))
_TOKEN = re.compile(rf"\b(?:{_PHRASES})(?![\w-])|\w+(?:['’-]\w+)*|[^\w\s]", re.IGNORECASE)


class Twin(NamedTuple):
    """A caption that is wrong in one thing."""

    caption: int
    """Row of the right one."""
    kind: str
    """One of `KINDS`, or what a file says."""
    text: str


def make_twins(
    captions: Sequence[str],
    owner: Int[np.ndarray, " captions"],
    *,
    seed: int = 0,
    most: int = MOST,
    holds: Callable[[int, str], bool] | None = None,
) -> list[Twin]:
    """At most one twin of each kind for each caption.

    Left out is one that reads as any of the captions, or whose new word stands in a caption of the same image.

    Args:
        captions: Of a split.
        owner: For each caption the row of its image.
        seed: Of the draws, each of which depends on its caption's row alone.
        most: Twins of a kind; of more a random choice.
        holds: Whether a text is true of an image, where that is known: such twins are left out.

    Returns:
        Twins in the order of `KINDS`, and of the captions.
    """
    real = {_key(caption) for caption in captions}
    rows = [(row, int(owner[row]), captions[row]) for row in _of_some_images(owner, seed).tolist()]
    rules = _Rules([caption for _, _, caption in rows])
    of_image: defaultdict[int, set[str]] = defaultdict(set)
    for _, image, caption in rows:
        of_image[image].update(word.text for word in rules.words[caption])
    twins: dict[str, list[Twin]] = {kind: [] for kind in KINDS}
    for row, image, caption in rows:
        for kind, text in rules.twins(caption, of_image[image], random.Random(f"{seed}:{row}")):
            if _key(text) not in real and not (holds is not None and holds(image, text)):
                twins[kind].append(Twin(row, kind, text))
    return [twin for kind in KINDS for twin in _some(twins[kind], most, seed)]


class _Word(NamedTuple):
    text: str
    """In lower case."""
    start: int
    end: int


_END = _Word(".", 0, 0)


class _Rules:
    """What the captions' words are, and how often."""

    def __init__(self, captions: Sequence[str]) -> None:
        self.words = {caption: _split(caption) for caption in captions}
        every = Counter(word.text for caption in captions for word in self.words[caption])
        heads: Counter[str] = Counter()
        inner: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for words in map(self.words.__getitem__, captions):
            for before, word, after in zip(words, words[1:], [*words[2:], _END], strict=False):
                if word.text.isalpha() and word.text not in _CLOSED:
                    if after.text in _BOUNDARIES:
                        heads[word.text] += before.text in _DETERMINERS or before.text in _COLOURS
                    elif before.text in _DETERMINERS:
                        inner[word.text][after.text] += 1
        self._nouns = {w: every[w] for w, count in heads.items() if count >= max(2, 0.15 * every[w])}
        self._adjectives = {
            word
            for word, after in inner.items()
            if len(after.keys() & self._nouns.keys()) > 2 and after.total() >= 0.4 * every[word]
        } - self._nouns.keys()
        self._draws = [_draw({word: every[word] for word in entry}) for _, entry in CLASSES]
        self._noun_draws = {
            plural: _draw({word: count for word, count in self._nouns.items() if _plural(word) == plural})
            for plural in (False, True)
        }

    def twins(self, caption: str, of_image: Container[str], dice: random.Random) -> Iterator[tuple[str, str]]:
        """Kind and text of each twin; a position is drawn for each kind, then the word that stands there."""
        words = self.words[caption]
        nouns = [at for at in range(len(words)) if self._is_head(words, at)]
        positions: dict[str, list[int]] = {"noun": nouns}
        for at, word in enumerate(words):
            if word.text in _ENTRY:
                positions.setdefault(CLASSES[_ENTRY[word.text]][0], []).append(at)
        for kind, some in positions.items():
            if some:
                at = some[int(dice.random() * len(some))]
                old = words[at].text
                draw = self._noun_draws[_plural(old)] if kind == "noun" else self._draws[_ENTRY[old]]
                if (new := draw(dice)) not in of_image:
                    yield kind, _replaced(caption, {words[at]: new})
        adjectives = [
            at for at, word in enumerate(words) if word.text in self._adjectives and self._modifies(words, at)
        ]
        exchanged = {
            "nouns exchanged": [
                (a, b)
                for a, b in combinations(nouns, 2)
                if _plural(words[a].text) == _plural(words[b].text) and self._ordered(words, a, b)
            ],
            "colours exchanged": list(combinations(positions.get("colour", []), 2)),
            "adjectives exchanged": list(combinations(adjectives, 2)),
        }
        for kind, pairs in exchanged.items():
            pairs = [(a, b) for a, b in pairs if words[a].text != words[b].text]
            # "black and white dog": both are of one thing
            pairs = [(a, b) for a, b in pairs if kind[0] == "n" or self._has_noun(words[a + 1 : b])]
            if pairs:
                a, b = (words[at] for at in pairs[int(dice.random() * len(pairs))])
                yield kind, _replaced(caption, {a: b.text, b: a.text})

    def _is_head(self, words: list[_Word], at: int) -> bool:
        """A noun that no other noun or adjective follows."""
        after = words[at + 1].text if at + 1 < len(words) else "."
        return words[at].text in self._nouns and after not in self._nouns and after not in self._adjectives

    def _modifies(self, words: list[_Word], at: int) -> bool:
        """Whether a noun follows, behind other adjectives or at once."""
        after = words[at + 1].text if at + 1 < len(words) else "."
        return after in self._nouns or after in self._adjectives or after in _COLOURS

    def _has_noun(self, words: list[_Word]) -> bool:
        return any(word.text in self._nouns for word in words)

    def _ordered(self, words: list[_Word], a: int, b: int) -> bool:
        """Whether the caption means another thing where these two change positions."""
        bare = all(words[at - 1].text in _DETERMINERS for at in (a, b) if at)
        return not bare or any(
            w.text not in _SYMMETRIC and w.text not in _DETERMINERS for w in words[a + 1 : b]
        )


def _draw(counts: dict[str, int]) -> Callable[[random.Random], str]:
    """What draws words by their counts."""
    words = sorted(word for word, count in counts.items() if count)
    ends = list(accumulate(counts[word] for word in words))
    return lambda dice: dice.choices(words, cum_weights=ends)[0]


def _split(caption: str) -> list[_Word]:
    matches = islice(_TOKEN.finditer(caption), MOST_WORDS)
    return [_Word(re.sub(r"\s+", " ", match.group().lower()), *match.span()) for match in matches]


def _plural(word: str) -> bool:
    return word in _IRREGULAR_PLURALS or (word.endswith("s") and not word.endswith("ss"))


def _replaced(caption: str, new: dict[_Word, str]) -> str:
    """The caption with other words at some positions, "a" and "an" before them as they must be."""
    for word in sorted(new, key=lambda word: -word.start):
        text = new[word].capitalize() if caption[word.start].isupper() else new[word]
        before = caption[: word.start]
        if article := re.search(r"\b(a)n?(\s+)$", before, re.IGNORECASE):
            n = "n" if text[0].lower() in "aeiou" else ""
            before = f"{before[: article.start()]}{article[1]}{n}{article[2]}"
        caption = before + text + caption[word.end :]
    return caption


def _key(text: str) -> str:
    """The words of a text: equal where two texts read the same."""
    return " ".join(re.findall(r"\w+", text.lower()))


def _of_some_images(owner: Int[np.ndarray, " captions"], seed: int) -> Int[np.ndarray, " rows"]:
    """Rows of all captions of some images; of all images if there are few captions."""
    order = np.random.default_rng(seed).permutation(int(owner.max(initial=-1)) + 1)
    fits = np.bincount(owner, minlength=len(order))[order].cumsum() <= MOST_CAPTIONS
    return np.flatnonzero(np.isin(owner, order[fits]))


def _some(twins: list[Twin], most: int, seed: int) -> list[Twin]:
    if len(twins) <= most:
        return twins
    return [twins[row] for row in sorted(np.random.default_rng(seed).permutation(len(twins))[:most])]
