"""The CSV files that the program writes: no cell of them is a formula where a spreadsheet opens them."""

import csv
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pairjepa.apps.audit.findings import write_table
from pairjepa.apps.labels import confusion
from pairjepa.apps.labels.labels import Labelled, write_csv
from pairjepa.util.files import write_rows

SOURCE = Path(__file__).parents[1] / "src"
FORMULAS = ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1"]
HARMLESS = ["a dog", "a\r=1", "1-1", "'=1", "", "a = b"]


def cells(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_labels(tmp_path: Path) -> None:
    likely = np.full((len(FORMULAS), len(FORMULAS)), 1 / len(FORMULAS), np.float32)
    names = [*FORMULAS[1:], "a\r=1"]
    found = Labelled(tuple(FORMULAS), ("{}",), names, likely, [], list(FORMULAS), "0" * 32)
    write_csv(tmp_path / "labels.csv", found, 2)
    measured = confusion.measure(confusion.confusion([("=1+1", "-1")], FORMULAS), FORMULAS)
    write_rows(tmp_path / "labels-confusion.csv", confusion.matrix_rows(measured))
    written = [
        cell
        for name in ("labels", "labels-confusion")
        for row in cells(tmp_path / f"{name}.csv")
        for cell in row
    ]
    assert {f"'{formula}" for formula in FORMULAS} <= set(written)
    assert not [cell for cell in written if cell.startswith(tuple("=+-@\t\r"))]


def test_audit(tmp_path: Path) -> None:
    texts = FORMULAS + HARMLESS
    table = pa.table(
        {"image": texts, "caption": [*texts[1:], None], "margin": pa.array([-0.5] * 12, pa.float32())}
    )
    write_table(table, tmp_path / "audit.csv")
    head, *rows = cells(tmp_path / "audit.csv")
    assert head == ["image", "caption", "margin"]
    assert [row[0] for row in rows] == [f"'{text}" for text in FORMULAS] + HARMLESS
    assert {row[2] for row in rows} == {"-0.5"}  # a number is a number
    assert rows[-1][1] == ""


@pytest.mark.parametrize(
    "path", [p for p in SOURCE.rglob("*.py") if re.search(r"csv\.writer|\bwrite_csv\(t", p.read_text())]
)
def test_whoever_writes_a_csv_marks_text(path: Path) -> None:
    assert "csv_text(" in path.read_text()
