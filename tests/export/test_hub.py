"""A folder for the hub: whole by itself, with a card of the run's own numbers, and nothing of the machine in it."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from httpx import Request, Response
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

import pairjepa
from pairjepa.apps.export.hub import check_name, export_hub, push
from pairjepa.backbones.tiny import tiny_bert, tiny_preprocessing, tiny_resnet
from pairjepa.embedder.embedder import Embedder
from pairjepa.pairs.pictures import Picture
from pairjepa.run.folder import RunFolder
from pairjepa.util.checksums import KEY, write_record
from pairjepa.util.errors import PairJEPAError, UsageError

from .conftest import CAPTIONS, SMALL

NAME = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on backbones of folders, which it does not hold itself; evaluated."""
    base = tmp_path_factory.mktemp("hub")
    tiny_resnet(0).save_pretrained(base / "my-image")  # type: ignore[operator]
    how = tiny_preprocessing()
    (base / "my-image" / "preprocessor_config.json").write_text(
        json.dumps({"size": {"height": how.size, "width": how.size}, "image_mean": 0.5, "image_std": 0.5})
    )
    model, tokenizer = tiny_bert(["a red circle above a large blue square"], 32, 0)
    model.save_pretrained(base / "my-text")  # type: ignore[operator]
    tokenizer.save_pretrained(base / "my-text")
    photos = base / "photos" / NAME.replace("/", "∕")
    photos.mkdir(parents=True)
    pairs = pairjepa.Pairs.open("shapes:60")
    captions = pairs.captions.to_pylist()
    for row in range(60):
        pairs.image(row).save(photos / f"{row}.png")
        own = [caption for caption, owner in zip(captions, pairs.owner, strict=True) if owner == row]
        (photos / f"{row}.txt").write_text("\n".join(own))
    values = {
        "data.source": str(photos),
        "model.image": str(base / "my-image"),
        "model.text": str(base / "my-text"),
    }
    pairjepa.train(pairjepa.recipe("masked", SMALL | values), None, base / "run")
    pairjepa.evaluate(base / "run")
    return base / "run"


