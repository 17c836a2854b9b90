"""What an index is embedded with: features of the cache, an engine, or the workers of Ray."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import pairjepa
from pairjepa.apps.search import Index, embedding
from pairjepa.apps.search.build import build
from pairjepa.config.recipes import recipe
from pairjepa.features import work
from pairjepa.features.engines import choice
from pairjepa.util.errors import PairJEPAError, UsageError

from . import photos

ANY = np.eye(16, dtype=np.float32)[0]

pytestmark = pytest.mark.usefixtures("without_onnx")


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on frozen backbones, whose features are in the cache."""
    path = tmp_path_factory.mktemp("runs") / "frozen"
    settings = {
        "data.source": "shapes:80",
        "model.image": "tiny-resnet",
        "model.text": "tiny-bert",
        "model.dim": 16,
        "training.epochs": 1,
        "training.batch_size": 32,
    }
    pairjepa.train(recipe("contrastive", settings), None, path)
    return path


def vectors(index: Index) -> dict[str, np.ndarray]:
    found = {hit.name: index.vector(hit.id) for hit in index.search(ANY, 1000)}
    return {name: vector for name, vector in found.items() if vector is not None}


def assert_same(one: Index, other: Index, within: float = 1e-5) -> None:
    right, left = vectors(one), vectors(other)
    assert right.keys() == left.keys()
    for name, vector in right.items():
        np.testing.assert_allclose(vector, left[name], atol=within, err_msg=name)


def test_features_of_the_training_are_taken_from_the_cache(
    frozen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = []
    compute = embedding.compute_shard

    def watched(of: work.Work, *arguments: object) -> np.ndarray:
        computed.append(of.side)
        return compute(of, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(embedding, "compute_shard", watched)
    kept = build(frozen, ["shapes:80"], tmp_path / "kept")
    assert computed == []

    monkeypatch.setattr(embedding, "FEW", 81)
    assert_same(build(frozen, ["shapes:80"], tmp_path / "computed"), kept)
    assert set(computed) == {"image", "text"}

    encoder, pairs = pairjepa.Embedder.load(frozen), pairjepa.Pairs.open("shapes:80")
    own = vectors(kept)
    expected = encoder.encode_image([pairs.image(row) for row in range(pairs.n_images)])
    for name, vector in zip(pairs.names, expected, strict=True):
        np.testing.assert_allclose(own[name], vector, atol=1e-5)


def test_features_of_a_backbone_before_it_was_tuned_are_not_taken(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "stores", None)  # it would be an error to ask
    index = build(run, ["shapes:80"], tmp_path / "out")
    encoder, pairs = pairjepa.Embedder.load(run), pairjepa.Pairs.open("shapes:80")
    expected = encoder.encode_image([pairs.image(row) for row in range(3)])
    np.testing.assert_allclose([vectors(index)[name] for name in pairs.names[:3]], expected, atol=1e-5)


def test_engines(frozen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript")
    folder = tmp_path / "photos"
    photos.write(folder, range(20))
    named = []
    make = choice.ready

    def watched(name: str, *arguments: object) -> object:
        named.append(name)
        return make(name, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(choice, "ready", watched)
    found = build(frozen, [folder], tmp_path / "onnx", engine="onnx")
    assert set(named) == {"onnx"}
    assert_same(found, build(frozen, [folder], tmp_path / "torch", engine="torch"), 1e-3)


def test_an_engine_that_is_none(frozen: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"engine.*'tourch'"):
        build(frozen, ["shapes:80"], tmp_path / "out", engine="tourch")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


class TestRay:
    """On a real cluster of this machine's cores."""

    @pytest.fixture(autouse=True)
    def joined(self) -> object:
        ray = pytest.importorskip("ray")
        ray.init(
            "local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="CRITICAL",
            object_store_memory=80 * 2**20,
        )
        yield ray
        ray.shutdown()

    def test_images_are_read_and_embedded_by_workers(
        self, frozen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = tmp_path / "photos"
        photos.write(folder, range(70))
        shutil.copy(folder / "04.png", folder / "again.png")
        (folder / "broken.png").write_bytes(b"no picture")
        here = build(frozen, [folder], tmp_path / "here", engine="torch")
        capsys.readouterr()
        there = build(frozen, [folder], tmp_path / "there", engine="ray")
        said = capsys.readouterr()
        assert said.out == ""
        assert "1 of 72 images cannot be read, left out:\n  broken.png: " in said.err
        assert len(there) == 70  # a copy is the same picture
        assert_same(here, there)
        assert there.thumbnail(there.search(ANY, 1)[0].id) == here.thumbnail(here.search(ANY, 1)[0].id)

    def test_bytes_of_a_table_go_out_with_the_work(self, run: Path, tmp_path: Path) -> None:
        here = build(run, ["shapes:80"], tmp_path / "here", engine="torch")
        assert_same(here, build(run, ["shapes:80"], tmp_path / "there", engine="ray"))


def test_ray_must_be_installed(frozen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pairjepa.features import engines

    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(PairJEPAError, match=r"'ray', which is not installed.*pairjepa\[ray\]"):
        build(frozen, ["shapes:80"], tmp_path / "out", engine="ray")
