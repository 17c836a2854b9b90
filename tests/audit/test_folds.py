"""Folds by image: equal in size, twins together; what counts as a twin and as the same words."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pairjepa.apps.audit.folds import folds_of, same_words, twin_groups, twin_images
from pairjepa.pairs import Pairs
from pairjepa.pairs.scan import scan
from pairjepa.util.errors import UsageError
from pairjepa.util.files import cache_folder


def noise(seed: int) -> Image.Image:
    """A picture that is near to no other."""
    small = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((96, 96), Image.Resampling.BICUBIC)


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


def test_twins_are_copies_and_near_copies(tmp_path: Path) -> None:
    for seed in range(6):
        noise(seed).save(tmp_path / f"{seed}.png")
    (tmp_path / "copy.png").write_bytes((tmp_path / "2.png").read_bytes())
    noise(4).resize((60, 60)).save(tmp_path / "small.jpg", quality=80)
    (tmp_path / "small2.jpg").write_bytes((tmp_path / "small.jpg").read_bytes())
    for path in list(tmp_path.iterdir()):
        path.with_suffix(".txt").write_text(f"caption of {path.stem}\n")
    pairs = Pairs.open(tmp_path)
    row = pairs.names.index
    twins = twin_images(pairs, scan(pairs, cache_folder()))
    expected = [("2.png", "copy.png"), ("4.png", "small.jpg"), ("small.jpg", "small2.jpg")]
    assert {frozenset(pair) for pair in twins.tolist()} == {frozenset(map(row, pair)) for pair in expected}
    groups = twin_groups(twins, pairs.n_images)
    assert groups[row("4.png")] == groups[row("small.jpg")] == groups[row("small2.jpg")]
    assert groups[row("2.png")] == groups[row("copy.png")]
    assert len(set(groups)) == 6


def test_no_twins() -> None:
    assert twin_groups(np.empty((0, 2), np.int64), 3).tolist() == [0, 1, 2]


def test_same_words_whatever_case_and_marks() -> None:
    captions = [["A dog runs .", "a dog, runs"], ["a dog ran", "Ein Hündin", "ein hündin!"]]
    pairs = Pairs.open("shapes:10")
    table = pairs.table.slice(0, 2)
    at = table.column_names.index("captions")
    ids = same_words(replace(pairs, table=table.set_column(at, "captions", pa.array(captions))))
    assert ids[0] == ids[1]
    assert ids[3] == ids[4]
    assert len(set(ids.tolist())) == 3
