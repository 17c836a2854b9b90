import json
import math
from dataclasses import replace

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from pairjepa.evaluation.embedding_set import EmbeddingSet
from pairjepa.evaluation.result import Baseline
from pairjepa.evaluation.result import evaluate_embeddings as evaluate
from pairjepa.evaluation.tables import markdown_table, table
from pairjepa.metrics.retrieval import metrics, retrieve
from pairjepa.util.errors import UsageError

from .arrays import ragged, unit

DIRECTION = {
    name for metric in ("R@1", "R@5", "R@10", "median_rank", "mrr") for name in (metric, f"{metric}_ci")
}


def embedding_set(image, text, owner, captions=None, split="test"):
    names = [f"{row}.jpg" for row in range(len(image))]
    captions = captions or [f"caption {row}" for row in range(len(text))]
    return EmbeddingSet(image, text, owner, names, captions, split=split, run="r")


@pytest.fixture(scope="module")
def good():
    return embedding_set(*ragged(images=120, dim=16, noise=1.2))


@pytest.fixture(scope="module")
def poor():
    image, text, _ = ragged(images=120, dim=16, noise=5)
    return image, text


@pytest.fixture(scope="module")
def result(good, poor):
    return evaluate(good, cca=Baseline(*poor), draws=200)


def leaves(value):
    if isinstance(value, dict | list):
        return [
            leaf for item in (value.values() if isinstance(value, dict) else value) for leaf in leaves(item)
        ]
    return [value]


def test_the_result_is_plain_finite_json(result):
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    plain = result | {
        "corrected": 0,
        "align_or_predict": 0,
        "beats_cca": {**result["beats_cca"], "corrected": 0},
    }  # None: not asked for
    assert {type(leaf) for leaf in leaves(plain)} <= {str, int, float}
    assert all(math.isfinite(leaf) for leaf in leaves(result) if isinstance(leaf, float))


def test_no_number_hangs_on_the_number_of_threads():
    embeddings = embedding_set(*ragged(images=300, dim=512, noise=6))
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            found.append(evaluate(embeddings, cca=None, draws=100))
    assert found[0] == found[1]


def test_the_result_has_the_promised_keys(result, good):
    assert set(result) == {
        "corrected",
        "split", "images", "captions", "relevance", "image_to_text", "text_to_image", "rsum", "rsum_ci",
        "baselines", "beats_cca", "align_or_predict", "cosine", "geometry", "bootstrap", "notes",
    }  # fmt: skip
    assert set(result["image_to_text"]) == set(result["text_to_image"]) == DIRECTION
    assert (result["images"], result["captions"], result["split"]) == (120, len(good.owner), "test")
    assert result["bootstrap"] == {"unit": "image", "draws": 200, "seed": 0, "confidence": 0.95}
    assert set(result["baselines"]["chance"]) == {"image_to_text", "text_to_image", "rsum"}
    assert set(result["baselines"]["cca"]["text_to_image"]) == DIRECTION
    assert set(result["cosine"]) == {"matched", "random", "auc", "overlap"}
    assert set(result["cosine"]["random"]) == {"mean", "sd", "ci"}
    assert set(result["geometry"]) == {
        "dim", "alignment", "uniformity", "modality_gap", "effective_rank", "std_per_dim"
    }  # fmt: skip


def test_numbers_lie_in_their_intervals_and_are_those_of_retrieval(result, good):
    measured = metrics(retrieve(good.image, good.text, good.owner))
    for way in ("image_to_text", "text_to_image"):
        for name, value in measured[way].items():
            assert result[way][name] == value
            low, high = result[way][f"{name}_ci"]
            assert low <= value <= high
    for side in ("matched", "random"):
        low, high = result["cosine"][side]["ci"]
        assert low < result["cosine"][side]["mean"] < high
    assert result["cosine"]["matched"]["mean"] > result["cosine"]["random"]["mean"] + 0.3
    assert result["geometry"]["alignment"] == pytest.approx(2 - 2 * result["cosine"]["matched"]["mean"])


def test_the_same_seed_gives_the_same_result(result, good, poor):
    assert evaluate(good, cca=Baseline(*poor), draws=200) == result
    assert evaluate(good, cca=Baseline(*poor), draws=200, seed=1)["rsum_ci"] != result["rsum_ci"]


