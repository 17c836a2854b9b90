"""From pairs to JSON, on scenes that the program draws: every kind of run, small."""

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from tests.features.conftest import IMAGE_CONFIGS, save_model

import pairjepa
from pairjepa.apps.export.onnx import export_onnx
from pairjepa.cli import main
from pairjepa.config.recipes import override, recipe
from pairjepa.config.settings import RunConfig
from pairjepa.evaluation.embedding_set import EmbeddingSet
from pairjepa.model.weights import write_tensors
from pairjepa.pairs import Pairs
from pairjepa.run.folder import RunFolder
from pairjepa.training import loop
from pairjepa.util.checksums import unsigned
from pairjepa.util.errors import PairJEPAError, UsageError

SMALL = {
    "data.source": "shapes:100",
    "model.image": "tiny-resnet",
    "model.text": "tiny-bert",
    "model.dim": 16,
    "model.predictor.kind": "mlp",  # whose place the closed formula cannot take
    "training.epochs": 2,
    "training.batch_size": 20,
    "training.learning_rate": 3e-3,
}
CLOSED = {name: SMALL[name] for name in ("data.source", "model.image", "model.text", "model.dim")}
RECALLS = [f"R@{k}{end}" for k in (1, 5, 10) for end in ("", "_ci")]
DIRECTION = {*RECALLS, "median_rank", "median_rank_ci", "mrr", "mrr_ci"}
KEYS = {
    "corrected",
    *(
        "split",
        "images",
        "captions",
        "relevance",
        "image_to_text",
        "text_to_image",
        "rsum",
        "rsum_ci",
        "baselines",
    ),
    *("beats_cca", "cosine", "geometry", "bootstrap", "notes", "run", "recipe", "seed", "data", "cost"),
    *("weights", "control_weights", "hard_negatives", "align_or_predict"),
}


