"""Zero-shot labels: the probabilities, the words they are asked in, and what is said when the truth is given."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

import pairjepa
from pairjepa.apps.embed import load_encoder
from pairjepa.apps.labels.confusion import confusion, measure, table, wilson
from pairjepa.apps.labels.labels import Labels, label_images, read_labels
from pairjepa.apps.search import Index
from pairjepa.cli import main
from pairjepa.util.errors import PairJEPAError, UsageError

from . import photos

LABELS = ["circle", "square", "triangle"]


class Stub:
    """An encoder of words alone: a fixed direction a sentence."""

    dim, temperature, sees_captions, min_decode_size = 8, 0.05, False, (64, 64)

    def encode_text(self, captions: str | Sequence[str]) -> np.ndarray:
        rows = [np.random.default_rng(list(caption.encode())).normal(size=8) for caption in captions]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)

    encode_image = predict = None


def test_probabilities_are_the_softmax_of_the_mean_sentence() -> None:
    stub = Stub()
    images = stub.encode_text(["one", "two", "three", "four"])
    templates = ["a {}", "no {}, or {}"]
    labels = Labels(stub, ["dog", " cat ", "street"], templates)  # type: ignore[arg-type]
    assert labels.labels == ("dog", "cat", "street")
    for row, likely in zip(images, labels.probabilities(images), strict=True):
        logits = []
        for label in labels.labels:
            said = stub.encode_text([f"a {label}", f"no {label}, or {label}"]).sum(axis=0)
            logits.append(float(row @ said) / float(np.linalg.norm(said)) / stub.temperature)
        expected = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(likely, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("labels", "templates", "said"),
    [
        (["dog"], ["{}"], r"at least two, got 1 \('dog'\)"),
        ([], ["{}"], "at least two, got 0"),
        (["dog", "cat", "dog "], ["{}"], "differ, got 'dog' twice"),
        (["dog", " "], ["{}"], "must not be empty"),
        (["dog", "cat"], ["a photo"], r"must hold \{\} where the label goes, got 'a photo'"),
        (["dog", "cat"], [], "at least one, got none"),
    ],
)
def test_labels_and_templates_that_cannot_be(labels: list[str], templates: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Labels(Stub(), labels, templates)  # type: ignore[arg-type]


def test_labels_from_words_and_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes("\ufeffhot dog, with mustard\r\n\r\n cat \n".encode())
    assert read_labels(f"@{file}") == ["hot dog, with mustard", "cat"]
    assert read_labels("dog, cat,,street,") == ["dog", "cat", "street"]
    assert read_labels('"red, round", blue') == ["red, round", "blue"]
    assert read_labels("dog\r\n,hot\ndog") == ["dog", "hot dog"]
    with pytest.raises(UsageError, match=r"got '.*nosuch': No such file"):
        read_labels(f"@{tmp_path / 'nosuch'}")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="it is not UTF-8"):
        read_labels(f"@{file}")


@pytest.mark.parametrize(("hits", "trials"), [(0, 1), (0, 7), (7, 7), (3, 10), (512, 1000)])
def test_wilson_intervals(hits: int, trials: int) -> None:
    expected = binomtest(hits, trials).proportion_ci(method="wilson")
    np.testing.assert_allclose(wilson(hits, trials), [100 * expected.low, 100 * expected.high], atol=1e-9)


def test_confusion_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    pairs = [
        (LABELS[a], LABELS[b])
        for a, b in zip(rng.integers(2, size=50), rng.integers(3, size=50), strict=True)
    ]
    counts = confusion(pairs, LABELS)
    for row, right in enumerate(LABELS):
        for column, given in enumerate(LABELS):
            assert counts[row, column] == sum(pair == (right, given) for pair in pairs)
    measured = measure(counts, LABELS)
    assert measured["accuracy"] == pytest.approx(np.mean([100 * (a == b) for a, b in pairs]))
    circles = [given == "circle" for right, given in pairs if right == "circle"]
    assert measured["recall"]["circle"]["recall"] == pytest.approx(100 * np.mean(circles))
    assert measured["recall"]["triangle"] == {"images": 0, "recall": None, "recall_ci": None}
    recalls = [measured["recall"][label]["recall"] for label in LABELS[:2]]
    assert measured["mean_recall"] == pytest.approx(np.mean(recalls))
    assert measured["largest"] == pytest.approx(2 * max(counts.sum(axis=1)))
    assert f"accuracy {measured['accuracy']:.1f} %" in table(measured)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two folders of images named as labels, with one image that is none and a name that is not plain."""
    root = tmp_path / "images"
    photos.write(root / "circle", range(4))
    photos.write(root / "square", range(4, 20))
    (root / "circle" / "broken.png").write_bytes(b"no image")
    (root / "square" / "04.png").rename(root / "square" / 'a "b", <script>.png')
    return root


