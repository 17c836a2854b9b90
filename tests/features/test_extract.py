"""Features of real backbones through the cache: equal to a plain loop, resumed to the bit, forwarded once."""

import multiprocessing
import os
import runpy
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch

from pairjepa.backbones.encoders import load_image_backbone, load_text_backbone
from pairjepa.backbones.masking import Masking
from pairjepa.config.settings import ModelConfig
from pairjepa.features import work
from pairjepa.features.extract import compute, fill
from pairjepa.pairs.images import BadImage
from pairjepa.pairs.scan import scan
from pairjepa.pairs.table import Pairs
from pairjepa.util import lock
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import digest
from pairjepa.util.threads import ahead

from .conftest import CAPTIONS
from .filled import image_features, masked_text_features, text_features
from .pictures import MemoryPairs, picture

WORKER = Path(__file__).with_name("worker.py")
VIEWS = ("whole", "whole-mirrored", "centre")


@pytest.fixture(scope="module")
def image_backbone():
    return load_image_backbone(ModelConfig(image="tiny-resnet"), seed=0)


@pytest.fixture(scope="module")
def text_backbone():
    return load_text_backbone(ModelConfig(text="tiny-bert"), 0, CAPTIONS)


@pytest.fixture
def small(monkeypatch):
    """Shards and batches so small that a handful of items fills several."""
    monkeypatch.setattr(work, "IMAGE_SHARD", 4)
    monkeypatch.setattr(work, "IMAGE_BATCH", 3)
    monkeypatch.setattr(work, "TEXT_SHARD", 3)
    monkeypatch.setattr(work, "TEXT_BATCH", 2)


def all_rows(table):
    return table.gather(np.arange(len(table)))


def snapshot(cache: Path) -> dict[str, bytes]:
    return {str(p.relative_to(cache)): p.read_bytes() for p in cache.rglob("*") if p.is_file()}


def test_image_features_are_those_of_a_plain_loop(image_backbone, small, tmp_path):
    pairs = MemoryPairs(list(range(10)))
    table = image_features(image_backbone, pairs, pairs.facts, VIEWS, tmp_path)
    assert table.shape == (10, 3, image_backbone.width)
    for row, features in enumerate(all_rows(table)):
        for view, got in zip(VIEWS, features, strict=True):
            pixels = torch.from_numpy(image_backbone.prepare(picture(row), view).copy())[None]
            with torch.no_grad():
                expected = image_backbone(image_backbone.normalise(pixels))[0]
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_ctrl_c_loses_no_whole_batch(image_backbone, small, tmp_path, monkeypatch):
    monkeypatch.setattr(work, "IMAGE_SHARD", 40)
    pairs = MemoryPairs(list(range(10)))
    arguments = pairs.facts, VIEWS
    whole = all_rows(image_features(image_backbone, pairs, *arguments, tmp_path / "whole"))
    forward = type(image_backbone).forward
    forwarded = []

    def interrupted(self, pixels):
        if len(forwarded) == 5:
            raise KeyboardInterrupt
        forwarded.append(len(pixels))
        return forward(self, pixels)

    with monkeypatch.context() as patch:
        patch.setattr(type(image_backbone), "forward", interrupted)
        with pytest.raises(KeyboardInterrupt):
            image_features(image_backbone, pairs, *arguments, tmp_path / "cache")
    kept = sum(len(np.load(file)) for file in (tmp_path / "cache").rglob("*.npy"))
    assert kept
    assert kept % work.IMAGE_BATCH == 0
    done = sum(forwarded) // len(VIEWS)
    assert kept > done - work.IMAGE_BATCH
    np.testing.assert_array_equal(
        all_rows(image_features(image_backbone, pairs, *arguments, tmp_path / "cache")), whole
    )


def test_text_features_are_those_of_a_plain_loop(text_backbone, small, tmp_path):
    captions = [*CAPTIONS, "a", "two cats and a very blue bird play in the snow in the snow in the snow"]
    table = text_features(text_backbone, pa.chunked_array([captions[:3], captions[3:]]), tmp_path)
    assert table.shape == (7, text_backbone.width)
    for caption, got in zip(captions, all_rows(table), strict=True):
        with torch.no_grad():
            expected = text_backbone(*text_backbone.collate(text_backbone.tokenize([caption])))[0]
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_equal_items_are_forwarded_once(image_backbone, text_backbone, tmp_path, monkeypatch):
    pairs = MemoryPairs([1, 2, 1, 1])
    rows = all_rows(image_features(image_backbone, pairs, pairs.facts, ("whole",), tmp_path))
    assert sorted(pairs.decoded) == [1, 2]
    np.testing.assert_array_equal(rows[0], rows[2])

    seen: list[str] = []
    tokenize = text_backbone.tokenize
    monkeypatch.setattr(text_backbone, "tokenize", lambda texts: seen.extend(texts) or tokenize(texts))
    rows = all_rows(text_features(text_backbone, CAPTIONS, tmp_path))
    assert sorted(seen) == sorted(set(CAPTIONS))
    np.testing.assert_array_equal(rows[0], rows[3])


