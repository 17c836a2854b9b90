"""The study of swapped captions: what is swapped, and how finding them is measured."""

import sys
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score

from pairjepa.pairs import Pairs

STUDIES = str(Path(__file__).parent.parent.parent / "studies")
sys.path.insert(0, STUDIES)
import audit_swapped as study  # noqa: E402

sys.path.remove(STUDIES)


def test_a_share_of_the_captions_goes_to_other_images() -> None:
    pairs = Pairs.open("shapes:100")
    changed, wrong = study.swapped(pairs, 0.1, seed=3)
    before, after = (np.array(one.captions.to_pylist(), dtype=object) for one in (pairs, changed))
    assert wrong.sum() == round(0.1 * len(pairs))
    assert (before[~wrong] == after[~wrong]).all()
    assert sorted(before[wrong]) == sorted(after[wrong])
    assert changed.captions_per_image.tolist() == pairs.captions_per_image.tolist()
    # Where a caption stands now is not where a caption of the same words stood before.
    owners = {(caption, owner) for caption, owner in zip(before, pairs.owner, strict=True)}
    moved = [(after[row], pairs.owner[row]) in owners for row in np.flatnonzero(wrong)]
    assert np.mean(moved) < 0.1  # some words stand under several images
    assert not np.array_equal(wrong, study.swapped(pairs, 0.1, seed=4)[1])


def test_measures_against_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    wrong = rng.random(400) < 0.1
    suspicion = rng.normal(size=400) + 2 * wrong
    found = study.measured(suspicion, wrong)
    assert np.isclose(found["average_precision"], 100 * average_precision_score(wrong, suspicion))
    first = np.argsort(-suspicion)[:20]
    assert np.isclose(found["precision"]["5.0%"], 100 * wrong[first].mean())
    assert np.isclose(found["recall"]["5.0%"], 100 * wrong[first].sum() / wrong.sum())
