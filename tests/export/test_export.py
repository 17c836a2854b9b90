"""The verb: what is said before anything is computed, and what it leaves."""

import json
import shutil
from pathlib import Path

import pytest

from pairjepa.apps.export import export, hub
from pairjepa.cli import main
from pairjepa.run.seeds import is_seed_group
from pairjepa.util.errors import PairJEPAError, UsageError


def test_a_hub_folder_and_its_push(
    contrastive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[Path, str, bool]] = []
    monkeypatch.setattr(
        hub, "push", lambda *given: sent.append(given) or f"https://huggingface.co/{given[1]}"
    )
    out = tmp_path / "out"
    command = ["export", str(contrastive), "--to", "hub", "--out", str(out)]
    assert main([*command, "--licence", "mit"]) == 0
    printed, said = capsys.readouterr()
    assert "kB  model.safetensors" in printed
    assert "comparing what is exported with the run\n" in said
    assert f"wrote {out}" in said
    assert "--push USER/NAME" in said

    card = out / "README.md"
    card.write_text(card.read_text() + "\nMine.\n")
    assert main([*command, "--push", "me/model", "--private", "--json"]) == 0
    printed, said = capsys.readouterr()
    assert sent == [(out, "me/model", True)]
    assert json.loads(printed)["url"] == "https://huggingface.co/me/model"
    assert "holds this run already" in said
    assert card.read_text().endswith("\nMine.\n")

    assert main(command) == 0  # as after a kill at its very end
    assert "holds this run already. Nothing to do; remove it" in capsys.readouterr().err
    assert card.read_text().endswith("\nMine.\n")
    assert main([*command[:3], "onnx", *command[4:]]) == 1
    assert "must be a new or empty folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "status", "words"),
    [
        (["--to", "tflite", "--out", "x"], 2, "tflite"),
        (["--to", "openvino", "--out", "x"], 2, "Take onnx: OpenVINO reads the files of"),
        (
            ["--to", "onnx", "--out", "x", "--push", "me/model"],
            2,
            "--push must go with --to hub, got --to onnx",
        ),
        (["--to", "onnx", "--out", "x", "--licence", "mit"], 2, "--licence must go with --to hub"),
        (["--to", "hub", "--out", "x", "--private"], 2, "--private must go with --push"),
        (["--to", "hub", "--out", "x", "--push", "name"], 2, "--push must be user/name"),
    ],
)
def test_flags_that_do_not_go_together(
    contrastive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    status: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(contrastive), *flags]) == status
    assert words in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_runs_that_cannot_be_exported(contrastive: Path, masked: Path, tmp_path: Path) -> None:
    with pytest.raises(PairJEPAError, match="is no run folder"):
        export(tmp_path, "hub", tmp_path / "out")
    half = tmp_path / "group" / "seed-0"
    shutil.copytree(contrastive, half)
    assert is_seed_group(half.parent)
    with pytest.raises(PairJEPAError, match=r"must be a single one, got the seed group .*seed-\*"):
        export(half.parent, "hub", tmp_path / "out")
    (half / "model.safetensors").unlink()
    with pytest.raises(PairJEPAError, match=r"a complete run without its model.safetensors. Put it back"):
        export(half, "hub", tmp_path / "out")
    with pytest.raises(UsageError, match=r"context\.image must be on to be exported"):
        export(masked / "text-only", "onnx", tmp_path / "out")
    with pytest.raises(UsageError, match=r"Unknown target 'onx'\. Did you mean 'onnx'\?"):
        export(contrastive, "onx", tmp_path / "out")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(PairJEPAError, match="must be a folder, got the file"):
        export(contrastive, "hub", tmp_path / "file")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("to", ["onnx", "sentence-transformers"])
def test_a_missing_package_names_its_extra(
    contrastive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    monkeypatch.setattr("pairjepa.apps.export.folder.find_spec", lambda name: None)
    with pytest.raises(PairJEPAError, match=rf"pip install 'pairjepa\[{to}\]'"):
        export(contrastive, to, tmp_path / "out")
