"""Files of SugarCrepe, ARO and Winoground as they are published."""

import json
from pathlib import Path

import pytest
import transformers as hf
from PIL import Image
from tests.features.conftest import save_model

import pairjepa
from pairjepa.apps.demo_pair import towers
from pairjepa.cli import main
from pairjepa.config.recipes import recipe
from pairjepa.evaluation.benchmark_files import read_items
from pairjepa.util.errors import PairJEPAError

SUGARCREPE = {
    str(number): {"filename": f"{number:012d}.jpg", "caption": "a red dog", "negative_caption": "a blue dog"}
    for number in range(3)
}
ARO = [
    {
        "image_id": number,
        "image_path": f"{number:012d}.jpg",
        "bbox_x": 1,
        "bbox_y": 2,
        "bbox_w": 20,
        "bbox_h": 10,
        "relation_name": "on",
        "true_caption": "the dog is on the bed",
        "false_caption": "the bed is on the dog",
    }
    for number in range(3)
]
WINOGROUND = [
    {
        "id": 0,
        "image_0": "ex_0_img_0",
        "image_1": "ex_0_img_1",
        "caption_0": "a dog on a bed",
        "caption_1": "a bed on a dog",
        "collapsed_tag": "Object",
    }
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for number, name in enumerate([f"{n:012d}.jpg" for n in range(3)] + ["ex_0_img_0.png", "ex_0_img_1.png"]):
        Image.new("RGB", (32, 32), (80 * (number % 3), 9, 9)).save(tmp_path / "images" / name)
    (tmp_path / "swap_att.json").write_text(json.dumps(SUGARCREPE))
    (tmp_path / "visual_genome_relation.json").write_text(json.dumps(ARO))
    (tmp_path / "examples.jsonl").write_text("\n".join(map(json.dumps, WINOGROUND)) + "\n")
    return tmp_path


def test_each_is_read(folder: Path) -> None:
    sugar = read_items(folder / "swap_att.json")
    assert [(i.caption, i.wrong, i.kind) for i in sugar] == [("a red dog", "a blue dog", "swap_att")] * 3
    aro = read_items(folder / "visual_genome_relation.json")
    assert aro[0].kind == "on"
    assert aro[0].picture.opened().size == (20, 10)
    first, second = read_items(folder / "examples.jsonl")
    assert first.picture.path.name == "ex_0_img_0.png"
    assert (first.caption, first.wrong) == (second.wrong, second.caption)
    assert first.kind == "Object"


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("missing.json", None, "missing.json"),
        ("broken.json", "{", "broken.json"),
        ("other.json", '[{"image": "a.jpg"}]', "right and a wrong caption, got {'image'"),
        ("number.json", "3", "right and a wrong caption"),
        ("empty.json", "[]", "got none"),
        ("image.json", json.dumps({"0": SUGARCREPE["0"] | {"filename": "x.jpg"}}), "got no x.jpg"),
    ],
)
def test_what_is_none_of_them_is_a_sentence(folder: Path, name: str, text: str | None, match: str) -> None:
    if text is not None:
        (folder / name).write_text(text)
    with pytest.raises(PairJEPAError, match=match):
        read_items(folder / name)


def test_a_run_is_measured_on_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {
        "data.source": "shapes:60",
        "model.image": "tiny-resnet",
        "model.text": "tiny-bert",
        "model.dim": 8,
    }
    run = folder / "run"
    pairjepa.train(recipe("contrastive", settings | {"training.epochs": 1}), None, run)
    given = ["--hard-negatives", str(folder / "swap_att.json"), "--images", str(folder / "images")]
    assert main(["evaluate", str(run), *given, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["images"] == 3
    assert set(result["hard_negatives"]) == {"all", "swap_att"}
    assert result["hard_negatives"]["all"]["twins"] == 3
    assert json.loads((run / "hard-negatives" / "swap_att.json").read_text())["file"] == "swap_att.json"
    assert main(["evaluate", str(run), *given]) == 0
    assert "own above twin" in capsys.readouterr().out


def test_a_pretrained_pair_is_measured_as_it_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = towers(folder / "clip")
    save_model(hf.CLIPConfig.from_pretrained(pair), pair)
    file = folder / "swap_att.json"
    given = ["--model.pair", str(pair), "--hard-negatives", str(file), "--images", str(folder / "images")]
    assert main(["evaluate", *given, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    embedder = pairjepa.Embedder.from_pair(pair)
    image = embedder.encode_image([folder / "images" / f"{n:012d}.jpg" for n in range(3)])
    own, wrong = embedder.encode_text(["a red dog", "a blue dog"])
    assert result["hard_negatives"]["all"]["accuracy"] == pytest.approx(
        100 * (image @ own > image @ wrong).mean()
    )
    assert (result["run"], result["images"]) == (str(pair), 3)
    assert main(["evaluate", *given, "--data", "shapes:60"]) == 2
    assert "--data.source must stand without --hard-negatives" in capsys.readouterr().err