def config(name: str = "contrastive", **settings: Any) -> RunConfig:
    given = {key.replace("__", "."): value for key, value in settings.items()}
    return recipe(name, SMALL | given)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A contrastive run on frozen random backbones."""
    path = tmp_path_factory.mktemp("runs") / "contrastive"
    pairjepa.train(config(), None, path)
    return path


def test_a_run_leaves_what_the_documents_say(run: Path) -> None:
    folder = RunFolder(run)
    assert {path.name for path in run.iterdir()} >= {
        "run.json",
        "metrics.jsonl",
        "summary.json",
        "image",
        "text",
    }
    assert [line["epoch"] for line in folder.metrics()] == [1, 2]
    assert folder.summary is not None
    best = max(folder.metrics(), key=lambda line: line["dev"]["rsum"])
    assert folder.summary["best_epoch"] == best["epoch"]
    assert folder.summary["dev_rsum"] == best["dev"]["rsum"]
    assert {"matched", "random"} == set(best["dev"]["cosine"])
    assert (
        {"prediction", "target"}
        == set(best["dev"]["effective_rank"])
        == set(best["dev"]["deviation_per_dim"])
    )
    assert not list(run.rglob("*.tmp"))


def test_the_closed_formula_is_a_run_like_any_other(tmp_path: Path) -> None:
    run = pairjepa.train(recipe("closed-form", CLOSED), None, tmp_path / "run")
    assert [line["epoch"] for line in run.metrics()] == [1]
    found = pairjepa.evaluate(run.path, "dev")
    assert found["rsum"] == run.metrics()[0]["dev"]["rsum"]
    assert found["rsum"] == pytest.approx(found["baselines"]["cca"]["rsum"], abs=10)
    assert found["corrected"]["rsum"] >= found["rsum"]
    embedder = pairjepa.Embedder.load(run)
    assert np.abs(np.linalg.norm(embedder.encode_text(["a red circle"]), axis=1) - 1).max() < 1e-5


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({}, "holds 0: these dev images do not show which is better."),
        ({"training__learning_rate": 1e-9, "data__source": "shapes:400"}, "Try the recipe closed-form"),
    ],
)
def test_heads_that_hold_no_closed_formula_are_compared_with_it(
    settings: dict[str, Any], advice: str, tmp_path: Path
) -> None:
    summary = pairjepa.train(config("masked", training__epochs=1, **settings), None, tmp_path / "run").summary
    assert summary is not None
    assert summary["cca_corrected_dev_rsum"] > summary["corrected_dev_rsum"]
    assert "the closed formula at" in summary["warnings"][-1]
    assert advice in summary["warnings"][-1]


HOLDS = {"model__predictor__kind": "residual"}
"""Heads that CCA can be mixed into."""


def test_heads_that_learn_nothing_give_way_to_the_closed_formula(tmp_path: Path) -> None:
    bad = config(training__learning_rate=1e-9, training__epochs=1, **HOLDS)
    run = pairjepa.train(bad, None, tmp_path / "run")
    summary = run.summary
    assert summary is not None
    assert (summary["best_epoch"], summary["closed_form_share"]) == (0, 1.0)
    assert summary["closed_form_shares"]["0"]["corrected"] < summary["corrected_dev_rsum"]
    (warning,) = summary["warnings"]
    assert "The closed formula is better on dev" in warning
    found = pairjepa.evaluate(run.path, "dev")
    assert found["rsum"] == summary["dev_rsum"]
    assert found["corrected"]["rsum"] == pytest.approx(summary["corrected_dev_rsum"])
    other = pairjepa.train(recipe("closed-form", CLOSED), None, tmp_path / "closed")
    assert pairjepa.evaluate(other.path, "dev")["rsum"] == found["rsum"]


def test_a_tuned_backbone_under_the_closed_formula_is_that_of_its_epoch(tmp_path: Path) -> None:
    settings = {"training__learning_rate": 1e-9, "model__text_lr_scale": 0.5, "training__tuned_epochs": 1}
    summary = pairjepa.train(config(**HOLDS | settings), None, tmp_path / "run").summary
    assert summary is not None
    assert summary["closed_form_share"] == 1
    best = max(RunFolder(tmp_path / "run").metrics(), key=lambda line: line["dev"]["rsum"])
    assert summary["best_epoch"] == best["epoch"]


def test_a_share_given_by_hand_is_not_called_the_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = config("masked", model__predictor__kind="gated", model__closed_form_share=1.0)
    summary = pairjepa.train(given, None, tmp_path / "run").summary
    assert summary is not None
    assert summary["best_epoch"] > 0
    assert summary["warnings"] == []
    assert "with a share of 1, as given (model.closed_form_share)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("contrastive", {}),
        ("masked", {"model__predictor__kind": "gated"}),
        ("contrastive", {"model__text_lr_scale": 0.5, "training__tuned_epochs": 1}),
    ],
)
def test_a_share_of_the_closed_formula_is_a_share_of_its_scores(
    name: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    """Oracle: outputs of the heads and of CCA, each at its own size, one turned onto the other and added."""
    given = config(name, **HOLDS | settings, data__source="shapes:200", model__image_views=("whole",))
    found = {}
    for share in (0.0, 0.25, 1.0):
        one = override(given, {"model.closed_form_share": share})
        run = pairjepa.train(one, None, tmp_path / f"{share}")
        assert run.summary is not None
        assert (share == 0) or run.summary["closed_form_share"] == share
        embedder = pairjepa.Embedder.load(run)
        pairs = Pairs.open("shapes:200").split("train")
        images = embedder.encode_image([pairs.image(row) for row in range(len(pairs.names))])
        found[share] = images, embedder.encode_text(pairs.captions.to_pylist())
    for side in (0, 1):
        heads, mixed, cca = (found[share][side] for share in (0.0, 0.25, 1.0))
        # one row is between the two: their plane holds it, nearer to the heads
        basis = np.linalg.qr(np.stack([heads, cca], axis=2))[0]
        outside = mixed - np.einsum("rdk,rk->rd", basis, np.einsum("rdk,rd->rk", basis, mixed))
        assert np.linalg.norm(outside, axis=1).max() < 1e-3
        assert ((mixed * heads).sum(1) > (mixed * cca).sum(1)).mean() > 0.9
    whole, part = (np.concatenate(found[share]) for share in (0.0, 1.0))
    # turned towards the heads: no other rotation is nearer
    u, _, v = np.linalg.svd(part.T @ whole)
    assert np.trace(part.T @ whole) == pytest.approx(np.trace((part @ u @ v).T @ whole), rel=0.05)


def test_the_share_is_the_best_on_dev_and_set_by_hand(tmp_path: Path) -> None:
    run = pairjepa.train(
        config(**HOLDS, training__epochs=6, data__source="shapes:300"), None, tmp_path / "run"
    )
    assert run.summary is not None
    shares, share = run.summary["closed_form_shares"], run.summary["closed_form_share"]
    assert set(shares) == {"0", "0.25", "0.5", "0.75", "1"}
    chosen = shares[f"{share:g}"]
    assert chosen["corrected"] >= shares["1"]["corrected"]
    assert run.summary["corrected_dev_rsum"] == pytest.approx(chosen["corrected"], abs=1)
    found = pairjepa.evaluate(run.path, "dev")
    assert found["rsum"] == run.summary["dev_rsum"]
    with pytest.raises(UsageError, match=r"model\.closed_form_share must go with frozen images and heads"):
        config(model__closed_form_share=0.5).validate()


def test_a_kill_behind_the_mixing_mixes_no_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = config(**HOLDS, model__closed_form_share=0.5)
    whole = pairjepa.train(given, None, tmp_path / "whole")

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            pairjepa.train(given, None, tmp_path / "killed")
    again = pairjepa.train(given, None, tmp_path / "killed")
    assert whole.summary is not None
    assert again.summary is not None
    assert again.model_file.read_bytes() == whole.model_file.read_bytes()
    assert again.summary | {"cost": None} == whole.summary | {"cost": None}


def test_two_image_backbones_stand_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--data", "shapes:100", "--model.text", "tiny-bert", "--model.dim", "16", "--run"]
    for name, image in (("one", ["tiny-resnet"]), ("two", ["tiny-resnet", "tiny-resnet"])):
        assert main(["train", "closed-form", "--model.image", *image, *flags, str(tmp_path / name)]) == 0
    one, two = (pairjepa.Embedder.load(tmp_path / name) for name in ("one", "two"))
    assert two.image.width == 2 * one.image.width
    assert two.config.model.image == ("tiny-resnet", "tiny-resnet")
    picture = Image.effect_noise((50, 40), 80).convert("RGB")
    pixels = torch.from_numpy(two.image.prepare(picture, "whole")[None])
    alone = one.image(one.image.normalise(pixels[..., :3]))
    torch.testing.assert_close(two.image(two.image.normalise(pixels)), torch.cat([alone, alone], dim=1))
    pairjepa.evaluate(tmp_path / "two", "dev")
    names = EmbeddingSet.load(tmp_path / "two" / "embeddings" / "dev")
    pairs = Pairs.open("shapes:100").split("dev")
    assert names.image[:3] == pytest.approx(
        two.encode_image([pairs.image(row) for row in range(3)]), abs=1e-4
    )
    export_onnx(two, tmp_path / "onnx")  # and compares
    again = recipe("closed-form", CLOSED | {"model.image": ["tiny-resnet", "tiny-resnet"]})
    assert pairjepa.train(again, None, tmp_path / "two").path == tmp_path / "two"
    with pytest.raises(UsageError, match=r"model\.image_lr_scale must not be given beside several"):
        override(again, {"model.image_lr_scale": 0.1}).validate()


def test_an_ensemble_has_the_mean_of_the_cosines_as_its_score(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairjepa.train(config(training__seed=1), None, tmp_path / "other")
    runs = [str(run), str(tmp_path / "other")]
    export = tmp_path / "embeddings"
    assert main(["evaluate", *runs, "--split", "dev", "--ensemble", "--json", "--export", str(export)]) == 0
    found = json.loads(capsys.readouterr().out)
    together, first = EmbeddingSet.load(export), pairjepa.evaluate(run, "dev")
    for one in runs[1:]:
        pairjepa.evaluate(one, "dev")
    sides = [EmbeddingSet.load(Path(one) / "embeddings" / "dev") for one in runs]
    cosines = np.mean([one.image @ one.text.T for one in sides], axis=0)
    assert np.abs(together.image @ together.text.T - cosines).max() < 1e-5
    assert found["baselines"]["cca"] == first["baselines"]["cca"]
    assert found["corrected"]["rsum"] >= found["rsum"]
    assert main(["evaluate", *runs, "--split", "dev"]) == 2
    assert "evaluate must have one run, got 2. Give --ensemble" in capsys.readouterr().err
    assert main(["evaluate", *runs, "--split", "dev", "--ensemble"]) == 0
    assert "\nensemble " in capsys.readouterr().out
    assert main(["evaluate", runs[0], "--ensemble"]) == 2
    assert "--ensemble must have at least two runs, got 1" in capsys.readouterr().err
    assert main(["evaluate", *runs, "--ensemble", "--hard-negatives", "file.json"]) == 2
    assert "--hard-negatives must be given with one run" in capsys.readouterr().err


def test_evaluate_prints_one_object_with_exactly_these_keys(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(run), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result) == KEYS
    assert set(result["image_to_text"]) == set(result["text_to_image"]) == DIRECTION
    assert set(result["baselines"]) == {"chance", "cca", "ridge_to_text", "ridge_to_image"}
    assert set(result["align_or_predict"]) == {"ridge_to_text", "ridge_to_image"}
    assert set(result["baselines"]["cca"]) == {
        "image_to_text",
        "text_to_image",
        "rsum",
        "rsum_ci",
        "corrected",
    }
    for corrected in (result["corrected"], result["baselines"]["cca"]["corrected"]):
        assert set(corrected) == {
            "image_to_text",
            "text_to_image",
            "rsum",
            "rsum_ci",
            "alpha",
            "k",
            "over_plain",
        }
    recalls = [result[way][f"R@{k}"] for way in ("image_to_text", "text_to_image") for k in (1, 5, 10)]
    assert result["rsum"] == pytest.approx(sum(recalls))
    assert (result, True) == unsigned(json.loads((run / "evaluation" / "test.json").read_text("utf-8")))


def test_cca_is_fitted_once_and_anew_where_it_is_of_other_features(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(run, tmp_path / "run")
    first = pairjepa.evaluate(tmp_path / "run")["baselines"]["cca"]
    kept = tmp_path / "run" / "closed-forms.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr("pairjepa.metrics.baselines.Correlations.fit", None)
        assert pairjepa.evaluate(tmp_path / "run")["baselines"]["cca"] == first
        kept.unlink()
        with pytest.raises(TypeError):
            pairjepa.evaluate(tmp_path / "run")
    tensors = {"correlations": torch.zeros(3)}
    write_tensors(tensors, kept, {"made_of": "other features"})
    assert pairjepa.evaluate(tmp_path / "run")["baselines"]["cca"] == first
    kept.write_bytes(b"damaged")
    with pytest.raises(PairJEPAError, match="Remove it, and evaluate the run again"):
        pairjepa.evaluate(tmp_path / "run")


def test_a_run_that_is_complete_is_left_as_it_is(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    pairjepa.train(config(), None, run)
    assert "is complete" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in run.iterdir() if path.is_file()}


def test_a_split_is_measured_against_its_own_pairs(run: Path) -> None:
    pairs = Pairs.open("shapes:100")
    for split in ("train", "dev", "test"):
        result = pairjepa.evaluate(run, split)
        assert (result["images"], result["captions"]) == pairs.splits[split]


def test_dev_figures_of_the_best_epoch_are_those_of_evaluate(run: Path) -> None:
    """The very weights that the epoch was chosen for are the ones that are kept and evaluated."""
    folder = RunFolder(run)
    assert folder.summary is not None
    assert pairjepa.evaluate(run, "dev")["rsum"] == pytest.approx(folder.summary["dev_rsum"])


def test_of_a_large_dev_split_some_images_are_measured_after_each_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pairjepa.training.train.DEV_IMAGES", 4)
    done = pairjepa.train(config(training__epochs=1), None, tmp_path / "run")
    assert done.metrics()[0]["possible_rank"]["prediction"] == 3
    assert pairjepa.evaluate(tmp_path / "run", "dev")["images"] > 4


def test_export_and_relevance_by_text(run: Path, tmp_path: Path) -> None:
    result = pairjepa.evaluate(run, "test", export=tmp_path / "out", relevance="text")
    assert result["relevance"] == "text"
    assert (run / "evaluation" / "test-text.json").is_file()
    found = EmbeddingSet.load(tmp_path / "out")
    pairs = Pairs.open("shapes:100").split("test")
    assert (found.names, found.captions) == (pairs.names, pairs.captions.to_pylist())
    assert found.owner.tolist() == pairs.owner.tolist()
    assert found.image.dtype == found.text.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found.image, axis=1), 1, atol=1e-5)


UPPER = {
    "model__text_lr_scale": 0.5,
    "model__text_frozen_layers": 1,
    "training__epochs": 2,
    "training__tuned_epochs": 1,
}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("contrastive", {}),
        (
            "contrastive",
            {"model__image_lr_scale": 1.0, "model__text_lr_scale": 0.1, "model__image_views": ["whole"]},
        ),
        ("masked", {"model__text_lr_scale": 1.0}),
        ("contrastive", UPPER),
        ("masked", UPPER),
    ],
    ids=["frozen", "tuned", "masked", "upper layers", "masked, upper layers"],
)
def test_the_embedder_gives_what_was_evaluated(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    """It is given no captions, so that a masked model's image-only queries have seen none in the evaluation."""
    pairjepa.train(config(name, **{"training__epochs": 1, **settings}), None, tmp_path / "run")
    pairjepa.evaluate(tmp_path / "run", "test")
    kept = EmbeddingSet.load(tmp_path / "run" / "embeddings" / "test")
    embedder = pairjepa.Embedder.load(tmp_path / "run")
    pairs = Pairs.open("shapes:100").split("test")
    images = embedder.encode_image([pairs.image(row) for row in range(pairs.n_images)])
    np.testing.assert_allclose(images, kept.image, atol=1e-5)
    np.testing.assert_allclose(embedder.encode_text(pairs.captions.to_pylist()), kept.text, atol=1e-5)


