"""Which of a caption's twins a step takes as its negative."""

from collections import Counter
from typing import Any

import numpy as np

from pairjepa.pairs.caption_twins import Twin
from pairjepa.training.inputs import CaptionTwins

TWINS = [
    *(Twin(0, "noun", f"noun {n}") for n in range(6)),
    *(Twin(2, "noun", f"noun {n}") for n in range(3)),
    Twin(2, "colour", "colour"),
    Twin(3, "number", "number"),
]
TEXTS: Any = None
DRAWS = 4000


def test_each_caption_gets_a_twin_of_its_own_and_rare_kinds_come_more_often() -> None:
    captions = np.repeat(np.arange(5), DRAWS)
    rows, there = CaptionTwins(TWINS, TEXTS, 5).draw(captions, seed=3)
    assert list(there[::DRAWS]) == [True, False, True, True, False]
    of = [Counter(rows[captions == caption].tolist()) for caption in range(5)]
    assert set(of[0]) == set(range(6))
    assert set(of[2]) == {6, 7, 8, 9}
    assert set(of[3]) == {10}
    assert all(abs(count / DRAWS - 1 / 6) < 0.04 for count in of[0].values()), "alike within a kind"
    # of 9 nouns and one colour each noun weighs a ninth
    assert abs(of[2][9] / DRAWS - 1 / (1 + 3 / 9)) < 0.04


def test_the_draw_is_of_its_seed() -> None:
    twins = CaptionTwins(TWINS, TEXTS, 5)
    captions = np.tile(np.arange(5), 20)
    np.testing.assert_array_equal(twins.draw(captions, 3)[0], twins.draw(captions, 3)[0])
    assert (twins.draw(captions, 3)[0] != twins.draw(captions, 4)[0]).any()
