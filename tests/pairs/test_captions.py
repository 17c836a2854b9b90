"""Cleaning, identical strings, lengths."""

import pyarrow as pa
import pytest

from pairjepa.pairs.captions import UNDECODABLE, clean, group_ids, word_counts


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        (" a dog .\t", "a dog ."),
        ("\ufeffa dog\r", "a dog"),
        ("a\r\ndog", "a dog"),
        ("\u00a0\u3000", None),
        ("", None),
        (None, None),
        (f"caf{UNDECODABLE}", None),
        ("A  Dog", "A  Dog"),
    ],
)
def test_clean(caption: str | None, expected: str | None) -> None:
    assert clean(pa.array([caption], pa.string())).to_pylist() == [expected]


def test_group_ids_are_equal_exactly_where_the_strings_are() -> None:
    captions = ["a", "b", "a", "A", "a .", "b"]
    assert group_ids(pa.array(captions)).tolist() == [0, 1, 0, 2, 3, 1]
    assert group_ids(pa.chunked_array([captions[:2], captions[2:]])).tolist() == [0, 1, 0, 2, 3, 1]


def test_word_counts() -> None:
    captions = ["a dog runs .", "Mädchen, 3 Jahre", "it's", "一只狗", "a 狗.", "สวัสดี"]
    assert word_counts(pa.array(captions)).tolist() == [4, 4, 3, 3, 3, 2]