def test_upper_layers_learn_after_the_heads_and_lower_ones_never(tmp_path: Path) -> None:
    """Until then the run is that of frozen backbones to the bit; frozen layers and embeddings keep their weights."""
    settings = UPPER | {"training__epochs": 3, "training__tuned_epochs": 1}
    tuned = pairjepa.train(config(**settings), None, tmp_path / "tuned")
    heads = pairjepa.train(config(model__text_layers=[1], training__epochs=2), None, tmp_path / "heads")
    for one, other in zip(tuned.metrics()[:2], heads.metrics(), strict=True):
        assert one["loss"] == other["loss"]
        assert one["dev"] == other["dev"]
    from safetensors.numpy import load_file

    before = load_file(tmp_path / "tuned" / "text" / "model.safetensors")
    after = load_file(tmp_path / "tuned" / "model.safetensors")
    changed = {name for name, old in before.items() if not np.array_equal(after[f"text.model.{name}"], old)}
    best = tuned.summary["best_epoch"] if tuned.summary else None
    assert all(name.startswith("encoder.layer.1.") for name in changed)
    assert bool(changed) == (best == 3)
    assert (
        tuned.metrics()[2]["learning_rate"] > tuned.metrics()[1]["learning_rate"]
    )  # a schedule of their own


def test_a_run_that_cannot_be_written_is_known_before_the_work(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(copied / "evaluation", ignore_errors=True)
    (copied / "evaluation").touch()
    monkeypatch.setattr(
        "pairjepa.evaluation.evaluate.measure", lambda *_, **__: pytest.fail("it was measured")
    )
    with pytest.raises(PairJEPAError, match=r"evaluation.dev\.json cannot be written"):
        pairjepa.evaluate(copied, "dev")


def test_a_masked_run_says_that_it_keeps_an_early_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    measured = loop.Trainer._measured_epoch

    def first(self: Any, epoch: int, *rest: Any) -> Any:
        line = measured(self, epoch, *rest)
        return line if epoch == 1 else line | {"dev": line["dev"] | {"rsum": 0.0}}

    monkeypatch.setattr(loop.Trainer, "_measured_epoch", first)
    settings = {"data.source": "shapes:60", "training.epochs": 3}
    pairjepa.train(pairjepa.recipe("tiny-masked", settings), None, tmp_path / "run")
    assert "kept is epoch 1 of 3, the best on dev by the image alone" in capsys.readouterr().err


def test_tuning_that_helps_nothing_keeps_what_the_heads_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """At default settings heads learn first, as on frozen backbones; then the tuned epochs are worse on dev here."""
    folder = save_model(IMAGE_CONFIGS["resnet"](), tmp_path / "resnet")
    given = {"model__image": str(folder), "model__image_views": ["whole"], "training__epochs": 3}
    frozen = pairjepa.train(config(**given | {"training__epochs": 2}), None, tmp_path / "frozen")
    measured = loop.Trainer._measured_epoch

    def worse(self: Any, epoch: int, *rest: Any) -> Any:
        line = measured(self, epoch, *rest)
        return line if epoch < 3 else line | {"dev": line["dev"] | {"rsum": 0.0}}

    monkeypatch.setattr(loop.Trainer, "_measured_epoch", worse)
    tuned = pairjepa.train(config(**given, model__image_lr_scale=0.1), None, tmp_path / "tuned")
    for one, other in zip(tuned.metrics(), frozen.metrics(), strict=False):
        assert (one["loss"], one["dev"]) == (other["loss"], other["dev"])
    assert tuned.metrics()[2]["loss"] != tuned.metrics()[1]["loss"]
    assert tuned.summary is not None
    assert frozen.summary is not None
    kept = tuned.summary["best_epoch"]
    assert (kept, tuned.summary["dev_rsum"]) == (frozen.summary["best_epoch"], frozen.summary["dev_rsum"])
    said = f"tuning did not improve dev: kept is epoch {kept}, with heads on frozen backbones."
    assert said in capsys.readouterr().err
    before, after = (pairjepa.Embedder.load(run.path) for run in (frozen, tuned))
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(before.image(pixels), after.image(pixels))


def text_folder_without_dropout(folder: Path) -> Path:
    """A Transformers folder of a text model that computes the same in training as in evaluation."""
    from pairjepa.backbones.text import TextBackbone
    from pairjepa.backbones.tiny import tiny_bert

    model, tokenizer = tiny_bert(Pairs.open("shapes:100").captions.to_pylist(), 32, 0)
    model.config.hidden_dropout_prob = model.config.attention_probs_dropout_prob = 0.0
    TextBackbone(model, tokenizer, "mean", 32, None).save(folder)
    return folder


def test_cached_gradients_train_the_same_model(tmp_path: Path) -> None:
    text = str(text_folder_without_dropout(tmp_path / "bert"))
    settings = {"model__text": text, "model__text_lr_scale": 1.0}
    lines = []
    for micro in (None, 7):
        folder = pairjepa.train(
            config(**settings, training__micro_batch=micro), None, tmp_path / f"run-{micro}"
        )
        lines.append([line["loss"] for line in folder.metrics()])
    assert lines[0] == pytest.approx(lines[1], rel=1e-4)
    assert lines[0][0] != lines[0][1]


def test_the_control_of_a_masked_run_never_meets_an_image(tmp_path: Path) -> None:
    """The tuned text backbone of the control starts where the run's started, not where it ended."""
    masked = config("masked", model__text_lr_scale=1.0, training__epochs=1)
    pairjepa.train(masked, None, tmp_path / "run")
    alone = replace(masked, context=replace(masked.context, image=False))
    pairjepa.train(alone, None, tmp_path / "alone")
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("run/text-only", "alone")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("tune", [None, 1.0], ids=["frozen", "tuned"])
def test_a_masked_run_has_partial_queries_with_their_controls(tune: float | None, tmp_path: Path) -> None:
    pairjepa.train(config("masked", model__text_lr_scale=tune), None, tmp_path / "run")
    result = pairjepa.evaluate(tmp_path / "run")
    assert set(result) == KEYS | {"partial"}
    assert list(result["partial"]) == ["0.0", "0.3", "0.6", "0.9"]
    for row in result["partial"].values():
        assert {"R@1", "R@1_ci", "shuffled", "text_only"} <= set(row)
        assert {"R@1"} <= set(row["shuffled"]) & set(row["text_only"])
    # The control's weights must not stand in for the run's.
    (tmp_path / "run" / "text-only").rename(tmp_path / "elsewhere")
    alone = pairjepa.evaluate(tmp_path / "run")
    assert alone["partial"]["0.6"]["text_only"] is None
    for ratio, row in result["partial"].items():
        assert alone["partial"][ratio]["R@1"] == row["R@1"]
        assert alone["partial"][ratio]["shuffled"] == row["shuffled"]


def test_a_text_only_run_is_chosen_by_its_own_queries(tmp_path: Path) -> None:
    folder = pairjepa.train(config("masked", context__image=False), None, tmp_path / "run")
    assert not (tmp_path / "run" / "text-only").exists()
    assert folder.metrics()[-1]["dev"]["rsum"] > 0


def own_pairs(rows: int = 60) -> Pairs:
    """Pairs that no source has read: a colour and its name, 1 to 3 captions an image."""

    def png(row: int) -> bytes:
        file = io.BytesIO()
        Image.new("RGB", (20, 24), (row * 4, 0, 255 - row * 4)).save(file, "PNG")
        return file.getvalue()

    split = ["train"] * (rows - 20) + ["dev"] * 10 + ["test"] * 10
    table = pa.table(
        {
            "name": [f"image {row}" for row in range(rows)],
            "path": pa.nulls(rows, pa.string()),
            "bytes": pa.array([png(row) for row in range(rows)], pa.large_binary()),
            "split": split,
            "captions": [[f"colour {row} of {k}" for k in range(row % 3 + 1)] for row in range(rows)],
        }
    )
    return Pairs(table, "colours")


def test_pairs_that_are_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = own_pairs()
    pairs.problems.add("captions in Klingon (dropped)", ["image 3", "image 4"])
    given = config(data__source=None)
    pairjepa.train(given, pairs, tmp_path / "run")
    assert "warning: captions in Klingon (dropped): 2, such as image 3." in capsys.readouterr().err
    result = pairjepa.evaluate(tmp_path / "run", pairs=pairs)
    assert "warning: captions in Klingon (dropped): 2" in capsys.readouterr().err
    assert (result["images"], result["captions"]) == (10, len(pairs.split("test")))
    with pytest.raises(UsageError, match=r"data\.source must name the pairs, got none"):
        pairjepa.evaluate(tmp_path / "run")
    with pytest.raises(PairJEPAError, match="must be those it was trained on: 60 images"):
        pairjepa.evaluate(tmp_path / "run", pairs=own_pairs(57))


def test_too_few_images_are_said_before_anything_is_made(tmp_path: Path) -> None:
    pairs = own_pairs(21)  # one of train
    with pytest.raises(PairJEPAError, match="The train split must hold at least 2 images, got 1"):
        pairjepa.train(config(), pairs, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_no_number_stops_the_training(tmp_path: Path) -> None:
    wild = override(config(), {"training.learning_rate": 1e30, "training.warmup": 0.0})
    with pytest.raises(
        PairJEPAError, match=r"The loss must stay finite, got nan at step \d+.*training\.learning_rate"
    ):
        pairjepa.train(wild, None, tmp_path / "run")


def test_an_unreadable_share_is_refused_before_the_training(tmp_path: Path) -> None:
    pairs = own_pairs()
    data = pairs.table["bytes"].to_pylist()
    broken = pairs.table.set_column(
        pairs.table.column_names.index("bytes"), "bytes", pa.array([b"", *data[1:]], pa.large_binary())
    )
    run = tmp_path / "run"
    with pytest.raises(PairJEPAError, match=r"--data\.max-bad"):
        pairjepa.train(config(data__max_bad=0.01), Pairs(broken, "colours"), run)
    assert not run.exists()
    pairjepa.train(config(training__epochs=1), Pairs(broken, "colours"), run)
    assert RunFolder(run).record["data"]["unreadable"] == 1


def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")


def safetensors_on_a_full_disk(*_: Any, **__: Any) -> None:
    from safetensors import SafetensorError

    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def metrics_on_a_full_disk(path: Path, mode: str = "r", **options: Any) -> Any:
    if mode == "a":
        full_disk()
    return open(path, mode, **options)


@pytest.mark.parametrize(
    ("where", "fail"),
    [
        ("pairjepa.pairs.scan.write_table", full_disk),
        ("pairjepa.features.cache.np.save", full_disk),
        ("pairjepa.run.folder.write_record", full_disk),
        ("pairjepa.util.arrays.save_file", safetensors_on_a_full_disk),
        ("pathlib.Path.open", metrics_on_a_full_disk),
    ],
    ids=["scan", "features", "run.json", "weights", "metrics"],
)
def test_a_full_disk_is_one_sentence(
    where: str,
    fail: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PAIRJEPA_CACHE", str(tmp_path / "cache"))
    with monkeypatch.context() as patch:
        patch.setattr(where, fail)
        assert main(command(tmp_path / "run")) == 1
    lines = capsys.readouterr().err.splitlines()
    said = [line for line in lines if "No space left on device" in line]
    assert len(said) == 1
    assert said[0].startswith("error: ")
    assert str(tmp_path) in said[0]
    assert main(command(tmp_path / "run")) == 0, "after room was made it goes on"


def test_a_full_disk_at_the_embeddings_is_one_sentence(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairjepa.evaluate(run)  # all features are in the cache

    def requested(*_: Any, **__: Any) -> None:
        raise OSError("1200 requested and 0 written")  # NumPy's words

    monkeypatch.setattr("pairjepa.evaluation.embedding_set.np.save", requested)
    with pytest.raises(
        PairJEPAError, match=f"{run}.* cannot be written: 1200 requested and 0 written. Make room"
    ):
        pairjepa.evaluate(run)


def command(run: Path, name: str = "contrastive") -> list[str]:
    names = {key: "data" if key == "data.source" else key.replace("_", "-") for key in SMALL}
    flags = [word for key, value in SMALL.items() for word in (f"--{names[key]}", str(value))]
    return ["train", name, "--run", str(run), *flags]


def test_inspect_says_before_training_whether_to_align_or_predict(capsys: pytest.CaptureFixture[str]) -> None:
    backbones = ["--model.image", "tiny-resnet", "--model.text", "tiny-bert"]
    assert main(["inspect", "shapes:100", "--probe", *backbones, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["probe"]
    assert set(found["baselines"]) == {"chance", "cca", "ridge_to_text", "ridge_to_image"}
    assert found["split"] == "dev"
    gap = found["baselines"]["cca"]["rsum"] - found["baselines"]["ridge_to_text"]["rsum"]
    assert found["align_or_predict"]["ridge_to_text"]["rsum_difference"] == pytest.approx(gap)
    assert f"rsum {gap:+.1f} over ridge regression image → caption" in found["note"]


def test_inspect_counts_the_tokens_of_a_text_backbone() -> None:
    """Exactly, and beyond the cut: a caption of more tokens than any model takes is still counted."""
    from pairjepa.apps import inspect as inspection
    from pairjepa.config.settings import DataConfig

    report = inspection.inspect(DataConfig(source="shapes:40"), "tiny-bert", max_tokens=5)
    estimated = inspection.inspect(DataConfig(source="shapes:40"), None, max_tokens=5)
    assert report["caption_length"]["tokens_estimated"] is False
    assert estimated["caption_length"]["tokens_estimated"] is True
    assert report["caption_length"]["share_cut"] > 0.5
    assert report["caption_length"]["tokens"]["max"] > 5


def test_train_says_what_the_text_backbone_does_not_see(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = Pairs.open("shapes:24")
    (tmp_path / "images").mkdir()
    lines = ["image,caption,split"]
    for row in range(24):
        drawn.image(row).save(tmp_path / "images" / f"{row}.png")
        split = "train" if row < 16 else "dev"
        words = "a long caption" if split == "train" else f"unknown{row} unheard{row} unseen{row}"
        lines.append(f"images/{row}.png,{words} with number {row},{split}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    pairjepa.train(
        config(data__source=str(tmp_path / "t.csv"), model__max_tokens=6, training__epochs=1),
        None,
        tmp_path / "run",
    )
    said = capsys.readouterr().err
    assert "of the captions' tokens are unknown to the text backbone" in said
    assert "100.0% of the captions are cut at 6 tokens, and 15 of them are then equal to another one" in said
    assert said.index("equal to another one") < said.index("features")
