"""The study of the reference: its flawed protocol against a naive one, its steps, and the page that it writes."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pairjepa.config.recipes import recipe
from pairjepa.config.settings import ContextConfig, ModelConfig, differences
from pairjepa.metrics import recall_at
from pairjepa.model.joint import JointModel

STUDIES = str(Path(__file__).parent.parent / "studies")
sys.path.insert(0, STUDIES)
import reference_protocol  # noqa: E402
import why_masked_fails as study  # noqa: E402

sys.path.remove(STUDIES)

GIVEN = {"data.source": "shapes", "model.image": "tiny-resnet", "model.text": "tiny-bert"}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stem of the files that the command wrote, beside its runs."""
    out = tmp_path_factory.mktemp("study") / "page"
    assert study.main(arguments(out)) == 0
    return out


def arguments(out: Path, *more: str, seeds: int = 1) -> list[str]:
    backbones = ["--model.image", "tiny-resnet", "--model.text", "tiny-bert", "--model.dim", "16"]
    length = ["--training.epochs", "2", "--training.batch-size", "32", "--seeds", str(seeds)]
    return ["shapes:80", *backbones, *length, "--out", str(out), "--work", str(out.parent / "runs"), *more]


def content(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(out.with_suffix(".json").read_text("utf-8"))
    return found


def rows(out: Path, block: str) -> list[list[str]]:
    """The cells of the table in a block of the page, without its titles."""
    page = out.with_suffix(".md").read_text("utf-8")
    found = re.search(rf"<!-- {block} -->\n(.*?)<!-- /{block} -->", page, re.DOTALL)
    assert found is not None
    lines = [line for line in found[1].splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_ladder_of_the_page_is_that_of_the_json(written: Path) -> None:
    steps = content(written)["steps"]
    assert (steps[0]["name"], steps[-1]["name"]) == ("reference", "ours")
    for number, (step, row) in enumerate(zip(steps, rows(written, "ladder"), strict=True)):
        mean, ci = step["test"]["mean"], step["test"]["ci"]
        low, high = ci["rsum"]
        ranks = step["effective_rank"]
        assert row[:3] == [f"{number}: {step['change']}", f"{mean['rsum']:.1f}", f"{low:.1f}–{high:.1f}"]
        assert low <= mean["rsum"] <= high
        for cell, way in ((row[4], "image_to_text"), (row[5], "text_to_image")):
            assert cell == f"{mean[way]['R@1']:.1f} [{ci[way]['R@1'][0]:.1f}–{ci[way]['R@1'][1]:.1f}]"
        assert row[6] == f"{ranks['prediction']:.0f} / {ranks['target']:.0f}"


def test_a_step_s_gain_is_over_the_step_that_it_follows(written: Path) -> None:
    steps = {step["name"]: step for step in content(written)["steps"]}
    assert steps["reference"]["gain"] is None
    for step in steps.values():
        if step["after"] is not None:
            before = steps[step["after"]]["test"]["mean"]["rsum"]
            gain = step["gain"]["rsum"]
            assert gain["difference"] == pytest.approx(step["test"]["mean"]["rsum"] - before)
            assert gain["ci"][0] <= gain["difference"] <= gain["ci"][1]


@pytest.mark.parametrize(
    ("block", "path"), [("protocols", ("masked_protocols",)), ("contrastive", ("contrastive", "protocols"))]
)
def test_the_protocols_of_the_page_are_those_of_the_json(written: Path, block: str, path: list[str]) -> None:
    result: Any = content(written)
    for key in path:
        result = result[key]
    _reported, *shown = rows(written, block)
    for protocol, row in zip(result, shown, strict=True):
        recalls = [protocol["mean"][way] for way in ("image_to_text", "text_to_image")]
        numbers = [f"{one[key]:.1f}" for one in recalls for key in ("R@1", "R@5", "R@10")]
        assert row == [protocol["name"], *numbers, f"{protocol['mean']['rsum']:.1f}"]


def test_the_last_protocol_is_the_true_one(written: Path) -> None:
    result = content(written)
    ours = {one["name"]: one["mean"] for one in result["contrastive"]["protocols"]}
    for measured, true in (
        (result["masked_protocols"][-1]["mean"], result["steps"][0]["test"]["mean"]),
        (ours["true protocol on test: ours"], result["contrastive"]["test"]["mean"]),
    ):
        assert measured["rsum"] == pytest.approx(true["rsum"])
        assert measured["image_to_text"] == pytest.approx(true["image_to_text"])
    assert ours["true protocol on test: a perfect model"]["rsum"] == 600


def test_the_leak_of_the_page_is_that_of_the_json(written: Path) -> None:
    for step, row in zip(content(written)["steps"], rows(written, "seen"), strict=True):
        flawed, true = step["whole_caption"], step["test"]["mean"]
        assert row[1:] == [f"{one['image_to_text']['R@1']:.1f}" for one in (flawed, true)]


def test_the_figure_is_a_picture_and_nothing_names_the_machine(written: Path) -> None:
    assert written.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    page = written.with_suffix(".md").read_text("utf-8")
    assert f"]({written.name}.png)" in page
    assert str(written.parent) not in page + written.with_suffix(".json").read_text("utf-8")


def test_again_it_trains_nothing_and_writes_the_same(
    written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {kind: written.with_suffix(kind).read_bytes() for kind in (".json", ".md", ".png")}
    assert study.main(arguments(written)) == 0
    said = capsys.readouterr().err
    assert said.count("Nothing to do") == len(study.configurations(GIVEN))
    assert "epoch" not in said.replace("best epoch", "")
    assert {kind: written.with_suffix(kind).read_bytes() for kind in before} == before


def test_a_step_changes_what_it_says_and_nothing_else() -> None:
    given = study.SHARED | GIVEN
    configs = study.configurations(given)
    for step in study.STEPS[1:]:
        changed = set(differences(configs[step.after], configs[step.name]))
        assert {".".join(name.split(".")[:2]) for name in changed} == set(step.values)
    heads = differences(configs["info_nce"], configs["ours"])
    assert all("projection" in name or "predictor" in name or "smoothing" in name for name in heads)
    assert configs["ours"] == recipe("masked", given)


@pytest.mark.parametrize("chunk_bytes", [1, 4 * 23 * 5, 1 << 20])
def test_row_ranks_are_those_of_a_naive_loop(chunk_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference_protocol, "CHUNK_BYTES", chunk_bytes)
    queries, gallery = np.random.default_rng(0).standard_normal((2, 23, 4)).astype(np.float32)
    found = reference_protocol.row_ranks(queries, gallery)
    for row in range(23):
        by_query = [float(queries[row] @ item) for item in gallery]
        by_item = [float(query @ gallery[row]) for query in queries]
        assert found.image_to_text[row] == 1 + sum(score > by_query[row] for score in by_query)
        assert found.text_to_image[row] == 1 + sum(score > by_item[row] for score in by_item)


def test_by_row_a_perfect_model_finds_one_of_its_equal_captions() -> None:
    owner = np.repeat(np.arange(600), 5)
    image, text = reference_protocol.perfect(owner, dim=32)
    found = reference_protocol.row_ranks(image[owner], text)
    for ranks in (found.image_to_text, found.text_to_image):
        assert recall_at(ranks, 1) == pytest.approx(20, abs=3)  # 4 standard deviations
        assert recall_at(ranks, 5) == 100


def test_unnormalised_inputs_are_taken_as_they_come_and_the_model_stays() -> None:
    torch.manual_seed(0)
    joint = JointModel(ModelConfig(dim=4), ContextConfig(), 3, 5).eval()
    image = torch.randn(7, 3)
    plain = joint.predict(image)  # not fitted yet: the identity
    joint.image_standardizer.fit(torch.ones(3), torch.full((3,), 2.0))
    normalised = joint.predict(image)
    assert torch.equal(reference_protocol.unnormalised(joint).predict(image), plain)
    assert torch.equal(joint.predict(image), normalised)
    assert not torch.allclose(plain, normalised)


def test_a_mistake_is_one_line_and_costs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "page"
    assert study.main(arguments(out, seeds=0)) == 2
    assert capsys.readouterr().err == "error: --seeds must be at least 1, got 0.\n"
    assert study.main(arguments(out, "--nosuch")) == 2
    assert capsys.readouterr().err.startswith("error: Unknown option: --nosuch")
    assert not list(tmp_path.iterdir())
