"""Features on a Ray cluster of two workers: the same files, whatever happens to a worker."""

import os
import pickle
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from pairjepa.backbones.encoders import load_image_backbone, load_text_backbone
from pairjepa.backbones.masking import Masking
from pairjepa.config.settings import ModelConfig
from pairjepa.features import engines, on_ray, ray_cluster, work
from pairjepa.pairs.scan import scan
from pairjepa.pairs.table import Pairs
from pairjepa.util.errors import PairJEPAError

from .conftest import CAPTIONS
from .filled import image_features, masked_text_features, text_features
from .pictures import picture

ray = pytest.importorskip("ray")

VIEWS = ("whole", "whole-mirrored")
IMAGES = 14


@pytest.fixture(scope="module")
def address():
    """A cluster of one machine with two workers."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 2, "include_dashboard": False, "object_store_memory": 80 * 2**20},
        )
        yield cluster.address
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture
def joined(address):
    """Joined before, and left as it is: the workers stay from test to test."""
    if not ray.is_initialized():
        ray.init(address, log_to_driver=False, logging_level="CRITICAL")


@pytest.fixture(scope="module")
def backbone():
    return load_image_backbone(ModelConfig(image="tiny-resnet"), 0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(IMAGES):
        picture(number).save(folder / f"{number:02}.png")
    names = [f"{number:02}.png" for number in range(IMAGES)]
    table = pa.table({"image": [str(folder / name) for name in names], "caption": names})
    pa.parquet.write_table(table, folder / "pairs.parquet")
    pairs = Pairs.open(folder / "pairs.parquet")
    return SimpleNamespace(folder=folder, pairs=pairs, facts=scan(pairs, folder))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A few items fill several shards; the workers, which do not see this, take each as one batch, as here."""
    monkeypatch.setattr(work, "IMAGE_SHARD", 4)
    monkeypatch.setattr(work, "TEXT_SHARD", 2)


@pytest.fixture
def images(backbone, photos):
    """`images(cache, engine, pairs)`: their features."""

    def compute(cache: Path, engine: str = "ray", pairs=photos.pairs) -> np.ndarray:
        table = image_features(backbone, pairs, photos.facts, VIEWS, cache, engine)
        return table.gather(np.arange(len(table)))

    return compute


def files(cache: Path) -> dict[str, bytes]:
    return {str(path.relative_to(cache)): path.read_bytes() for path in cache.rglob("*") if path.is_file()}


class Wrapped:
    """The photographs; a worker is sent what a subclass makes of them."""

    def __init__(self, pairs, flag: Path) -> None:
        self.pairs, self.flag = pairs, flag
        self.n_images, self.names = pairs.n_images, pairs.names

    def take(self, rows):
        return type(self)(self.pairs.take(rows), self.flag)