def test_images_are_labelled_and_measured(run: Path, folders: Path) -> None:
    found = label_images(run, folders, LABELS, truth="folder")
    assert [name for name, _ in found.unreadable] == ["circle/broken.png"]
    embedder = pairjepa.Embedder.load(run)
    vectors = embedder.encode_image([folders / name for name in found.names])
    expected = Labels(embedder, LABELS).probabilities(vectors)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-4)
    assert found.truth == [name.split("/")[0] for name in found.names]
    for best, row in zip(found.top(2), expected, strict=True):
        assert best[0][0] == LABELS[row.argmax()]
        assert [likely for _, likely in best] == pytest.approx(sorted(row, reverse=True)[:2], abs=1e-4)


def test_labels_that_the_text_backbone_does_not_know(
    run: Path, index: Index, folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the run, and of the ONNX model of its index, which has another tokenizer."""
    for encoder in (run, index.path / "model"):
        label_images(encoder, folders, ["红色", "绿色"])
        assert "100% of the labels' tokens are unknown to the text backbone" in capsys.readouterr().err
        label_images(encoder, folders, LABELS)
        assert "unknown" not in capsys.readouterr().err


def test_an_export_labels_the_same(run: Path, index: Index, folders: Path) -> None:
    exported = label_images(index.path / "model", folders / "circle", LABELS)
    trained = label_images(run, folders / "circle", LABELS)
    assert type(load_encoder(index.path / "model")).__name__ == "OnnxEmbedder"
    np.testing.assert_allclose(exported.probabilities, trained.probabilities, atol=1e-3)


def test_the_command(run: Path, folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "labels.csv"
    words = ["label", str(run), str(folders), "--labels", "circle,square,triangle"]
    assert main([*words, "--truth", "folder", "-k", "2", "--out", str(out), "--json"]) == 0
    printed, said = capsys.readouterr()
    record = json.loads(printed)
    assert "1 of 21 images cannot be read" in said
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [one["path"] for one in record["results"]]
    assert 'square/a "b", <script>.png' in {row["path"] for row in rows}
    for row, one in zip(rows, record["results"], strict=True):
        assert [row["label"], row["label_2"]] == [best["label"] for best in one["labels"]]
        assert float(row["probability"]) == pytest.approx(one["labels"][0]["probability"], abs=1e-6)
        assert row["truth"] == one["truth"] == row["path"].split("/")[0]
    with (tmp_path / "labels-confusion.csv").open(newline="") as file:
        matrix = [[int(cell) for cell in row[1:4]] for row in list(csv.reader(file))[1:]]
    assert matrix == record["measured"]["confusion"]
    right = sum(row["label"] == row["truth"] for row in rows)
    assert record["measured"]["accuracy"] == pytest.approx(100 * right / len(rows))

    assert main(words) == 0
    printed, said = capsys.readouterr()
    assert len(printed.splitlines()) == 20
    assert said.endswith(" --labels circle,square,triangle --out labels.csv\n")


def test_the_truth_out_of_a_table(run: Path, tmp_path: Path) -> None:
    photos.write(tmp_path, range(3))
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("image,words,kind\n00.png,a,circle\n00.png,b,circle\n01.png,c,square\n")
    found = label_images(run, pairs, LABELS, truth="kind")
    assert dict(zip(found.names, found.truth or [], strict=True)) == {"00.png": "circle", "01.png": "square"}
    with pytest.raises(PairJEPAError, match=r"one right label, got a, b for 00\.png"):
        label_images(run, pairs, LABELS, truth="words")
    with pytest.raises(UsageError, match="must be a column of"):
        label_images(run, pairs, LABELS, truth="sort")
    with pytest.raises(UsageError, match=r"column 'kind' must hold only what --labels names, got 'square'"):
        label_images(run, pairs, ["circle", "squares"], truth="kind")


def test_mistakes(run: Path, folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        UsageError, match=r"images' folders must hold only .* got 'square'.*Known: circle, disc"
    ):
        label_images(run, folders, ["circle", "disc"], truth="folder")
    with pytest.raises(UsageError, match="must give at least one image its right label"):
        label_images(run, folders / "square", LABELS, truth="folder")
    only_broken = tmp_path / "broken"
    only_broken.mkdir()
    (only_broken / "broken.png").write_bytes(b"no image")
    with pytest.raises(PairJEPAError, match="At least one image must be readable, got none"):
        label_images(run, only_broken, LABELS)
    with pytest.raises(PairJEPAError, match="is no run folder"):
        label_images(tmp_path, folders, LABELS)
    assert main(["label", str(run), str(folders), "--labels", "dog"]) == 2
    assert main(["label", str(run), str(folders), "--labels", "dog,cat", "--top-k", "0"]) == 2
    assert "error: k must be at least 1, got 0." in capsys.readouterr().err
