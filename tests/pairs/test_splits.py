"""Splits are by image, stable, and keep their shares when there are fewer pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairjepa.pairs import Pairs
from pairjepa.pairs.splits import complete, from_folders, subsample, unit_hash
from pairjepa.util.errors import UsageError

NAMES = [f"{n}.jpg" for n in range(2000)]


def test_the_hash_is_the_same_on_every_machine() -> None:
    # Figures written down once: a change of the hash would move images from train to test.
    assert unit_hash(["a.jpg", "ä/b.png"]).tolist() == [0.9932851797039555, 0.26885228353323143]
    assert unit_hash(["a.jpg"], salt="x")[0] != unit_hash(["a.jpg"])[0]


def test_the_hash_is_even_and_of_each_name_alone() -> None:
    splits, drawn = complete(NAMES, None)
    assert drawn == ("train", "dev", "test")
    shares = {split: (splits == split).mean() for split in ("train", "dev", "test")}
    assert shares == pytest.approx({"train": 0.8, "dev": 0.1, "test": 0.1}, abs=0.03)
    alone = [complete([name], None)[0][0] for name in NAMES[:50]]
    assert alone == splits[:50].tolist()


def test_what_is_missing_comes_out_of_train_only() -> None:
    given_splits = np.array(["train"] * 1500 + ["test"] * 500, dtype=object)
    splits, drawn = complete(NAMES, given_splits)
    assert drawn == ("train", "dev")
    assert (splits[1500:] == "test").all()
    assert (splits[:1500] == "test").sum() == 0
    assert (splits[:1500] == "dev").mean() == pytest.approx(0.1, abs=0.03)
    only_test = np.array(["test"] * 2000, dtype=object)
    assert (complete(NAMES, only_test)[0] == "test").all()


def test_folders() -> None:
    assert from_folders(["train/a", "Val/b/c", "test/d"]) == ["train", "dev", "test"]
    assert from_folders(["train/a", "cats/b"]) is None
    assert from_folders(["train/a", "b"]) is None
    assert from_folders([]) is None


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 700), st.integers(0, 3), st.randoms(use_true_random=False))
def test_subsample(pairs: int, seed: int, random: np.random.Generator) -> None:
    captions = np.array([random.randint(1, 5) for _ in range(200)])
    splits = np.array(
        [random.choice(["train", "train", "train", "dev", "test", "rest"]) for _ in range(200)], object
    )
    names = NAMES[:200]
    keep = subsample(names, splits, captions, pairs, seed)
    used = splits != "rest"
    total = captions[used].sum()
    if pairs >= total:
        assert keep.all()
        return
    assert not keep[~used].any()
    for split in ("train", "dev", "test"):
        inside = splits == split
        if inside.any():
            quota = pairs * captions[inside].sum() / total
            kept = captions[inside & keep].sum()
            assert (inside & keep).any()
            assert abs(kept - quota) <= 5  # within one image, or the one image at least
    more = subsample(names, splits, captions, pairs + 60, seed)
    assert not (keep & ~more).any()


def test_subsample_depends_on_the_seed_and_not_on_the_order() -> None:
    splits, captions = np.array(["train"] * 200, dtype=object), np.full(200, 5)
    one = subsample(NAMES[:200], splits, captions, 100, 0)
    assert one.sum() == 20
    assert (one != subsample(NAMES[:200], splits, captions, 100, 1)).any()
    assert (one == subsample(NAMES[:200][::-1], splits, captions, 100, 0)[::-1]).all()


def test_pairs_keep_all_captions_of_a_chosen_image() -> None:
    few = Pairs.open("shapes:100", pairs=60)
    assert few.splits == {"train": (10, 50), "dev": (1, 5), "test": (1, 5)}
    assert set(few.captions_per_image) == {5}
    assert "12 chosen with seed 0" in few.description
    assert Pairs.open("shapes:100", pairs=10_000).n_images == 100
    with pytest.raises(UsageError, match=r"data\.pairs must be at least 1, got 0"):
        Pairs.open("shapes:100", pairs=0)


def test_captions_of_a_split_are_those_of_its_pairs() -> None:
    pairs = Pairs.open("shapes:40")
    for split in pairs.splits:
        assert pairs.captions_of(split).to_pylist() == pairs.split(split).captions.to_pylist()


def test_to_take_all_images_copies_nothing() -> None:
    """A table may hold photographs, of the size of the memory."""
    pairs = Pairs.open("shapes:10")
    assert pairs.take(np.arange(10)) is pairs
    backwards = pairs.take(np.arange(10)[::-1])
    assert backwards.names == pairs.names[::-1]
