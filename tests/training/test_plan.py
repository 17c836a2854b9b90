"""The plan: every image once an epoch, its own captions, reproducible from any step."""

import numpy as np
import pytest

from pairjepa.config import TrainingConfig
from pairjepa.training.plan import Plan

OWNER = np.repeat(np.arange(23), np.arange(23) % 4 + 1)


def plan(**settings):
    return Plan(OWNER, 2, TrainingConfig(**{"epochs": 3, "batch_size": 5, **settings}))


@pytest.mark.parametrize("wanted", [1, 2, 5])
def test_every_image_once_with_its_own_captions(wanted):
    batches = list(plan(captions_per_image=wanted).epoch(1))
    images = np.concatenate([b.images for b in batches])
    captions = np.concatenate([b.captions for b in batches])
    assert np.bincount(images).tolist() == [wanted] * 23
    assert (OWNER[captions] == images).all()
    for image in range(23):
        drawn = captions[images == image]
        assert len(set(drawn)) == min(wanted, image % 4 + 1), "captions repeat only when there are no more"


def test_epochs_differ_and_repeat_exactly():
    first, again, second = (list(plan().epoch(e)) for e in (1, 1, 2))
    for a, b in zip(first, again, strict=True):
        assert (a.images == b.images).all()
        assert (a.captions == b.captions).all()
        assert (a.views == b.views).all()
    assert not all((a.images == b.images).all() for a, b in zip(first, second, strict=True))


def test_all_captions_and_views_come_up():
    many = plan(epochs=60)
    seen = [b for e in range(1, 61) for b in many.epoch(e)]
    assert set(np.concatenate([b.captions for b in seen])) == set(range(len(OWNER)))
    assert set(np.concatenate([b.views for b in seen])) == {0, 1}


def test_no_batch_is_a_leftover():
    sizes = [len(b.images) for b in Plan(np.arange(21), 1, TrainingConfig(batch_size=10)).epoch(1)]
    assert sizes == [7, 7, 7]


def test_rate_rises_then_falls_to_nothing():
    p = plan(epochs=20, warmup=0.1)
    rates = [p.rate(step) for step in range(p.steps)]
    peak = int(np.argmax(rates))
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert 0.95 < max(rates) <= 1
    assert 0 < rates[-1] < 0.01


def test_step_seeds_differ_by_step_and_seed():
    seeds = {plan(seed=s).step_seed(step) for s in (0, 1) for step in range(50)}
    assert len(seeds) == 100
