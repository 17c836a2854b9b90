"""What a report holds, what it says of what is missing, and what it refuses."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pairjepa
from pairjepa.apps.report import collect
from pairjepa.apps.report.verdicts import VERDICTS
from pairjepa.evaluation.illustrations import Illustrations
from pairjepa.metrics.hubness import HubnessCorrection
from pairjepa.model import correction
from pairjepa.util.errors import PairJEPAError, UsageError

from .runs import embeddings, make_run

KEYS = {
    "split", "relevance", "description", "generated", "images", "captions", "names", "texts", "owner",
    "thumbnails", "runs", "notes", "compare",
}  # fmt: skip
RUN_KEYS = {
    "name", "path", "recipe", "seed", "seeds", "complete", "config", "backbones", "versions", "warnings",
    "evaluation", "recall_curve", "cosine", "margin", "training", "geometry", "projection", "examples", "partial",
    "saliency", "weights", "twins",
}  # fmt: skip


def as_json(report: dict[str, Any]) -> dict[str, Any]:
    """Without its pictures a report is JSON, with no NaN in it."""
    bare = report | {"thumbnails": None}
    bare["runs"] = [run | {"saliency": None} for run in report["runs"]]
    return json.loads(json.dumps(bare, allow_nan=False))


def levels(report: dict[str, Any]) -> dict[str, str]:
    return {one["key"]: one["level"] for one in report["runs"][0]["geometry"]["verdicts"]}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    thumbnails = [b"jpeg"] * 38 + [None, None]
    return make_run(tmp_path_factory.mktemp("report") / "run", embeddings(), thumbnails=thumbnails)


@pytest.fixture(scope="module")
def report(run: Path) -> dict[str, Any]:
    return collect([run], projection="pca")


def test_a_report_holds_what_a_page_shows(report: dict[str, Any]) -> None:
    found = embeddings()
    assert set(report) == KEYS
    assert (report["images"], report["captions"]) == (40, len(found.owner))
    assert report["texts"][3] == "<script>alert(1)</script> number 3"
    assert report["owner"] == found.owner.tolist()
    assert report["compare"] is None
    shown = report["runs"][0]
    assert set(shown) == RUN_KEYS
    assert (shown["name"], shown["seeds"], shown["complete"]) == ("run", None, True)
    assert shown["warnings"] == ["mind this"]
    assert shown["saliency"][0]["picture"] == b"jpeg"
    assert shown["partial"][0]["ratio"] == 0.6
    assert report["notes"][:2] == ["run: no map of a", "Images without a thumbnail: 2 of 40."]
    assert set(shown["evaluation"]["notes"]) <= {note.removeprefix("run: ") for note in report["notes"]}
    worst, best = (shown["twins"][name] for name in ("worst", "best"))
    assert [(twin["kind"], twin["margin"]) for twin in worst] == [("noun", -0.5), ("colour", 0.25)]
    assert [(twin["kind"], twin["margin"]) for twin in best] == [("noun", 0.5), ("colour", 0.25)]
    assert worst[0]["image"] == report["owner"][1]
    as_json(report)


def test_it_is_the_same_each_time(run: Path, report: dict[str, Any]) -> None:
    assert collect([run], projection="pca") == report


def test_epochs_stand_in_columns(report: dict[str, Any]) -> None:
    training = report["runs"][0]["training"]
    assert training["epoch"] == [1, 2, 3]
    assert training["dev"]["rsum"] == [101.0, 102.0, 103.0]
    assert training["train"]["rsum"] == [None, 150.0, None]
    assert training["train"].keys() == training["dev"].keys()
    assert training["dev"].keys() >= {
        "image_to_text_R@1", "text_to_image_R@10", "matched", "random", "alignment", "uniformity_prediction",
        "effective_rank_target", "modality_gap", "deviation_target",
    }  # fmt: skip
    assert training["terms"] == {"info_nce": training["loss"]}
    assert (training["best_epoch"], training["possible_rank"]) == (3, 16)


def test_a_seed_group_shows_its_first_seed_and_the_spread(tmp_path: Path) -> None:
    for seed in (1, 0):
        make_run(tmp_path / "group" / f"seed-{seed}", embeddings(seed=seed), seed=seed)
    report = collect([tmp_path / "group"], projection="pca")
    shown = report["runs"][0]
    rsums = [
        json.loads((tmp_path / "group" / f"seed-{seed}" / "evaluation" / "test.json").read_text())["rsum"]
        for seed in (0, 1)
    ]
    assert (shown["name"], shown["seed"], shown["seeds"]["seeds"]) == ("group", 0, [0, 1])
    assert shown["evaluation"]["rsum"] == rsums[0]
    assert shown["seeds"]["mean"]["rsum"] == pytest.approx(np.mean(rsums))
    assert shown["seeds"]["sd"]["rsum"] == pytest.approx(np.std(rsums, ddof=1))
    assert any("group has 2 seeds: what is shown is seed 0" in note for note in report["notes"])


def test_several_runs_are_compared_with_the_first(run: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", embeddings(noise=4.0))
    report = collect([other, run], projection="pca")
    assert [shown["name"] for shown in report["runs"]] == ["other", "run"]
    assert report["compare"]["baseline"] == "other"
    assert report["compare"]["verdict"]["run"].startswith("run is better than other")
    assert report["thumbnails"][0] == b"jpeg"  # of the run that has them
    assert any(note.startswith("other has no pictures to show.") for note in report["notes"])
    as_json(report)
    make_run(tmp_path / "fewer", embeddings(39))
    with pytest.raises(PairJEPAError, match=r"must hold the same images .* got 39 images for 40"):
        collect([run, tmp_path / "fewer"])


def test_what_is_missing_is_named_with_its_remedy(run: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(run, tmp_path / "my run")
    shutil.rmtree(bare / "evaluation")
    with pytest.raises(PairJEPAError, match=r"evaluation/test.json is not there") as raised:
        collect([bare])
    assert str(raised.value).endswith(f"Make it again: pairjepa evaluate '{bare}' --split test.")
    with pytest.raises(PairJEPAError, match=r"has not been evaluated on the dev split. Do it with: pairjepa"):
        collect([run], "dev")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"runs": []}, "report must have at least one run, got none"),
        ({"split": "tset"}, r"Unknown split 'tset'. Did you mean 'test'\?"),
        ({"projection": "tnse"}, r"Unknown projection 'tnse'. Did you mean 'tsne'\?"),
        ({"points": 0}, "points must be at least 1, got 0"),
    ],
)
def test_a_mistake_is_told(run: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        collect(**({"runs": [run]} | arguments))


def test_pictures_of_other_weights_are_left_out(run: Path, tmp_path: Path) -> None:
    old = shutil.copytree(run, tmp_path / "old")
    folder = old / "illustrations" / "test"
    replace(Illustrations.load(folder, 40), run="1").save(folder)
    report = collect([old], projection="pca")
    assert report["thumbnails"] == [None] * 40
    assert report["runs"][0]["saliency"] == []
    assert any("The pictures of old are of other weights" in note for note in report["notes"])


@pytest.mark.parametrize("images", [1, 2, 10])
def test_few_images_still_give_a_report(images: int, tmp_path: Path) -> None:
    report = collect([make_run(tmp_path / "few", embeddings(images), epochs=1)])
    shown = as_json(report)["runs"][0]
    judged = {levels(report).get(key) for key in ("chance", "separation", "collapse", "uniformity")}
    assert images >= 10 or judged <= {"info", None}  # too few to tell
    assert shown["recall_curve"]["image_to_text"]["recall"][-1] == 100
    assert shown["recall_curve"]["image_to_text"]["chance"][-1] == pytest.approx(100)
    assert (shown["margin"] is None) == (images == 1)
    assert shown["training"]["epoch"] == [1]
    assert any("was trained for one epoch" in note for note in report["notes"])
    assert (shown["projection"] is not None) == (1 + shown["evaluation"]["captions"] >= 3)
    for kinds in shown["examples"].values():
        assert 1 <= len(kinds["worst"]) <= 6


def test_total_collapse_is_said(tmp_path: Path) -> None:
    report = collect([make_run(tmp_path / "flat", embeddings(collapsed=True))])
    found = levels(report)
    assert found["collapse"] == found["chance"] == found["uniformity"] == found["separation"] == "bad"
    shown = as_json(report)["runs"][0]
    assert shown["projection"] is None
    assert sum("total collapse" in note for note in report["notes"]) == 1
    said = {one["key"]: one["verdict"] for one in shown["geometry"]["verdicts"]}
    assert said["collapse"].startswith(
        "collapse of the predictions: nearly every row is the same; collapse of the targ"
    )
    assert "spectrum" not in said or "no direction" not in said["spectrum"]
    assert shown["recall_curve"]["text_to_image"]["recall"][0] == 0
    assert sum(np.array(shown["cosine"]["matched"]) > 0) == 1


def test_an_incomplete_run_or_one_without_epochs_is_said(tmp_path: Path) -> None:
    report = collect([make_run(tmp_path / "half", embeddings(), complete=False)], projection="pca")
    assert any("The training of half is not complete" in note for note in report["notes"])
    assert report["runs"][0]["training"]["best_epoch"] == 3
    report = collect([make_run(tmp_path / "bare", embeddings(), epochs=0)], projection="pca")
    assert report["runs"][0]["training"] is None
    assert any("has no record of its epochs" in note for note in report["notes"])
    assert "overfitting" not in levels(report)


def test_a_masked_run_is_judged_by_its_controls(tmp_path: Path) -> None:
    def measured(shuffled: float, text_only: float) -> dict[str, Any]:
        return {
            "R@1": 60.0,
            "over_shuffled": {"R@1": {"difference": shuffled, "ci": [shuffled - 2, shuffled + 2]}},
            "over_text_only": {"R@1": {"difference": text_only, "ci": [text_only - 2, text_only + 2]}},
        }

    partial = {"0.0": measured(1, 1), "0.6": measured(50, -9), "0.9": measured(20, 12)}
    run = make_run(tmp_path / "masked", embeddings(), partial=partial)
    found = {one["key"]: one for one in collect([run], projection="pca")["runs"][0]["geometry"]["verdicts"]}
    assert found["partial_shuffled"]["verdict"] == "it does where 60 %, 90 % of the words are hidden"
    assert found["partial_text_only"]["verdict"] == "it adds where 90 % of the words are hidden"
    assert found["partial_text_only"]["value"].startswith("R@1 -9.0 (-11.0 to -7.0) with 60 % hidden, +12.0")


def test_verdicts_on_hubs_show_what_the_correction_leaves(tmp_path: Path) -> None:
    found = embeddings(200)
    run = make_run(tmp_path / "run", found)
    plain = collect([run], projection="pca")["runs"][0]["geometry"]
    assert plain["hubness_corrected"] is None
    bank = embeddings(200, seed=5)
    correction.save(HubnessCorrection(bank.image, bank.text, 0.75, 16), run, found.run)
    corrected = collect([run], projection="pca")["runs"][0]["geometry"]
    assert corrected["hubness"] == plain["hubness"]
    before, after = (
        {one["key"]: one for one in geometry["verdicts"] if one["key"].startswith("hubness")}
        for geometry in (plain, corrected)
    )
    for key, way in (("hubness_image_to_text", "image_to_text"), ("hubness_text_to_image", "text_to_image")):
        assert after[key]["level"] == before[key]["level"]
        assert after[key]["value"].startswith(f"{before[key]['value']}. With hubness correction: ")
        assert corrected["hubness_corrected"][way]["skewness"] != plain["hubness"][way]["skewness"]


def test_every_verdict_has_its_section_in_the_docs(report: dict[str, Any]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "report.md").read_text(encoding="utf-8")
    anchors = {
        "docs/report.md#" + line.lstrip("# ").strip().lower().replace(" ", "-")
        for line in page.splitlines()
        if line.startswith("#")
    }
    assert {one["source"] for one in report["runs"][0]["geometry"]["verdicts"]} <= anchors
    assert {f"docs/report.md#{key.replace('_', '-')}" for key in VERDICTS} <= anchors


def test_it_reads_artefacts_alone(run: Path) -> None:
    code = (
        f"import sys; from pairjepa.apps.report import collect; collect([{str(run)!r}], projection='pca'); "
        "heavy = {'torch', 'transformers', 'PIL', 'matplotlib'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_a_trained_run_end_to_end(tmp_path: Path) -> None:
    small = {
        "data.source": "shapes:60",
        "training.epochs": 1,
        "model.dim": 16,
    }  # one epoch: it is the best one
    pairjepa.train(pairjepa.recipe("tiny-masked", small), None, tmp_path / "run")
    pairjepa.evaluate(tmp_path / "run", "test")
    report = collect([tmp_path / "run"])
    shown = as_json(report)["runs"][0]
    assert shown["training"]["epoch"] == [1]
    assert levels(report).keys() >= {"partial_shuffled", "partial_text_only", "overfitting"}
    assert shown["projection"]["method"] == "tsne"
    assert report["generated"] is True