def test_a_regression_is_held_against_cca(good, poor):
    regressions = {"ridge_to_text": Baseline(*poor), "ridge_to_image": Baseline(good.image, good.text)}
    found = evaluate(good, cca=Baseline(good.image, good.text), regressions=regressions, draws=200)
    assert found["align_or_predict"]["ridge_to_text"]["verdict"] == "better"
    assert found["align_or_predict"]["ridge_to_image"]["rsum_difference"] == 0
    assert found["baselines"]["ridge_to_image"]["rsum"] == found["rsum"]
    assert "Neither alignment nor prediction is shown to suit" in found["notes"][-1]
    both = {name: Baseline(*poor) for name in regressions}
    found = evaluate(good, cca=Baseline(good.image, good.text), regressions=both, draws=200)
    assert "These features favour alignment" in found["notes"][-1]
    found = evaluate(good, cca=Baseline(*poor), regressions=regressions, draws=200)
    assert "These features favour prediction" in found["notes"][-1]


def test_verdicts_against_cca(good, poor, result):
    assert result["beats_cca"]["verdict"] == "better"
    assert result["beats_cca"]["rsum_difference"] == pytest.approx(
        result["rsum"] - result["baselines"]["cca"]["rsum"]
    )
    assert any(note.startswith("Beats CCA") for note in result["notes"])
    worse = evaluate(embedding_set(*poor, good.owner), cca=Baseline(good.image, good.text), draws=200)
    assert worse["beats_cca"]["verdict"] == "worse"
    assert any("closed formula" in note and note.startswith("Worse than CCA") for note in worse["notes"])
    same = evaluate(good, cca=Baseline(good.image, good.text), draws=200)
    assert same["beats_cca"] == {
        "rsum_difference": 0,
        "ci": [0, 0],
        "verdict": "the same",
        "corrected": None,
    }
    assert any(note.startswith("Is CCA itself") for note in same["notes"])


def test_cca_is_known_by_its_text_side_though_the_mean_of_views_differs(good):
    nearly = Baseline(np.roll(good.image, 1, axis=0), good.text)
    found = evaluate(good, cca=nearly, draws=200)
    assert found["beats_cca"]["rsum_difference"] > 0
    assert any(note.startswith("Is CCA itself") for note in found["notes"])
    image, text = (np.pad(side, ((0, 0), (0, 3))) for side in (good.image, good.text))
    padded = replace(good, image=image, text=text)
    assert evaluate(padded, cca=nearly, draws=200)["beats_cca"]["verdict"] == "the same"
    other = Baseline(good.image, np.roll(good.text, 1, axis=1))
    assert evaluate(good, cca=other, draws=200)["beats_cca"]["verdict"] != "the same"


def test_without_cca_its_keys_are_none(good):
    found = evaluate(good, cca=None, draws=20)
    assert found["baselines"]["cca"] is None
    assert found["beats_cca"] is None
    assert not any("CCA" in note for note in found["notes"])
    assert "CCA" not in table({"model": found})


def test_a_collapsed_model_is_told_so():
    _, text, owner = ragged(images=120)
    point = unit(np.ones((1, 16)))
    found = evaluate(
        embedding_set(np.repeat(point, 120, 0), np.repeat(point, len(text), 0), owner), cca=None, draws=50
    )
    text = " ".join(found["notes"])
    assert "No better than chance" in text
    assert "Collapse of the predictions: nearly every row is the same" in text
    assert "Collapse of the targets" in text
    assert "AUC 0.500, where 0.5 is blind" in text
    assert found["rsum"] < found["baselines"]["chance"]["rsum"]
    assert found["geometry"]["effective_rank"] == {"image": 0, "text": 0}
    assert found["cosine"]["overlap"] == 1


def test_few_directions_are_told():
    rng = np.random.default_rng(0)
    rows = unit(rng.normal(size=(120, 3)) @ np.linalg.qr(rng.normal(size=(64, 3)))[0].T)
    found = evaluate(embedding_set(rows, rows, np.arange(120)), cca=None, draws=20)
    assert any(
        "The predictions lie along few directions: effective rank 3.0 of 64" in note
        for note in found["notes"]
    )