def test_a_full_cache_decodes_nothing_and_says_nothing(image_backbone, tmp_path, capsys):
    pairs = MemoryPairs([1, 2, 3])
    first = all_rows(image_features(image_backbone, pairs, pairs.facts, VIEWS, tmp_path))
    pairs.decoded.clear()
    capsys.readouterr()
    again = all_rows(image_features(image_backbone, pairs, pairs.facts, VIEWS, tmp_path))
    assert capsys.readouterr().err == ""
    assert pairs.decoded == []
    np.testing.assert_array_equal(first, again)


def test_only_a_changed_photo_is_computed_again(image_backbone, tmp_path, capsys):
    pairs = MemoryPairs([1, 2, 3])
    before = all_rows(image_features(image_backbone, pairs, pairs.facts, VIEWS, tmp_path))
    changed = MemoryPairs([1, 9, 3, 1])
    after = all_rows(image_features(image_backbone, changed, changed.facts, VIEWS, tmp_path))
    assert changed.decoded == [9]
    assert "image features: 2 of 3 cached; 1 of 4 images are copies\n" in capsys.readouterr().err
    np.testing.assert_array_equal(before[[0, 2]], after[[0, 2]])
    assert not np.allclose(before[1], after[1])


@pytest.mark.parametrize("stop_at", [1, 5, 9])
def test_interrupted_and_called_again_gives_the_same_files(image_backbone, small, tmp_path, stop_at):
    """Ten images in shards of four; the image at `stop_at` ends the first run."""

    class Stopping(MemoryPairs):
        def image(self, row, draft=None):
            if row == stop_at:
                raise KeyboardInterrupt
            return super().image(row)

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    pairs = MemoryPairs(list(range(10)))
    expected = all_rows(image_features(image_backbone, pairs, pairs.facts, VIEWS, whole))
    stopping = Stopping(list(range(10)))
    with pytest.raises(KeyboardInterrupt):
        image_features(image_backbone, stopping, stopping.facts, VIEWS, parts)
    assert len(list(parts.rglob("*.npy"))) == stop_at // 4
    got = all_rows(image_features(image_backbone, pairs, pairs.facts, VIEWS, parts))
    np.testing.assert_array_equal(got, expected)
    assert snapshot(parts) == snapshot(whole)


def test_text_goes_on_with_the_same_files(text_backbone, small, tmp_path):
    captions = [
        f"{a} {b} {'very ' * i}dog" for i, a in enumerate("ab") for b in ("red", "blue", "snow", "cat")
    ]
    text_features(text_backbone, captions, tmp_path / "whole")
    text_features(text_backbone, captions[:3], tmp_path / "parts")  # the first shard
    text_features(text_backbone, captions, tmp_path / "parts")
    assert snapshot(tmp_path / "parts") == snapshot(tmp_path / "whole")


