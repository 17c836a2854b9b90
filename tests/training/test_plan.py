"""The plan: every image once an epoch, its own captions, reproducible from any step."""

import hashlib
from collections import Counter

import numpy as np
import pytest

from pairjepa.config.settings import DataConfig, TrainingConfig
from pairjepa.pairs import Pairs
from pairjepa.pairs.shards.convert import convert
from pairjepa.training.plan import SHARDS_AT_ONCE, Plan
from pairjepa.training.processes import Group

OWNER = np.repeat(np.arange(23), np.arange(23) % 4 + 1)


def plan(**settings):
    return Plan(OWNER, 2, TrainingConfig(**{"epochs": 3, "batch_size": 5, **settings}))


@pytest.mark.parametrize("wanted", [1, 2, 5])
def test_every_image_once_with_its_own_captions(wanted):
    batches = list(plan(captions_per_image=wanted).epoch(1))
    images = np.concatenate([b.images for b in batches])
    captions = np.concatenate([b.captions for b in batches])
    assert np.bincount(images).tolist() == [min(wanted, 4)] * 23, "no image has more than four"
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
    rates = [p.lr_multiplier(step) for step in range(p.steps)]
    peak = int(np.argmax(rates))
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert 0.95 < max(rates) <= 1
    assert 0 < rates[-1] < 0.01


def test_step_seeds_differ_by_step_and_seed():
    seeds = {plan(seed=s).step_seed(step) for s in (0, 1) for step in range(50)}
    assert len(seeds) == 100


def test_without_shards_the_order_is_the_one_of_earlier_versions():
    state = hashlib.blake2b(digest_size=8)
    for epoch in (1, 2):
        for b in Plan(OWNER, 2, TrainingConfig(epochs=3, batch_size=5, captions_per_image=2), 3).epoch(epoch):
            for part in (b.images, b.captions, b.views, b.masks):
                state.update(part.astype(np.int64).tobytes())
    assert state.hexdigest() == "ff2f5c25d653f558"


SHARDS = np.repeat(np.arange(12), np.arange(12) % 5 + 4)  # 12 shards of 4 to 8 images


def sharded(**settings):
    config = TrainingConfig(**{"epochs": 3, "batch_size": 9, **settings})
    return Plan(np.arange(len(SHARDS)), 2, config, shards=SHARDS)


def test_shards_are_gone_through_a_few_at_a_time():
    for epoch in (1, 2):
        batches = [b.images for b in sharded().epoch(epoch)]
        order = np.concatenate(batches)
        assert sorted(order) == list(range(len(SHARDS)))
        first, last = (
            [f(np.flatnonzero(SHARDS[order] == shard)) for shard in range(12)] for f in (np.min, np.max)
        )
        for place in range(len(order)):
            begun = sum(a <= place <= b for a, b in zip(first, last, strict=True))
            # where a batch reaches over two groups, both are in use
            assert begun <= 2 * SHARDS_AT_ONCE
        assert sum(a <= len(order) // 2 <= b for a, b in zip(first, last, strict=True)) >= SHARDS_AT_ONCE - 1


def test_shards_and_their_images_are_shuffled():
    epochs = [
        np.concatenate([b.images for b in sharded(seed=seed).epoch(e)])
        for seed, e in ((0, 1), (0, 2), (1, 1))
    ]
    assert len({tuple(order) for order in epochs}) == 3
    assert len({tuple(dict.fromkeys(SHARDS[order])) for order in epochs}) == 3
    again = np.concatenate([b.images for b in sharded().epoch(1)])
    assert (again == epochs[0]).all()
    mixed = [len(set(SHARDS[b.images])) for b in sharded().epoch(1)]
    assert np.mean(mixed) > 2, "a batch is of several shards"


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_no_duplicate_and_no_loss_across_workers(workers, tmp_path):
    convert(DataConfig(source="shapes:60"), str(tmp_path), 7)
    pairs = Pairs.open(tmp_path).split("train")
    everyone = plan_of(pairs)
    for epoch in (1, 2):
        read = Counter()
        for batch in everyone.epoch(epoch):
            for worker in range(workers):
                local = batch.rows(Group(worker, workers).local_rows(len(batch.images)))
                read.update(pairs.read_bytes(int(row)) for row in local.images)
        assert read == Counter(pairs.read_bytes(row) for row in range(pairs.n_images))
        assert sum(read.values()) == pairs.n_images


def plan_of(pairs):
    config = TrainingConfig(epochs=2, batch_size=9)
    return Plan(pairs.owner, 1, config, shards=pairs.shards)


def test_a_batch_lets_each_worker_read_its_own_shards():
    for batch in sharded().epoch(1):
        parts = (batch.rows(Group(worker, 2).local_rows(len(batch.images))) for worker in range(2))
        one, other = (set(SHARDS[part.images]) for part in parts)
        assert len(one & other) <= 1, "only the shard in which the batch is cut is read by both"


def test_an_epoch_over_shards_is_taken_up_in_its_middle():
    whole = [b.images for b in sharded().epoch(2)]
    rest = [
        b.images for at, b in enumerate(sharded().epoch(2)) if at >= 3
    ]  # as the loop does after a checkpoint
    assert all((a == b).all() for a, b in zip(whole[3:], rest, strict=True))
    done, left = np.concatenate(whole[:3]), np.concatenate(rest)
    assert sorted([*done, *left]) == list(range(len(SHARDS)))


def test_captions_are_drawn_by_their_weights():
    owner = np.array([0, 0, 1, 2, 2, 2])
    weights = np.array([0.7, 0.3, 5, 1, 1, 2], np.float32)
    plan = Plan(owner, 1, TrainingConfig(batch_size=3), weights=weights)
    drawn = np.concatenate([batch.captions for epoch in range(3000) for batch in plan.epoch(epoch)])
    assert np.bincount(drawn) / 3000 == pytest.approx([0.7, 0.3, 1, 0.25, 0.25, 0.5], abs=0.05)