def test_notes_on_the_protocol(good):
    image, text, owner = ragged(images=20, noise=0.5)
    found = evaluate(
        embedding_set(image, text, owner, ["a dog"] * len(text), split="train"), cca=None, draws=20
    )
    assert "Measured on the training pairs" in found["notes"][0]
    assert any("Only 20 images" in note for note in found["notes"])
    assert any("--relevance text counts it as right" in note for note in found["notes"])
    assert found["cosine"]["random"] is None
    assert any("no random pair" in note for note in found["notes"])
    assert not any("train" in note or "Only" in note for note in evaluate(good, cca=None, draws=20)["notes"])


def test_relevance_by_text_counts_equal_captions():
    image, text, owner = ragged(images=30, noise=1)
    words = [("a dog", "a cat")[row % 2] for row in owner]
    found = {
        kind: evaluate(
            embedding_set(image, text, owner, words), cca=Baseline(image, text), relevance=kind, draws=20
        )
        for kind in ("owner", "text")
    }
    assert found["text"]["relevance"] == "text"
    assert found["text"]["rsum"] > found["owner"]["rsum"]
    assert found["text"]["beats_cca"]["rsum_difference"] == 0
    assert found["text"]["baselines"]["chance"]["rsum"] > 300
    # Random pairs never read the same, whichever relevance is asked for.
    assert found["text"]["cosine"] == found["owner"]["cosine"]


def test_one_pair_is_measured():
    point = unit(np.ones((1, 4)))
    found = evaluate(embedding_set(point, point, np.array([0])), cca=None, draws=5)
    assert found["rsum"] == 600
    assert found["geometry"]["uniformity"] == {"image": None, "text": None}
    json.dumps(found, allow_nan=False)


def test_mistakes_are_named(good):
    nothing = np.empty((0, 4), np.float32)
    with pytest.raises(UsageError, match="at least one image and one draw, got 0"):
        evaluate(embedding_set(nothing, nothing, np.empty(0, int)), cca=None)
    with pytest.raises(UsageError, match=r"Unknown relevance 'txt'\. Did you mean 'text'"):
        evaluate(good, cca=None, relevance="txt")
    with pytest.raises(
        UsageError, match=r"cca must have 120 and 311 rows like the embeddings, got 3 and 311"
    ):
        evaluate(good, cca=Baseline(good.image[:3], good.text), draws=5)


def test_the_table_says_what_it_shows(result):
    lines = table({"contrastive": result}).splitlines()
    rows = {line.split("  ")[0]: line for line in lines}
    assert lines[0].split("  ")[-1].strip() == "text → image"
    assert rows["contrastive"].split()[1:] == [
        *(f"{result[way][f'R@{k}']:.1f}" for way in ("image_to_text", "text_to_image") for k in (1, 5, 10)),
        f"{result['rsum']:.1f}",
    ]
    assert list(rows)[1:3] == ["chance", "CCA"]
    low, high = result["rsum_ci"]
    assert f"{low:.1f}–{high:.1f}" in lines[lines.index(rows["contrastive"]) + 1]
    assert "Recall@K in percent: at least one relevant item in the top K." in lines[-2]
    assert "test split, 120 images" in lines[-1]
    assert max(map(len, lines)) <= 110


def test_tables_of_several_runs_keep_one_row_of_what_they_share(result, good):
    other = evaluate(good, cca=None, draws=200)
    shown = table({"one": result, "two": other})
    assert shown.count("\nchance") == shown.count("\nCCA") == 1
    changed = result | {"baselines": result["baselines"] | {"cca": other}, "split": "dev"}
    shown = table({"one": result, "two": changed})
    assert "CCA (one)" in shown
    assert "CCA (two)" in shown
    assert "\ntwo: dev split" in shown


def test_the_markdown_table_is_a_table(result):
    lines = markdown_table({"a|b": result}).split("\n\n")[0].splitlines()
    assert len(lines) == 5
    assert all(line.replace("\\|", "").count("|") == 9 for line in lines)
    low, high = result["rsum_ci"]
    assert lines[-1].endswith(f"{result['rsum']:.1f} [{low:.1f}, {high:.1f}] |")
    assert lines[-1].startswith("| a\\|b |")
