"""Folds by image: equal in size, twins together; what counts as the same words."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from pairjepa.apps.audit.auditing import folds_of, same_words
from pairjepa.pairs import Pairs
from pairjepa.util.errors import UsageError


def test_folds_are_equal_and_keep_groups_together() -> None:
    names = [f"{row}.jpg" for row in range(103)]
    groups = np.arange(103)
    fold_of = folds_of(names, groups, 5)
    assert sorted(np.bincount(fold_of)) == [20, 20, 21, 21, 21]
    assert not np.array_equal(fold_of, np.sort(fold_of))
    groups[[3, 50, 99, 7]] = 3
    fold_of = folds_of(names, np.unique(groups, return_inverse=True)[1], 5)
    assert len(set(fold_of[[3, 50, 99, 7]])) == 1
    assert np.ptp(np.bincount(fold_of)) <= 1


def test_too_few_images_or_folds() -> None:
    with pytest.raises(
        UsageError, match=r"at least 20 readable images for 5 folds, got 19\. .*fewer --folds"
    ):
        folds_of(list(map(str, range(19))), np.arange(19), 5)
    with pytest.raises(UsageError, match=r"got 3\. Give more pairs\.$"):
        folds_of(["a", "b", "c"], np.arange(3), 2)
    with pytest.raises(UsageError, match="folds must be at least 2, got 1"):
        folds_of(["a", "b", "c"], np.arange(3), 1)


def test_same_words_whatever_case_and_marks() -> None:
    captions = [["A dog runs .", "a dog, runs"], ["a dog ran", "Ein Hündin", "ein hündin!"]]
    pairs = Pairs.open("shapes:10")
    table = pairs.table.slice(0, 2)
    at = table.column_names.index("captions")
    ids = same_words(replace(pairs, table=table.set_column(at, "captions", pa.array(captions))))
    assert ids[0] == ids[1]
    assert ids[3] == ids[4]
    assert len(set(ids.tolist())) == 3