@pytest.fixture
def start():
    """`start(cache)`: a process that fills the cache. All come from one server that has imported torch."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pairjepa.features.extract"])

    def run(cache: Path):
        process = context.Process(target=runpy.run_path, args=(str(WORKER), {"CACHE": cache}))
        process.start()
        return process

    return run


def finished_shards(cache: Path) -> dict[str, bytes]:
    """Without what a killed process leaves: a lock file, a temporary folder (the next `scan` removes it)."""
    return {name: data for name, data in snapshot(cache).items() if "/." not in name}


def test_two_processes_and_a_killed_one_leave_what_one_leaves(start, tmp_path):
    """Two at once; one killed (SIGKILL) after its first shards, then called again."""
    alone, together, killed = tmp_path / "alone", tmp_path / "together", tmp_path / "killed"
    victim = start(killed)
    while victim.is_alive() and len(list(killed.glob("features/*/*.json"))) < 3:
        time.sleep(0.002)
    victim.kill()
    victim.join()
    assert 1 <= len(list(killed.rglob("*.npy"))) < 8
    for process in [start(killed), start(together), start(together), start(alone)]:
        process.join(60)
        assert process.exitcode == 0
    assert len(list(alone.rglob("*.npy"))) == 8
    assert finished_shards(together) == finished_shards(alone)
    assert finished_shards(killed) == finished_shards(alone)


@pytest.mark.parametrize(("shard", "stop", "interrupted"), [(4, 3, False), (40, 9, False), (40, 9, True)])
def test_two_at_once_forward_each_image_once(
    image_backbone, small, tmp_path, monkeypatch, shard, stop, interrupted
):
    """The first stops at an image of its first shard until the second has done what it can, and waits."""
    monkeypatch.setattr(work, "IMAGE_SHARD", shard)
    pairs = MemoryPairs(list(range(10)))
    alone = all_rows(image_features(image_backbone, pairs, pairs.facts, VIEWS, tmp_path / "alone"))
    begun, waiting, lines = threading.Event(), threading.Event(), []
    monkeypatch.setattr(lock, "say", lambda line: lines.append(line) or waiting.set())

    class First(MemoryPairs):
        def image(self, row, draft=None):
            if row == stop:
                begun.set()
                assert waiting.wait(60)
                if interrupted:
                    raise KeyboardInterrupt
            return super().image(row)

    class Second(MemoryPairs):
        def image(self, row, draft=None):
            if row == stop:
                waiting.set()  # it does not wait
            return super().image(row)

    first, second = First(list(range(10))), Second(list(range(10)))
    with ThreadPoolExecutor() as pool:
        of_first = pool.submit(image_features, image_backbone, first, first.facts, VIEWS, tmp_path / "both")
        assert begun.wait(60)
        of_second = pool.submit(
            image_features, image_backbone, second, second.facts, VIEWS, tmp_path / "both"
        )
        np.testing.assert_array_equal(all_rows(of_second.result()), alone)
        if interrupted:
            with pytest.raises(KeyboardInterrupt):
                of_first.result()
            assert not set(second.decoded) & set(range(work.IMAGE_BATCH)), "Ctrl-C has kept the first batch"
        else:
            np.testing.assert_array_equal(all_rows(of_first.result()), alone)
            assert sorted(first.decoded + second.decoded) == list(range(10))
            assert set(second.decoded) == set(range(shard, 10))
    [line] = lines
    assert f"image features: waiting for process {os.getpid()} on " in line
    assert not list(tmp_path.rglob("*.lock"))


def test_an_image_that_became_unreadable_is_named(image_backbone, tmp_path):
    pairs = MemoryPairs([1, 2])
    pairs.image = lambda row, draft: (_ for _ in ()).throw(BadImage("is empty"))
    with pytest.raises(PairJEPAError, match=r"Image 1.png must stay what it was .*, but it is empty\. Put"):
        image_features(image_backbone, pairs, pairs.facts, VIEWS, tmp_path)


def test_an_image_that_changes_after_the_scan_is_not_kept_under_its_old_digest(image_backbone, tmp_path):
    folder, cache = tmp_path / "data", tmp_path / "cache"
    folder.mkdir()
    for row in range(3):
        picture(row).save(folder / f"{row}.png")
    (folder / "t.csv").write_text(
        "image,caption,split\n" + "".join(f"{r}.png,words,train\n" for r in range(3))
    )

    def read():
        pairs = Pairs.open(folder / "t.csv")
        facts = scan(pairs, cache)
        return pairs.scanned(facts.digest), facts

    pairs, facts = read()
    before = (folder / "1.png").stat()
    picture(7).save(folder / "1.png")
    os.utime(folder / "1.png", ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(
        PairJEPAError, match=r"Image 1.png must stay what it was .*, but it has changed\. Put it"
    ):
        image_features(image_backbone, pairs, facts, VIEWS, cache)
    assert not list(cache.rglob("*.npy"))
    got = all_rows(image_features(image_backbone, *read(), VIEWS, cache))  # the same command again
    expected = all_rows(image_features(image_backbone, *read(), VIEWS, tmp_path / "fresh"))
    np.testing.assert_array_equal(got, expected)


def test_features_that_are_no_numbers_are_refused(text_folder, tmp_path):
    backbone = load_text_backbone(ModelConfig(text=str(text_folder("bert"))), 0)
    with torch.no_grad():
        next(backbone.parameters()).fill_(float("nan"))
    with pytest.raises(PairJEPAError, match="text backbone gives features that are not finite"):
        text_features(backbone, CAPTIONS, tmp_path)
    assert not list(tmp_path.rglob("*.npy"))


def test_the_mode_of_the_backbone_is_put_back(image_backbone, tmp_path):
    """Batch statistics would make features depend on their neighbours."""
    pairs = MemoryPairs([1, 2])
    expected = all_rows(image_features(image_backbone, pairs, pairs.facts, VIEWS, tmp_path / "a"))
    image_backbone.train()
    try:
        got = all_rows(image_features(image_backbone, pairs, pairs.facts, VIEWS, tmp_path / "b"))
        assert image_backbone.training
    finally:
        image_backbone.eval()
    np.testing.assert_array_equal(got, expected)


def test_arrow_digests_are_understood(image_backbone, tmp_path):
    pairs = MemoryPairs([1, 2])
    facts = SimpleNamespace(
        digest=pa.array([digest(1), digest(2)]),
        width=pa.array([90, 90]),
        height=pa.array([64, 64]),
        values=[None, None],
    )
    image_features(image_backbone, pairs, facts, VIEWS, tmp_path)
    image_features(image_backbone, pairs, pairs.facts, VIEWS, tmp_path)
    assert len(pairs.decoded) == 2


def test_decoding_stays_ahead_but_bounded():
    started: list[int] = []
    results = ahead(lambda i: started.append(i) or i * i, range(50), 3)
    assert next(results) == 0
    time.sleep(0.05)
    assert len(started) <= 3
    assert [0, *results] == [i * i for i in range(50)]


def test_the_key_of_an_image_says_how_it_is_decoded():
    assert work.image_key("d", (90, 64), (48, 48), False) == "d", "as in 0.1"
    assert work.image_key("d", (200, 200), (48, 48), False) == "d/4"
    assert work.image_key("d", (200, 200), (48, 48), True) == "d/4/scaled"
    assert work.image_key("d", (90, 64), (48, 48), True) == "d/scaled", "0.1 had black features of it"


def test_several_processes_compute_a_part_each(image_backbone, small, tmp_path):
    pairs = MemoryPairs(list(range(10)))
    expected = all_rows(image_features(image_backbone, pairs, pairs.facts, VIEWS, tmp_path / "alone"))
    whole = work.ImageWork.of(image_backbone, pairs, pairs.facts, VIEWS)
    parts = []
    for rank in range(2):
        before = len(pairs.decoded)
        compute(whole, tmp_path / "parts", "torch", (rank, 2))
        parts.append(set(pairs.decoded[before:]))
    assert all(parts)
    assert not parts[0] & parts[1]
    before = len(pairs.decoded)
    np.testing.assert_array_equal(all_rows(fill(whole, tmp_path / "parts", "torch")), expected)
    assert len(pairs.decoded) == before


def test_a_batch_that_is_named_has_features_of_its_own(image_backbone, small, tmp_path):
    pairs = MemoryPairs(list(range(10)))
    of = work.ImageWork.of
    usual, named = (of(image_backbone, pairs, pairs.facts, VIEWS, batch) for batch in (None, 2))
    rows = [all_rows(fill(one, tmp_path, "torch")) for one in (usual, named)]
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-5)
    assert len(list((tmp_path / "features").iterdir())) == 2


def test_features_of_the_shapes_are_those_of_earlier_versions(tmp_path):
    """Read off the features that version 0.1 computed: a faster way must not change them."""
    shapes = Pairs.open("shapes:40")
    image = load_image_backbone(ModelConfig(image="tiny-resnet"), 0)
    text = load_text_backbone(ModelConfig(text="tiny-bert"), 0, shapes.captions.to_pylist())
    facts, captions = scan(shapes, tmp_path), shapes.captions
    masking = Masking("words", 0.1, 0.9, text.tokenizer.mask_token_id)
    of_images = all_rows(image_features(image, shapes, facts, VIEWS, tmp_path, "auto"))
    of_texts = all_rows(text_features(text, captions, tmp_path, "auto"))
    of_masked = all_rows(masked_text_features(text, captions, masking, 2, tmp_path, "auto"))
    for features, first, deviation in (
        (of_images, [0.01881997, 0.02354916, 0.03217585, 0.0424582, 0.06022717], 0.22430737),
        (of_texts, [-0.85716808, -0.39167514, 0.28419125, -0.46470568, -0.56282341], 0.59678167),
        (of_masked, [-0.7699452, 0.06673735, 0.69742143, -0.29858989, -0.33146715], 0.64075159),
    ):
        np.testing.assert_allclose(features[0].ravel()[:5], first, rtol=1e-3, atol=1e-5)
        assert features.std(dtype=np.float64) == pytest.approx(deviation, rel=1e-4)
