"""The notebook of the documents runs as it stands, on fewer pairs and in fewer epochs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "docs" / "tour.ipynb"


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAIRJEPA_CACHE", str(tmp_path / "cache"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (setup,) = (cell for cell in notebook.cells if "SETTINGS = " in cell.source)
    for long, short in (('"shapes:800"', '"shapes:200"'), ('"training.epochs": 20', '"training.epochs": 4')):
        assert long in setup.source
        setup.source = setup.source.replace(long, short)
    NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in shown) >= 7
    training = next(cell for cell in notebook.cells if "pairjepa.train(" in cell.source)
    said = "\n".join(one["text"] if "text" in one else one.data["text/plain"] for one in training.outputs)
    assert "%%capture" not in training.source
    assert len(said.splitlines()) < 40, "an epoch's line takes the place of the last"
    *_, hits = [output["text"] for output in shown if output.output_type == "stream"]
    assert len(hits.splitlines()) == 5
    assert all("shape" in line or " a " in line for line in hits.splitlines())
