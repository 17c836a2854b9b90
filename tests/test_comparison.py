"""The verb compare, on run folders made by hand: what it reads, what it refuses, what it prints."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

import pairjepa
from pairjepa.cli import main
from pairjepa.config.recipes import recipe
from pairjepa.evaluation.compare import compare
from pairjepa.evaluation.compare_tables import compare_latex, compare_table
from pairjepa.evaluation.embedding_set import EmbeddingSet
from pairjepa.evaluation.illustrations import Illustrations
from pairjepa.evaluation.result import Baseline, evaluate_embeddings
from pairjepa.metrics.hubness import HubnessCorrection
from pairjepa.metrics.retrieval import metrics, retrieve
from pairjepa.model import correction
from pairjepa.model.weights import write_tensors
from pairjepa.run.folder import RunFolder
from pairjepa.util.checksums import write_record
from pairjepa.util.errors import PairJEPAError, UsageError
from pairjepa.util.tables import write_table

IMAGES = 40
DATA = {"digest": "d" * 32, "images": 500, "captions": 900}


def embeddings(noise: float, seed: int = 0, split: str = "test") -> EmbeddingSet:
    """Ragged pairs, the same whatever the seed; more noise is a worse model."""
    fixed, drawn = np.random.default_rng(7), np.random.default_rng(seed)
    owner = np.sort(fixed.permutation(np.repeat(np.arange(IMAGES), fixed.integers(1, 4, IMAGES))))
    image = fixed.normal(size=(IMAGES, 16))
    text = image[owner] + fixed.normal(size=(len(owner), 16))
    image += noise * drawn.normal(size=image.shape)
    sides = [
        (side / np.linalg.norm(side, axis=1, keepdims=True)).astype(np.float32) for side in (image, text)
    ]
    return EmbeddingSet(
        *sides,
        owner,
        [f"{row}.jpg" for row in range(IMAGES)],
        [f"caption {row % 30}" for row in range(len(owner))],
        split=split,
        run="0",
    )


def make_run(
    path: Path,
    found: EmbeddingSet,
    *,
    seed: int = 0,
    data: dict[str, Any] = DATA,
    cost: Any = None,
    name: str = "tiny",
) -> Path:
    """A run that was trained and evaluated, without any training."""
    run = RunFolder.start(path, recipe(name, {"training.seed": seed}), data)
    found.save(path / "embeddings" / found.split)
    run.finish({"best_epoch": 1, "cost": cost})
    return path


def make_group(path: Path, noise: float, seeds: int = 3, seconds: float = 10.0) -> Path:
    for seed in range(seeds):
        cost = {
            "training_seconds": seconds + seed,
            "trained_parameters": 1234,
            "peak_rss_bytes": 2**30 * (1 + seed),
        }
        make_run(path / f"seed-{seed}", embeddings(noise, seed), seed=seed, cost=cost)
    return path


def test_runs_are_compared_with_the_first(tmp_path: Path) -> None:
    good, bad = (
        make_run(tmp_path / name, embeddings(noise)) for name, noise in (("good", 0.0), ("bad", 4.0))
    )
    found = compare([bad, good])
    expected = {
        name: metrics(retrieve(e.image, e.text, e.owner))
        for name, e in (("bad", embeddings(4.0)), ("good", embeddings(0.0)))
    }
    assert (found["split"], found["images"], found["relevance"]) == ("test", IMAGES, "owner")
    assert (found["captions"], found["baseline"]) == (len(embeddings(0).owner), "bad")
    for name, values in expected.items():
        assert found["runs"][name]["rsum"] == values["rsum"]
        assert found["runs"][name]["text_to_image"]["mrr"] == values["text_to_image"]["mrr"]
    gap = found["differences"]["good"]["rsum"]["difference"]
    assert gap == pytest.approx(expected["good"]["rsum"] - expected["bad"]["rsum"])
    assert found["verdict"]["good"].startswith(f"good is better than bad by {gap:.1f} rsum")
    assert set(found["runs"]["good"]["cost"].values()) == {None}
    json.dumps(found, allow_nan=False)


def leave_twins(run: Path, margins: list[float], text: str = "a twin", weights: str = "0") -> None:
    twins = [
        {"caption": row, "kind": kind, "text": text, "margin": margin}
        for row, kind, margin in zip([0, 3, 5], ["noun", "noun", "colour"], margins, strict=True)
    ] * 4
    Illustrations([None] * IMAGES, [], [], weights, twins=twins).save(run / "illustrations" / "test")


def test_hard_negatives_are_compared_where_both_runs_have_the_same(tmp_path: Path) -> None:
    one, two = (make_run(tmp_path / name, embeddings(1.0)) for name in ("one", "two"))
    assert compare([one, two])["hard_negatives"] is None
    leave_twins(one, [0.5, -0.5, -0.5])
    leave_twins(two, [0.5, 0.5, -0.5])
    found = compare([one, two])
    assert found["hard_negatives"]["runs"]["one"] == pytest.approx({"all": 100 / 3, "noun": 50, "colour": 0})
    assert found["hard_negatives"]["differences"]["two"]["noun"]["difference"] == pytest.approx(50)
    assert "On hard negatives: no difference is shown: two has +33.3 points" in found["verdict"]["two"]
    table = compare_table(found)
    assert "hard negatives, own above twin" in table
    assert "+50.0 [too few]" in table, "eight twins have no interval"
    json.dumps(found, allow_nan=False)
    for other in ({"text": "another"}, {"weights": "1"}):
        leave_twins(two, [0.5, 0.5, -0.5], **other)
        assert compare([one, two])["hard_negatives"] is None


def test_a_seed_group_is_one_side(tmp_path: Path) -> None:
    one, group = make_run(tmp_path / "one", embeddings(0.5)), make_group(tmp_path / "group", 0.5)
    found = compare([one, group])["runs"]
    rsums = [
        metrics(retrieve(e.image, e.text, e.owner))["rsum"]
        for e in (embeddings(0.5, seed) for seed in range(3))
    ]
    assert found["group"]["rsum"] == pytest.approx(np.mean(rsums))
    assert found["group"]["seed_sd"]["rsum"] == pytest.approx(np.std(rsums, ddof=1))
    assert (found["one"]["seeds"], found["group"]["seeds"]) == (1, 3)
    assert found["group"]["cost"] == {
        "training_seconds": 11.0,
        "trained_parameters": 1234,
        "peak_rss_bytes": 3 * 2**30,
    }


def test_a_closed_formula_has_no_seeds(tmp_path: Path) -> None:
    closed = make_run(tmp_path / "closed", embeddings(0.5), name="closed-form")
    group = make_group(tmp_path / "group", 0.5)
    for run in (closed, *sorted(group.iterdir())):
        leave_twins(run, [0.5, -0.5, -0.5])
    found = compare([closed, group])
    assert (found["runs"]["closed"]["seeds"], found["runs"]["group"]["seeds"]) == (0, 3)
    assert found["differences"]["group"]["rsum"]["seed_ci"] is not None
    assert found["hard_negatives"]["differences"]["group"]["all"]["seed_ci"] == [0, 0]
    said = compare_table(found)
    assert "On hard negatives" in said
    assert "another seed" not in said
    [row] = [line.split() for line in said.splitlines() if line.startswith("closed ") and "–" in line]
    assert row[1] == "–"


def test_relevance_by_text_counts_captions_that_read_the_same(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, embeddings(2.0)) for name in "ab"]
    by_owner, by_text = (compare(runs, relevance=kind)["runs"]["a"]["rsum"] for kind in ("owner", "text"))
    assert by_text > by_owner
    with pytest.raises(UsageError, match=r"Unknown relevance 'txet'. Did you mean 'text'\?"):
        compare(runs, relevance="txet")  # type: ignore[arg-type]


def test_names_are_told_apart(tmp_path: Path) -> None:
    first, second = (make_run(tmp_path / folder / "run", embeddings(0.5)) for folder in "ab")
    assert list(compare([first, second])["runs"]) == [str(first), str(second)]
    assert list(compare([first, first])["runs"]) == ["run", "run (2)"]


def change(found: EmbeddingSet, what: str) -> EmbeddingSet:
    names, captions = list(found.names), list(found.captions)
    if what == "other images":
        names[3:5] = ["new.jpg", "newer.jpg"]
    elif what == "fewer images":
        keep = found.owner < IMAGES - 2
        return replace(
            found,
            image=found.image[:-2],
            text=found.text[keep],
            owner=found.owner[keep],
            names=names[:-2],
            captions=[c for c, kept in zip(captions, keep, strict=True) if kept],
        )
    elif what == "images in another order":
        names[0], names[1] = names[1], names[0]
    elif what == "captions":
        captions[2] = "changed"
    elif what == "owner":
        owner = found.owner.copy()
        borders = np.flatnonzero(np.diff(owner))[:1]
        owner[borders], owner[borders + 1] = owner[borders + 1].copy(), owner[borders].copy()
        return replace(found, owner=owner)
    return replace(found, names=names, captions=captions)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (
            "other images",
            r"got 40 images for 40: 2 missing \(such as '3.jpg'\) and 2 more \(such as 'new.jpg'\)",
        ),
        ("fewer images", r"got 38 images for 40: 2 missing \(such as '38.jpg'\)\. "),
        ("images in another order", r"got the same 40 images in another order \(2 in another place\)"),
        ("captions", r"1 missing \(such as 'caption 2'\) and 1 more \(such as 'changed'\)"),
        ("owner", r"got 2 of \d+ captions that belong to another image"),
    ],
)
def test_other_images_or_captions_are_refused(what: str, message: str, tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", embeddings(0.5))
    two = make_run(tmp_path / "two", change(embeddings(0.5), what))
    with pytest.raises(PairJEPAError, match=message) as raised:
        compare([one, two])
    assert f"pairjepa evaluate {two} --split test" in str(raised.value)


def test_a_run_that_was_not_evaluated_is_told_how(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", embeddings(0.5))
    group = make_group(tmp_path / "my group", 0.5)
    shutil.rmtree(group / "seed-1" / "embeddings")
    with pytest.raises(PairJEPAError, match=r"seed-1 has not been evaluated on the test split") as raised:
        compare([one, group])
    assert str(raised.value).endswith(f"pairjepa evaluate '{group}' --split test.")
    with pytest.raises(PairJEPAError, match="one has not been evaluated on the dev split"):
        compare([one, one], "dev")


def test_embeddings_of_another_split_or_of_older_weights_are_refused(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", embeddings(0.5))
    (one / "embeddings" / "test").rename(one / "embeddings" / "dev")
    with pytest.raises(PairJEPAError, match="must be of the dev split, got test"):
        compare([one, one], "dev")
    two = make_run(tmp_path / "two", embeddings(0.5))
    write_tensors({"weight": torch.ones(2)}, two / "model.safetensors")
    with pytest.raises(PairJEPAError, match=r"must be of the model that .*two holds.*Evaluate it again"):
        compare([two, two])
    current = replace(embeddings(0.5), run=RunFolder(two).weights)
    current.save(two / "embeddings" / "test")
    assert compare([two, two])["images"] == IMAGES


def test_one_run_or_none_that_is_there_is_refused(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", embeddings(0.5))
    with pytest.raises(UsageError, match=r"at least two runs, got 1\. Name the baseline first"):
        compare([one])
    with pytest.raises(PairJEPAError, match=r"nowhere is no run folder .*it is not there"):
        compare([one, tmp_path / "nowhere"])


def test_what_makes_a_comparison_unfair_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = make_run(tmp_path / "one", embeddings(0.5))
    two = make_run(tmp_path / "two", embeddings(0.5), data={**DATA, "digest": "e" * 32})
    compare([one, one])
    assert capsys.readouterr().err == ""
    (two / "summary.json").unlink()
    compare([one, two])
    err = capsys.readouterr().err
    assert "warning: the training of" in err
    assert "two was trained on pairs that were given in Python, " in err


def test_runs_of_different_data_are_compared_on_those_of_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder.start(
        tmp_path / "one",
        recipe(
            "tiny", {"data.source": "my one.csv", "data.caption_column": ("a", "b"), "data.no_header": True}
        ),
        DATA,
    )
    embeddings(0.5).save(run.path / "embeddings" / "test")
    run.finish({"best_epoch": 1, "cost": None})
    group = tmp_path / "group"
    for seed in range(2):
        settings = {"data.source": "two.tar", "training.seed": seed}
        two = RunFolder.start(group / f"seed-{seed}", recipe("tiny", settings), {**DATA, "digest": "e" * 32})
        change(embeddings(1.0), "fewer images").save(two.path / "embeddings" / "test")
        two.finish({"best_epoch": 1, "cost": None})
    with pytest.raises(PairJEPAError) as raised:
        compare([run.path, group])
    assert str(raised.value).endswith(
        f"seed-0 was trained on two.tar, {run.path} on my one.csv. Measure both on the latter: pairjepa evaluate "
        f"{group} --data 'my one.csv' --data.caption-column a b --data.no-header --split test."
    )
    for seed in range(2):
        there = replace(embeddings(1.0, seed), split=f"test-on-{'d' * 8}")
        there.save(group / f"seed-{seed}" / "embeddings" / there.split)
        correct(group / f"seed-{seed}")
    correct(run.path)
    found = compare([run.path, group])
    assert (found["images"], found["runs"]["group"]["seeds"], found["corrected"]) == (IMAGES, 2, None)
    assert (
        f"group was trained on two.tar, {run.path} on my one.csv: the difference" in capsys.readouterr().err
    )


def test_runs_that_know_the_images_of_each_other_are_compared_on_pairs_new_to_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = make_run(tmp_path / "one", embeddings(0.5))
    two = make_run(
        tmp_path / "two", change(embeddings(1.0), "fewer images"), data={**DATA, "digest": "e" * 32}
    )
    for run, taught in ((one, "abc"), (two, "xyz")):
        table = {
            "image": list("abcxyz"),
            "split": ["train" if name in taught else "test" for name in "abcxyz"],
        }
        write_table(pa.table(table), RunFolder(run).pairs_file)
    with pytest.raises(
        PairJEPAError, match="3 images of the latter's test split taught the former"
    ) as raised:
        compare([one, two])
    assert str(raised.value).endswith("new to both: pairjepa evaluate RUN --data OTHER --split test.")
    for run in (one, two):
        replace(embeddings(2.0), split="test-on-12345678").save(run / "embeddings" / "test-on-12345678")
    assert compare([one, two])["split"] == "test-on-12345678"
    embeddings(1.0).save(two / "embeddings" / "test")
    capsys.readouterr()
    assert compare([one, two])["split"] == "test", "of the same images"
    assert "warning: 3 images of those that are measured taught two." in capsys.readouterr().err


def test_the_command_prints_a_table_json_or_markdown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, other = make_group(tmp_path / "base", 2.0, 2), make_group(tmp_path / "other|1", 0.0, 3, seconds=90)
    runs = [str(base), str(other)]
    assert main(["compare", *runs]) == 0
    out, err = capsys.readouterr()
    found = compare(runs)
    said = found["verdict"]["other|1"]
    assert out.endswith(f"\n{said}\n")
    lines = out.splitlines()
    row = next(line for line in lines if line.startswith("other|1 − base"))
    assert row.endswith(f"{found['differences']['other|1']['rsum']['difference']:+.1f}")
    costs = next(line for line in lines if "91.0 s" in line)
    assert " ".join(costs.split()) == "other|1 3 91.0 s 1,234 3.00 GiB"
    assert "  sd of 3 seeds" in out
    assert err.endswith(f"pairjepa compare {base} '{other}' --markdown\n")

    assert main(["compare", *runs, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == found

    assert main(["compare", *runs, "--markdown"]) == 0
    out = capsys.readouterr().out
    table = [line for line in out.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in table[:5]}) == 1
    run = found["runs"]["base"]
    low, high = run["rsum_ci"]
    assert f"| {run['rsum']:.1f} ± {run['seed_sd']['rsum']:.1f} [{low:.1f}, {high:.1f}] |" in table[2]
    assert out.endswith(f"\n{said}\n")


def correct(run: Path, weights: str = "0") -> HubnessCorrection:
    """Give a run a correction, fitted to weights of that digest."""
    bank = embeddings(0.0, seed=5)
    fitted = HubnessCorrection(bank.image, bank.text, 0.5, 4)
    correction.save(fitted, run, weights)
    return fitted


def test_corrected_scores_stand_beside_plain_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [make_run(tmp_path / name, embeddings(noise)) for name, noise in (("a", 2.0), ("b", 0.5))]
    plain = compare(runs)
    assert plain["corrected"] is None
    correct(runs[0])
    correct(runs[1], weights="1")
    assert compare(runs)["corrected"] is None  # of other weights than the embeddings
    fitted, found = correct(runs[1]), compare(runs)
    one = embeddings(0.5)
    rsum = metrics(fitted.ranks(one.image, one.text, one.owner))["rsum"]
    assert found["corrected"]["runs"]["b"]["rsum"] == rsum
    assert found | {"corrected": None} == plain
    for flag in ("--split=test", "--markdown"):
        assert main(["compare", *map(str, runs), flag]) == 0
        out = capsys.readouterr().out
        lines = [line for line in out.splitlines() if "b − a, corrected" in line]
        assert f"{found['corrected']['differences']['b']['rsum']['difference']:+.1f}" in lines[0]
        assert out.endswith(f"Corrected: {found['corrected']['verdict']['b']}\n")


def test_baselines_stand_first_as_evaluate_left_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [make_run(tmp_path / name, embeddings(noise)) for name, noise in (("a_b", 2.0), ("c", 0.5))]
    assert compare(runs)["baselines"] == {}
    cca = (embeddings(1.0).image, embeddings(1.0).text)
    for run, noise in zip(runs, (2.0, 0.5), strict=True):
        evaluated = evaluate_embeddings(embeddings(noise), cca=Baseline(*cca))
        about = {"recipe": "tiny", "seed": 0, "data": {"description": "", "generated": True}, "cost": None}
        write_record(run / "evaluation" / "test.json", evaluated | about | {"split": "test", "weights": "0"})
    found = compare(runs)
    assert list(found["baselines"]) == ["chance", "CCA"]
    assert found["baselines"]["CCA"]["rsum"] == evaluated["baselines"]["cca"]["rsum"]
    for flag, first in (("--split=test", "chance "), ("--markdown", "| chance |"), ("--latex", "chance & ")):
        assert main(["compare", *map(str, runs), flag]) == 0
        out = capsys.readouterr().out
        assert [line for line in out.splitlines() if line.startswith(first)]
    lines = out.splitlines()
    assert lines[:2] == [r"% \usepackage{booktabs}", r"\begin{tabular}{lrrrrrrrr}"]
    rows = [line for line in lines if line.endswith(r" \\")]
    assert len({row.replace(r"\&", "").count("&") for row in rows[1:]}) == 1
    low, high = found["runs"]["a_b"]["rsum_ci"]
    assert next(row for row in rows if row.startswith(r"a\_b &")).endswith(rf"& [{low:.1f}, {high:.1f}] \\")
    assert lines[-1] == f"% {found['verdict']['c']}"
    ridge = {"ridge image→caption": found["baselines"]["CCA"]}
    assert r"ridge image$\rightarrow$caption & " in compare_latex(found | {"baselines": ridge})


def test_a_run_without_cost_or_further_seeds_has_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [str(make_run(tmp_path / name, embeddings(0.5))) for name in "ab"]
    assert main(["compare", *runs, "--relevance", "text"]) == 0
    out, err = capsys.readouterr()
    assert next(line for line in out.splitlines() if line.endswith("–")).split() == ["a", "1", "–", "–", "–"]
    assert "sd of" not in out
    assert "--relevance text --markdown" in err
    assert main(["compare", *runs, "--markdown"]) == 0
    assert "±" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (["--json", "--markdown"], 2, "must be one of --json, --markdown and --latex, got several"),
        ([], 2, "compare must have at least two runs, got 0"),
        (["nowhere", "neither"], 1, "nowhere is no run folder"),
    ],
)
def test_a_mistaken_command_is_told_so(
    flags: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *flags]) == status
    out, err = capsys.readouterr()
    assert not out
    assert message in err


def test_it_reads_artefacts_alone(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", embeddings(0.5))
    code = (
        "import sys; from pairjepa.cli import main; "
        f"assert main(['compare', {str(one)!r}, {str(one)!r}, '--json']) == 0; "
        "heavy = {'torch', 'transformers', 'PIL', 'pyarrow'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_the_package_offers_it() -> None:
    assert pairjepa.compare is compare
