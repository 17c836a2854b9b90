"""An index whose scores are corrected for hubs, against a comparison with all vectors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pairjepa
from pairjepa.apps.search import Index
from pairjepa.apps.search import build as build_module
from pairjepa.apps.search.build import build
from pairjepa.metrics.hubness import HubnessCorrection
from pairjepa.pairs import Pairs
from pairjepa.run.folder import RunFolder
from pairjepa.util.errors import PairJEPAError

from .conftest import SHAPES

pytestmark = pytest.mark.usefixtures("without_onnx")


@pytest.fixture(scope="module")
def embedded(run: Path) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Names, images, captions, and the image of each caption."""
    pairs, embedder = Pairs.open(SHAPES), pairjepa.Embedder.load(run)
    images = embedder.encode_image([pairs.image(row) for row in range(pairs.n_images)])
    return (
        list(pairs.names),
        images,
        embedder.encode_text(pairs.captions.to_pylist()),
        np.asarray(pairs.owner),
    )


@pytest.fixture
def correction(embedded: Any, monkeypatch: pytest.MonkeyPatch) -> HubnessCorrection:
    _, images, captions, _ = embedded
    fitted = HubnessCorrection(images[:40], captions[:60], alpha=0.6, k=5)
    monkeypatch.setattr(build_module.correction, "load", lambda *_: fitted)
    return fitted


@pytest.mark.parametrize("approximate", ["off", "on"])
def test_scores_in_the_measured_directions(
    run: Path, tmp_path: Path, embedded: Any, correction: HubnessCorrection, approximate: Any
) -> None:
    names, images, captions, owner = embedded
    index = build(run, [SHAPES], tmp_path / "out", approximate=approximate)
    query, cosines = captions[7], images @ captions[7]
    penalty = correction.of_image(images)
    assert penalty.std() > 0.01
    for words, expected in ((True, cosines - penalty), (None, cosines - penalty), (False, cosines)):
        hits = index.search(query, 5, by="image", words=words)
        of_name = dict(zip(names, expected, strict=True))
        np.testing.assert_allclose([hit.score for hit in hits], [of_name[h.name] for h in hits], atol=1e-5)
        if approximate == "off":  # else some of the nearest may be missed, by chance
            np.testing.assert_allclose([hit.score for hit in hits], np.sort(expected)[:-6:-1], atol=1e-5)
    scores = captions @ images[3] - correction.of_text(captions)
    (best,) = index.search(images[3], 1, of="captions")
    found = int(np.abs(scores - best.score).argmin())
    assert best.score == pytest.approx(scores[found], abs=1e-5)
    assert best.name == names[owner[found]]
    assert approximate == "on" or found == scores.argmax()

    np.testing.assert_allclose(
        index.matrix(), images[[names.index(_name(index, id)) for id in index.ids]], atol=1e-5
    )
    np.testing.assert_allclose(index.vector(index.ids[0]), index.matrix()[0])


@pytest.mark.parametrize(("usual", "said"), [([0.0, 0.1], False), ([9.0, 0.1], True)])
def test_images_unlike_those_of_the_training_are_said(
    run: Path,
    tmp_path: Path,
    correction: HubnessCorrection,
    usual: list[float],
    said: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    summary = RunFolder(run).summary
    assert summary is not None
    summary["search"]["penalty"] = usual
    monkeypatch.setattr(RunFolder, "summary", summary)
    build(run, ["shapes:20"], tmp_path / "out")
    assert ("unlike those of the training" in capsys.readouterr().err) is said


def _name(index: Index, id: str) -> str:
    item = index.get(id)
    assert item is not None
    return item.name


def test_it_is_brought_up_to_date_with_the_same_correction(
    run: Path, tmp_path: Path, correction: HubnessCorrection, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(run, ["shapes:20"], tmp_path / "out")
    grown = build(run, [SHAPES], tmp_path / "out", only=True)
    fresh = build(run, [SHAPES], tmp_path / "fresh")
    query = fresh.matrix()[0]
    scores = [{hit.name: hit.score for hit in index.search(query, 100)} for index in (grown, fresh)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)
    monkeypatch.setattr(build_module.correction, "load", lambda *_: None)
    with pytest.raises(PairJEPAError, match=r"the run's hubness\.safetensors is gone or of other weights"):
        build(run, [SHAPES], tmp_path / "out")
