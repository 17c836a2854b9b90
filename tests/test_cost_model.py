"""The cost model: its arithmetic, what it says of what is missing, and that the page shows what it gives."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from pairjepa.util.errors import PairJEPAError

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "studies"))
import cost_model as study  # noqa: E402

sys.path.remove(str(ROOT / "studies"))

CORES = 2
GROWTH = {
    "cpus": CORES,
    "sides": {
        "1,000": {"items": 1000, "training_milliseconds_an_image_and_epoch": 0.5, "peak_anonymous_mb": 900},
        "16,000": {
            "items": 16000,
            "training_milliseconds_an_image_and_epoch": 0.2,
            "peak_anonymous_mb": 1000,
        },
        "64,000": {
            "items": 64000,
            "training_milliseconds_an_image_and_epoch": 0.1,
            "peak_anonymous_mb": 1048,
        },
    },
}
FEATURES = {
    "cpus": CORES,
    "sides": {
        "naive": {"items": 100, "seconds": 1.0},
        "torch": {"items": 100, "pipeline_seconds": 5.0},
        "openvino": {"items": 100, "pipeline_seconds": 2.88},
        "text-torch": {"items": 1000, "pipeline_seconds": 2.88},
        "whole": {"items": 3, "seconds": 0.1},
    },
}
INDEX = {"rows": 10**6, "disk_mb": 4800, "build_seconds": 450, "seconds": 0.0123, "recall_at_10": 0.987}
QUERIES = {"cpus": CORES, "sides": {"1000000 approximate": INDEX | {"peak_rss_mb": 2000}}}


def written(folder: Path, **files: Any) -> Path:
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def cells(block: str, name: str) -> list[str]:
    """What a table says of 1 M, 100 M and 1 B pairs in its row of that name."""
    row = next(line for line in block.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in row.split("|")[3:6]]


def test_training_is_the_rate_of_the_largest_times_pairs_and_epochs(tmp_path: Path) -> None:
    rates = study.read(written(tmp_path, growth=GROWTH))
    block = study.costs(rates, study.Assumptions(epochs=9, core_hour=0.5))
    # 0.1 ms × 9 epochs × 1 M = 900 s = 0.25 h on two cores of 0.5 dollars an hour
    assert cells(block, "head training") == ["0.25 h, $0.25", "25 h, $25", "250 h, $250"]
    # 1 MB for each 1,000 images more
    memory = cells(study.limits(rates, study.Assumptions()), "table of pairs, in `train`")
    assert memory == ["1 GB", "100 GB", "1,000 GB"]


def test_features_are_those_of_the_fastest_engine(tmp_path: Path) -> None:
    block = study.costs(study.read(written(tmp_path, features=FEATURES)), study.Assumptions(captions=2))
    # 0.0576 core-seconds an image on 16 cores of 4 cents; 0.00576 each of two captions
    assert cells(block, "image features") == ["1 h, $0.64", "100 h, $64", "1,000 h, $640"]
    assert cells(block, "caption features") == ["0.2 h, $0.13", "20 h, $13", "200 h, $130"]


def test_an_index_has_its_thumbnails_too(tmp_path: Path) -> None:
    rates = study.read(written(tmp_path, queries=QUERIES))
    block = study.costs(rates, study.Assumptions())
    assert cells(block, "index, kept") == [
        "0.02 TB, $0.46 a month",
        "2 TB, $46 a month",
        "20 TB, $460 a month",
    ]
    assert cells(block, "index: tables") == ["0.016 h, $0.01", "1.6 h, $1", "16 h, $10"]
    assert cells(block, "a query by words") == ["12 ms, 98.7% of the ten nearest", "–", "–"]
    assert cells(study.limits(rates, study.Assumptions()), "a server of it") == ["2.1 GB", "–", "–"]


def test_the_whole_is_the_sum_of_what_is_done_once(tmp_path: Path) -> None:
    rates = study.read(written(tmp_path, growth=GROWTH, features=FEATURES, queries=QUERIES))
    block = study.costs(rates, study.Assumptions(epochs=9, core_hour=3.6))
    # core-seconds an image: 0.0576 twice, 0.00576, 0.0018 and 0.0009, a tenth of a cent each
    assert cells(block, "all that is done once, without a GPU") == ["$120", "$12,000", "$120,000"]


def test_what_is_calculated_needs_no_measurement(tmp_path: Path) -> None:
    rates = study.read(tmp_path)
    block = study.costs(
        rates, study.Assumptions(captions=5, tb_month=10, gpu_hour=3, gpu_tflops=23, gpu_share=0.1)
    )
    # two views of 1,960 and five captions of 768 float32 numbers: 31,040 bytes
    assert cells(block, "features, kept") == [
        "0.031 TB, $0.31 a month",
        "3.1 TB, $31 a month",
        "31 TB, $310 a month",
    ]
    gpu = [line for line in block.splitlines() if "| 1 GPU |" in line]
    # 2.3 Gflop an image at 2.3 Tflop/s: a millisecond
    assert "| 0.28 h, $0.83 | 28 h, $83 | 280 h, $830 |" in gpu[0]


def test_what_was_not_measured_is_named_and_stays_empty(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- cost -->\n<!-- /cost -->\n<!-- limits -->\n<!-- /limits -->\n")
    study.app(["--measured", str(written(tmp_path, growth=GROWTH)), "--page", str(page)])
    said = capsys.readouterr().err
    assert "features.json is not there" in said
    assert "growth.json" not in said
    block = page.read_text()
    for name in (
        "caption features",
        "index, kept",
        "all that is done once, without a GPU",
        "a query by words",
    ):
        assert cells(block, name) == ["–"] * 3
    assert "–" not in cells(block, "head training")


def test_measurements_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(PairJEPAError, match="got none of 'cpus'"):
        study.read(written(tmp_path, growth={"sides": GROWTH["sides"]}))


def test_the_page_shows_what_the_measurements_give() -> None:
    page = (ROOT / "docs" / "scaling.md").read_text("utf-8")
    rates, assumed = study.read(ROOT / "docs" / "performance"), study.Assumptions()
    for name, block in (("cost", study.costs(rates, assumed)), ("limits", study.limits(rates, assumed))):
        shown = re.search(rf"<!-- {name} -->\n\n(.*?)\n\n<!-- /{name} -->", page, re.DOTALL)
        assert shown, name
        assert shown[1] == block