@pytest.fixture(scope="module")
def folder(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("out") / "model"
    export_hub(Embedder.load(run), path, licence="apache-2.0")
    return path


def test_it_is_whole_by_itself(run: Path, folder: Path, pictures: Sequence[Picture], tmp_path: Path) -> None:
    ours = Embedder.load(run)
    hidden = {run.parent / name: tmp_path / name for name in ("my-image", "my-text")}
    for source, target in hidden.items():
        source.rename(target)
    try:
        theirs = Embedder.from_pretrained(folder)
        with pytest.raises(
            PairJEPAError, match=r"my-image.*does not hold itself: put it, or a link to it.*--to hub"
        ):
            Embedder.load(run)
    finally:
        for source, target in hidden.items():
            target.rename(source)
    np.testing.assert_allclose(theirs.encode_image(pictures), ours.encode_image(pictures), atol=1e-6)
    np.testing.assert_allclose(theirs.encode_text(CAPTIONS), ours.encode_text(CAPTIONS), atol=1e-6)
    assert theirs.temperature == ours.temperature


def test_nothing_of_the_machine_and_no_pickle(run: Path, folder: Path) -> None:
    for file in (file for file in folder.rglob("*") if file.is_file()):
        assert file.suffix in {".json", ".jsonl", ".safetensors", ".md"}
        assert str(run.parent).encode() not in file.read_bytes()


def test_no_setting_names_a_folder_of_the_machine(run: Path, tmp_path: Path) -> None:
    """Whichever it is: where the images are, what the training started from, or was taught by."""
    shutil.copytree(run, tmp_path / "run")
    record = {key: value for key, value in RunFolder(run).record.items() if key != KEY}
    record["config"]["data"]["images"] = "/home/me/pictures"
    record["config"]["training"] |= {"start": "/home/me/runs/a", "teachers": ["/home/me/runs/b"]}
    record["config"]["objective"]["weights"]["distillation"] = 1.0
    write_record(tmp_path / "run" / "run.json", record)
    export_hub(Embedder.load(tmp_path / "run"), tmp_path / "out", licence="apache-2.0")
    config = RunFolder(tmp_path / "out").config
    assert "/home/me" not in (tmp_path / "out" / "run.json").read_text()
    assert (config.data.images, config.training.start, config.training.teachers) == ("pictures", "a", ("b",))
    assert config.model.image_views == RunFolder(run).config.model.image_views


def test_the_card_has_the_runs_own_numbers(run: Path, folder: Path) -> None:
    card = (folder / "README.md").read_text()
    result = json.loads((run / "evaluation" / "test.json").read_text())
    recall, (low, high) = (result["image_to_text"][key] for key in ("R@1", "R@1_ci"))
    assert f"{recall:.1f} [{low:.1f}, {high:.1f}]" in card
    for words in (
        "CCA",
        "caption hidden",
        "seed 0",
        "my-image",
        "trained parameters",
        "`apache-2.0`",
        "[MASK]",
    ):
        assert words in card
    assert "```python\nimport pairjepa\n\nembedder = " in card
    assert "<script>" not in card.split("---")[2]
    assert "&lt;script&gt;" in card
    metadata = huggingface_hub.ModelCard(card).data
    assert (metadata.license, metadata.library_name) == ("apache-2.0", "pairjepa")
    assert {one.metric_name: one.metric_value for one in metadata.eval_results or []}[
        "rsum"
    ] == pytest.approx(result["rsum"], abs=0.01)


def test_a_run_that_was_not_evaluated_says_so(contrastive: Path, tmp_path: Path) -> None:
    unmeasured = tmp_path / "run"
    shutil.copytree(contrastive, unmeasured, ignore=shutil.ignore_patterns("evaluation", "summary.json"))
    export_hub(Embedder.load(unmeasured), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    for words in ("It was not evaluated", "was not complete", "Not stated", "of no use for photographs"):
        assert words in card
    assert "license" not in card.split("---")[1]


def test_a_tuned_run_keeps_what_it_became(tmp_path: Path, pictures: Sequence[Picture]) -> None:
    run = pairjepa.train(pairjepa.recipe("tiny", SMALL), None, tmp_path / "run")
    embedder = Embedder.load(run)
    export_hub(embedder, tmp_path / "out")
    shutil.rmtree(run.path)
    np.testing.assert_allclose(
        Embedder.from_pretrained(tmp_path / "out").encode_image(pictures[:3]),
        embedder.encode_image(pictures[:3]),
        atol=1e-6,
    )


def test_weights_that_lack_something_are_refused(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    weights = load_file(broken / "model.safetensors")
    weights.pop(next(iter(weights)))
    save_file(weights, broken / "model.safetensors")
    with pytest.raises(PairJEPAError, match="must hold the weights of this run's model"):
        Embedder.from_pretrained(broken)


class Hub:
    """The boundary: what would go to the hub and what comes from it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.calls = error, list[tuple[Any, ...]]()

    def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> huggingface_hub.RepoUrl:
        self.calls.append(("create", name, private, exist_ok))
        if self.error:
            raise self.error
        return huggingface_hub.RepoUrl(f"https://huggingface.co/{name}")

    def upload_folder(self, *, folder_path: Path, repo_id: str, commit_message: str) -> None:
        self.calls.append(("upload", repo_id, sorted(path.name for path in Path(folder_path).iterdir())))


def test_push(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub()
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    assert push(folder, "me/model", private=True) == "https://huggingface.co/me/model"
    assert hub.calls[0] == ("create", "me/model", True, True)
    assert hub.calls[1][:2] == ("upload", "me/model")
    assert {"README.md", "model.safetensors", "run.json", "image", "text"} <= set(hub.calls[1][2])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (LocalTokenNotFoundError("no token"), "must be logged in.*hf auth login"),
        (ConnectionError("no route"), r"cannot be reached \(ConnectionError\)"),
        (
            HfHubHTTPError("no", response=Response(403, request=Request("POST", "https://huggingface.co"))),
            "did not take .* as me/model .HTTP status 403.*hf auth login",
        ),
        (
            HfHubHTTPError("no", response=Response(503, request=Request("POST", "https://huggingface.co"))),
            "HTTP status 503.*Try again",
        ),
    ],
)
def test_a_push_that_fails(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: Hub(error))
    with pytest.raises(PairJEPAError, match=words):
        push(folder, "me/model")


def test_offline(folder: Path) -> None:
    with pytest.raises(PairJEPAError, match="hub cannot be reached"):
        push(folder, "me/model")
    with pytest.raises(PairJEPAError, match=r"'me/nosuch' is no folder here.*hub cannot be reached"):
        Embedder.from_pretrained("me/nosuch")


def test_from_the_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def snapshot(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, revision, allow_patterns))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert Embedder.from_pretrained("me/model", revision="v1").dim == 16
    assert asked == [("me/model", "v1", ["*.json", "*.jsonl", "*.safetensors"])]


@pytest.mark.parametrize("name", ["model", "me/my model", "me/model/again", ""])
def test_names_that_the_hub_has_not(name: str) -> None:
    with pytest.raises(UsageError, match="--push must be user/name"):
        check_name(name)


@pytest.mark.parametrize("name", ["summary.json", "image/config.json", "evaluation/test.json", "text"])
def test_no_link_of_a_run_is_followed_into_what_is_published(folder: Path, tmp_path: Path, name: str) -> None:
    theirs = tmp_path / "run"
    shutil.copytree(folder, theirs)
    embedder = Embedder.load(theirs)
    (theirs / name).rename(tmp_path / "mine")
    (theirs / name).symlink_to(tmp_path / "mine")
    with pytest.raises(PairJEPAError, match=f"{name} must be a file to be published, got a link to .*mine"):
        export_hub(embedder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_link_beside_the_model_is_pushed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub()
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    shutil.copytree(folder, tmp_path / "out")
    (tmp_path / "out" / "image" / "notes.json").symlink_to(folder / "run.json")
    with pytest.raises(PairJEPAError, match=r"notes\.json must be a file to be published"):
        push(tmp_path / "out", "me/model")
    assert hub.calls == []


def test_a_run_from_the_hub_names_no_folder_of_this_machine(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(run))
    with pytest.raises(PairJEPAError, match="me/model must hold its backbones, in image and text or in pair"):
        Embedder.from_pretrained("me/model")
