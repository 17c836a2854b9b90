"""Which tokens of a caption the context does not see. A new way is a function here under `@masking`."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from pairjepa.config.registered import registrar
from pairjepa.config.settings import MaskKind
from pairjepa.util.files import digest

# English words that carry no content of their own; `content` never hides them.
FUNCTION_WORDS = frozenset(
    """
    a about above across after against along also among an and another are around as at away be been before
    behind being below beneath beside between both but by can down each for from had has have he her hers
    him his how i if in inside into is it its itself like many more most near next no not of off on one onto
    or other others out over own she so some such than that the their them then there these they this those
    through to together toward towards under up upon very was we were what when where which while who whose
    will with within without you your
    """.split()  # noqa: SIM905
)
SPAN_STOP = 0.2  # a span ends after each token with this chance: 5 tokens on average, cut at 10
SPAN_LONGEST = 10


@dataclass(frozen=True)
class Tokens:
    """A tokenised caption."""

    ids: list[int]
    words: list[int | None]
    """For each token the number of its word; None for special tokens."""
    content: list[bool]
    """For each token whether its word carries content."""
    spans: list[tuple[int, int]]
    """For each token where it stands in the caption: first character, and the one behind the last."""

    @property
    def open(self) -> list[int]:
        """Positions that may be hidden."""
        return [position for position, word in enumerate(self.words) if word is not None]


WAYS: dict[str, Callable[[Tokens, float, random.Random], set[int]]] = {}
"""Kind → the positions that a mask of a ratio hides."""
masking = registrar(WAYS)


def count_of(ratio: float, total: int) -> int:
    """How many of `total` a ratio hides: rounded, but one at least if the ratio is not 0."""
    return 0 if ratio == 0 or total == 0 else min(total, max(1, round(ratio * total)))


@masking("tokens")
def _tokens(tokens: Tokens, ratio: float, rng: random.Random) -> set[int]:
    open_ = tokens.open
    return set(rng.sample(open_, count_of(ratio, len(open_))))


@masking("spans")
def _spans(tokens: Tokens, ratio: float, rng: random.Random) -> set[int]:
    """Neighbouring tokens; lengths as in SpanBERT (Joshi et al. 2020)."""
    open_ = tokens.open
    wanted, hidden = count_of(ratio, len(open_)), set[int]()
    while len(hidden) < wanted:
        length = 1
        while length < SPAN_LONGEST and rng.random() > SPAN_STOP:
            length += 1
        start = rng.randrange(len(open_))
        hidden |= set(open_[start : start + min(length, wanted - len(hidden))])
    return hidden


@masking("words")
def _words(tokens: Tokens, ratio: float, rng: random.Random) -> set[int]:
    return _whole(tokens, [word for word in dict.fromkeys(tokens.words) if word is not None], ratio, rng)


@masking("content")
def _content(tokens: Tokens, ratio: float, rng: random.Random) -> set[int]:
    words = [w for w, is_content in zip(tokens.words, tokens.content, strict=True) if is_content]
    return _whole(tokens, [word for word in dict.fromkeys(words) if word is not None], ratio, rng)


def _whole(tokens: Tokens, words: list[int], ratio: float, rng: random.Random) -> set[int]:
    chosen = set(rng.sample(words, count_of(ratio, len(words))))
    return {position for position, word in enumerate(tokens.words) if word in chosen}


@dataclass(frozen=True)
class Masking:
    """A way of masking and the range that each mask's ratio is drawn from."""

    kind: MaskKind
    low: float
    high: float
    mask_id: int | None = None
    """What stands in the place of a hidden token; None leaves it out."""

    def hidden(self, tokens: Tokens, key: str) -> set[int]:
        """The positions that the mask `key` hides: the same for the same tokens and key, on every machine."""
        rng = random.Random(int(digest(tokens.ids, self.kind, key), 16))
        return WAYS[self.kind](tokens, rng.uniform(self.low, self.high), rng)

    def masked(self, tokens: Tokens, key: str) -> list[int]:
        """The ids with `mask_id` in the hidden positions, or without these."""
        hidden = self.hidden(tokens, key)
        ids = [self.mask_id if place in hidden else token for place, token in enumerate(tokens.ids)]
        return [token for token in ids if token is not None]