@pytest.fixture
def sent_by_value(monkeypatch):
    """Workers cannot import the tests."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


class DiesOnce(Wrapped):
    def image(self, row, draft=None):
        if self.names[row].endswith("09.png") and not self.flag.exists():
            self.flag.write_text(str(os.getpid()))
            os._exit(1)
        return self.pairs.image(row, draft)


class Dies(Wrapped):
    def image(self, row, draft=None):
        os._exit(1)


def test_a_cluster_gives_the_files_of_this_machine(backbone, images, address, tmp_path, monkeypatch, capsys):
    """Joined by RAY_ADDRESS, left again, and not asked for what is there."""
    ray.shutdown()
    monkeypatch.setenv("RAY_ADDRESS", address)
    got = images(tmp_path / "ray")
    assert not ray.is_initialized()
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("image features: 14 images in ")
    assert len(said.err.splitlines()) == 1
    np.testing.assert_array_equal(got, images(tmp_path / "here", "torch"))
    assert files(tmp_path / "ray") == files(tmp_path / "here")

    monkeypatch.setattr(on_ray, "computed", None)
    capsys.readouterr()
    for engine in ("ray", "torch", "auto"):
        np.testing.assert_array_equal(images(tmp_path / "ray", engine), got)
    assert "image features" not in capsys.readouterr().err


def test_captions_too(joined, text_folder, tmp_path):
    backbone = load_text_backbone(ModelConfig(text=str(text_folder("bert"))), 0)
    backbone.train()
    for engine in ("ray", "torch"):
        text_features(backbone, CAPTIONS, tmp_path / engine, engine)
        masked_text_features(backbone, CAPTIONS, Masking("words", 0.2, 0.8), 2, tmp_path / engine, engine)
    assert backbone.training
    assert files(tmp_path / "ray") == files(tmp_path / "torch")


def test_an_image_that_is_not_there(joined, backbone, photos, tmp_path):
    """The first shards are kept, and what failed is said as without Ray."""
    gone = photos.pairs.table["path"].to_pylist()
    gone[13] += ".gone"
    place = photos.pairs.table.column_names.index("path")
    pairs = Pairs(photos.pairs.table.set_column(place, "path", pa.array(gone)), "one is gone")
    with pytest.raises(PairJEPAError) as raised:
        image_features(backbone, pairs, photos.facts, VIEWS, tmp_path, "ray")
    assert "13.png must stay what it was when the images were counted" in str(raised.value)
    assert str(raised.value).endswith("must see the photographs where this one does.")
    assert "\n" not in str(raised.value)


def test_a_full_disk_and_called_again(joined, images, tmp_path, monkeypatch):
    """In the middle of writing the second shard."""
    shards = []
    save = np.save

    def full(*args, **options):
        shards.append(args)
        if len(shards) == 2:
            raise OSError(28, "No space left on device")
        save(*args, **options)

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(PairJEPAError, match="cannot be written: No space left on device"):
        images(tmp_path / "ray")
    assert len(list(tmp_path.rglob("*.npy"))) == 1
    images(tmp_path / "ray")
    images(tmp_path / "here", "torch")
    assert files(tmp_path / "ray") == files(tmp_path / "here")


def test_a_part_is_sent_with_its_own_images_and_without_the_backbone(backbone, photos):
    whole = work.ImageWork.of(backbone, photos.pairs, photos.facts, VIEWS)
    data = ray.cloudpickle.dumps(whole.part(work.strings(whole.keys)[12:]))
    assert len(data) < 20_000
    there = pickle.loads(data)
    assert (there.keys == whole.keys[12:]).all()
    assert [Path(name).name for name in there.pairs.names] == ["12.png", "13.png"]


def test_no_more_goes_out_than_there_is_room_for(joined, backbone, photos):
    """Two for each of two cores."""
    whole, taken = work.ImageWork.of(backbone, photos.pairs, photos.facts, VIEWS), []
    keys = work.strings(whole.keys)

    def parts():
        for key in keys:
            taken.append(key)
            yield key, whole.part([key])

    done = on_ray.computed(backbone, parts())
    first, features = next(done)
    assert taken == keys[:4]
    assert features.shape == (1, len(VIEWS), backbone.width)
    assert {first, *(key for key, _ in done)} == set(keys)


def test_other_versions_are_refused_before_any_work(joined, images, tmp_path, monkeypatch):
    monkeypatch.setattr(
        ray_cluster.metadata, "distributions", lambda name: iter([SimpleNamespace(version="0.0.1")])
    )
    with pytest.raises(
        PairJEPAError, match=r"must have pairjepa 0\.0\.1, as this one has, got .* on .*\. Install"
    ):
        images(tmp_path)
    assert not list(tmp_path.rglob("*.npy"))


def test_a_worker_that_dies_costs_no_row(joined, images, photos, sent_by_value, tmp_path, capsys):
    flag = tmp_path / "died"
    got = images(tmp_path / "ray", pairs=DiesOnce(photos.pairs, flag))
    assert capsys.readouterr().out == ""
    assert int(flag.read_text()) != os.getpid()
    np.testing.assert_array_equal(got, images(tmp_path / "here", "torch"))
    assert files(tmp_path / "ray") == files(tmp_path / "here")


def test_a_worker_that_dies_every_time(joined, images, photos, sent_by_value, tmp_path, monkeypatch):
    monkeypatch.setattr(on_ray, "RETRIES", 0)
    with pytest.raises(
        PairJEPAError, match=r"Ray could not compute all of it: The worker died .* run the same command"
    ):
        images(tmp_path, pairs=Dies(photos.pairs, tmp_path))


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("closed", "must be a cluster that can be reached, got 127.0.0.1:.* Start it with"),
        ("head", "must be HOST:PORT .* got 'head'"),
        ("ray://head:10001", "must be HOST:PORT .* got 'ray://head:10001'"),
        ("127.0.0.1:99999", "must be a cluster that can be reached"),
    ],
)
def test_a_cluster_that_cannot_be_reached(images, tmp_path, monkeypatch, address, reason):
    ray.shutdown()
    if address == "closed":
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{unused.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(PairJEPAError, match=f"RAY_ADDRESS {reason}"):
        images(tmp_path)


def test_another_server_is_not_taken_for_a_cluster(images, tmp_path, monkeypatch):
    ray.shutdown()
    monkeypatch.setattr(ray_cluster, "ANSWERED_WITHIN", 0.5)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{other.getsockname()[1]}")
        with pytest.raises(
            PairJEPAError, match="RAY_ADDRESS must be the port of a Ray cluster's head, got 127"
        ):
            images(tmp_path)


def test_ray_must_be_installed(images, tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(PairJEPAError, match=r"'ray', which is not installed.*pairjepa\[ray\]"):
        images(tmp_path)
