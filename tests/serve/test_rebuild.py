"""Many clients while the index is rebuilt: `rebuild.py` for a few seconds, and what it would find."""

from pathlib import Path
from typing import Any

import pytest

from pairjepa.apps.search import Index
from pairjepa.apps.search.build import build
from pairjepa.apps.serve import current

from . import rebuild
from .conftest import serving


@pytest.fixture
def truth(run: Path, tmp_path: Path, without_onnx: None) -> Any:
    return rebuild.prepared(run, "shapes:100", tmp_path)


def test_every_answer_is_right(
    truth: Any, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(current, "LOOK", 0.0)
    index = Index.open(tmp_path / "index")
    index.warm()

    def again(there: bool) -> None:
        rebuild.moved(tmp_path, there)
        build(run, [tmp_path / "photos"], tmp_path / "index")

    with serving(index, index.encoder()) as url:
        result = rebuild.stress(url, truth, again, lambda: 0, clients=8, seconds=4)
    assert result["wrong"] == {}
    assert set(result["statuses"]) <= {"200", "503"}
    assert result["rebuilt"] >= 2
    assert result["requests"] > 20


def test_a_wrong_answer_is_found(truth: Any, tmp_path: Path) -> None:
    index = Index.open(tmp_path / "index")
    hits = index.search(index.encoder().encode_text(truth.words[0])[0], 60)
    right = [{"id": hit.id, "name": hit.name, "score": hit.score} for hit in hits]
    assert truth.wrong(0, right[:20], False) == ""
    steady = [result for result in right if result["name"].startswith("steady/")]
    assert truth.wrong(0, steady[:20], True) == ""
    for answer, alone, said in (
        (right[:19], False, "19 results"),
        ([*right[:19], right[0]], False, "19 different"),
        ([right[0] | {"score": 0.99}, *right[1:20]], False, "a score of another image"),
        ([right[0] | {"name": "x"}, *right[1:20]], False, "a name of another image"),
        (right[19::-1], False, "not the best first"),
        (right[:20], True, "that the condition leaves out"),
        (steady[1:21], True, "one of the best is missing"),
    ):
        assert said in truth.wrong(0, answer, alone)
