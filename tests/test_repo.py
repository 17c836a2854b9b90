"""The promises of the repository: dependencies, versions, documents that follow the code."""

import ast
import json
import re
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import pairjepa
from pairjepa.cli import app
from pairjepa.cli.flags import settings
from pairjepa.config.recipes import RECIPES
from pairjepa.config.settings import RunConfig

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
IMPORTED_AS = {
    "pillow": "PIL",
    "pylance": "lance",
    "python-multipart": "multipart",
    "scikit-learn": "sklearn",
    "umap-learn": "umap",
    "opentsne": "openTSNE",
}
# Nothing imports these by name: FastAPI, Accelerate, Transformers and PyTorch's exporter do.
THROUGH_OTHERS = {"onnx", "onnxscript", "protobuf", "python-multipart", "sentencepiece", "tensorboard"}


def package(requirement: str) -> str:
    """`torch>=2.6` → `torch`."""
    return re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower().replace("_", "-")


def of_extra(name: str) -> list[str]:
    """The packages of one extra."""
    return [package(requirement) for requirement in PROJECT["optional-dependencies"][name]]


CORE = [package(requirement) for requirement in PROJECT["dependencies"]]
EXTRAS = [package(r) for extra in PROJECT["optional-dependencies"].values() for r in extra]
DECLARED = sorted({*CORE, *EXTRAS} - {"pairjepa"})
PINS = [
    line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if not line.startswith("#")
]


@pytest.mark.parametrize("name", DECLARED)
def test_every_dependency_has_its_reason_and_its_pin(name: str) -> None:
    reasons = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    assert re.search(rf"^\| (`[^|]*, )?`{re.escape(name)}`(, `[^|]*)? \|.*\w.*\|$", reasons, re.MULTILINE)
    assert any(pin.startswith(f"{name}==") for pin in PINS)


def test_pins_are_exact_public_and_sorted() -> None:
    assert all(re.fullmatch(r"[a-z0-9.-]+==[0-9][0-9a-z.]*", pin) for pin in PINS)
    assert sorted(PINS, key=package) == PINS


def test_what_the_code_imports_is_declared() -> None:
    imported = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
    tools = {*of_extra("test"), *of_extra("docs")} - {"jinja2"}
    used = {*CORE, *EXTRAS} - tools - THROUGH_OTHERS - {"pairjepa"}
    declared = {IMPORTED_AS.get(name, name.replace("-", "_")) for name in used}
    assert imported - set(sys.stdlib_module_names) - {"pairjepa"} == declared


def test_the_version_is_the_same_everywhere() -> None:
    assert f"\nversion: {pairjepa.__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"## [{pairjepa.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def commands(document: Path) -> list[str]:
    """Every `pairjepa …` line of a document's code blocks, without its comment."""
    blocks = re.findall(r"```[a-z]*\n(.*?)```", document.read_text("utf-8"), re.DOTALL)
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [line.split("#")[0].strip() for line in joined.splitlines() if line.startswith("pairjepa ")]


@pytest.mark.parametrize("command", [c for document in DOCUMENTS for c in commands(document)])
def test_a_command_in_the_documents_parses(command: str) -> None:
    app.parse_args(shlex.split(command)[1:], exit_on_error=False, print_error=False)


def test_the_readme_shows_the_main_job() -> None:
    verbs = {shlex.split(command)[1] for command in commands(ROOT / "README.md")}
    assert {"inspect", "train", "evaluate"} <= verbs


def test_the_readme_s_tree_is_the_tree() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    modules = [path for path in (ROOT / "src" / "pairjepa").iterdir() if not path.name.startswith(("_", "."))]
    shown = {path.name + ("/" if path.is_dir() else "") for path in modules if path.suffix in {"", ".py"}}
    assert not {name for name in shown if not re.search(rf"^  {re.escape(name)} +\S", text, re.MULTILINE)}


@pytest.mark.parametrize("name", RECIPES)
def test_the_readme_names_every_recipe(name: str) -> None:
    assert f"`{name}`" in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text("utf-8"))
    assert not [link for link in links if not (document.parent / link).exists()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_json_in_the_documents_is_json(document: Path) -> None:
    for block in re.findall(r"```json\n(.*?)```", document.read_text("utf-8"), re.DOTALL):
        json.loads(block)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_settings_that_the_documents_name_are_there(document: Path) -> None:
    known = {setting.name for setting in settings(RunConfig())} | {"objective.weights", "context.*"}
    sections = "|".join(RunConfig().to_dict())
    named = re.findall(rf"`((?:{sections})\.[a-z_.*]+)`", document.read_text("utf-8"))
    assert not [n for n in named if n not in known and not n.endswith((".py", ".md", ".safetensors"))]


def section(document: str, title: str) -> str:
    """What stands below a heading of a document in docs/."""
    text = (ROOT / "docs" / document).read_text("utf-8")
    return re.split(r"^## ", text.split(f"\n## {title}\n")[1], flags=re.MULTILINE)[0]


def test_the_readme_s_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    rsum, cosines = capsys.readouterr().out.splitlines()
    assert 0 < float(rsum) < 600
    assert names["image"].shape == names["text"].shape == (1, 128)
    assert -1 <= float(cosines.strip("[]")) <= 1


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cache, run and export of a tiny masked run that was evaluated in both ways."""
    folder = tmp_path_factory.mktemp("artefacts")
    changed = {"model.image_lr_scale": None, "model.text_lr_scale": None, "training.epochs": 1}
    config = pairjepa.recipe("tiny-masked", {"data.source": "shapes:60", **changed})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PAIRJEPA_CACHE", str(folder / "CACHE"))
        pairjepa.train(config, None, folder / "RUN")
        pairjepa.evaluate(folder / "RUN", "test", export=folder / "EXPORT")
        pairjepa.evaluate(folder / "RUN", "test", relevance="text")
    return folder


def test_the_documented_files_are_those_that_are_written(written: Path) -> None:
    found = set()
    for path in written.rglob("*"):
        if path.is_dir():
            continue
        name = path.relative_to(written).as_posix()
        name = re.sub(r"features/[0-9a-f]{32}/", "features/KEY/", name)
        name = re.sub(r"KEY/[0-9a-f]{32}", "KEY/SHARD", name)
        name = re.sub(r"(v3-|leaks/)[0-9a-f]{32}", r"\1DIGEST", name)
        name = re.sub(r"(embeddings|evaluation|illustrations)/test", r"\1/SPLIT", name)
        found.add(name)
    listed = re.findall(r"^((?:CACHE|RUN)/\S+)", section("artefacts.md", "Every file"), re.MULTILINE)
    control = {name for name in found if name.startswith("RUN/text-only/")}
    exported = {name for name in found if name.startswith("EXPORT/")}
    gone = {"RUN/checkpoint.safetensors"}  # once the run is complete
    assert found - control - exported == set(listed) - {"RUN/text-only/*"} - gone
    assert {name.replace("RUN/text-only/", "RUN/") for name in control} <= set(listed)
    assert "RUN/text-only/summary.json" in control
    assert {name.replace("EXPORT/", "RUN/embeddings/SPLIT/") for name in exported} <= set(listed)
    assert len(exported) == 7


def _illustrations(run: Path, name: str) -> set[str]:
    records = json.loads((run / "illustrations" / "test" / f"{name}.json").read_text("utf-8"))
    return {key for record in records for key in record}


def test_the_documented_contents_are_those_that_are_written(written: Path) -> None:
    """Every column and key that stands in a file is named in the section on it."""
    run = written / "RUN"
    record = {name: json.loads((run / name).read_text("utf-8")) for name in ("run.json", "summary.json")}
    epoch = json.loads((run / "metrics.jsonl").read_text("utf-8").splitlines()[0])
    result = json.loads((run / "evaluation" / "test.json").read_text("utf-8"))
    (facts,) = (written / "CACHE" / "images").iterdir()
    label = next(p for p in (written / "CACHE" / "features").rglob("*.json") if p.name != "manifest.json")
    manifests = (written / "CACHE" / "features").glob("*/manifest.json")
    partial = {key for ratio in result["partial"].values() for key in ratio}
    for title, names in {
        "Image facts": set(pq.read_schema(facts).names),
        "Features": {*json.loads(label.read_text("utf-8"))}
        | {json.loads(path.read_text("utf-8"))["kind"] for path in manifests},
        "Run folder": {*record["run.json"], *record["summary.json"], *record["summary.json"]["cost"]}
        | {*epoch, *epoch["dev"]},
        "Embedding set": {*json.loads((written / "EXPORT" / "meta.json").read_text("utf-8"))},
        "Illustrations": {*json.loads((run / "illustrations" / "test" / "meta.json").read_text("utf-8"))}
        | {key for name in ("partial", "saliency", "twins") for key in _illustrations(run, name)},
        "Evaluation": {*result, *result["geometry"], *result["bootstrap"], *partial},
    }.items():
        text = re.sub(r"^```.*?^```", "", section("artefacts.md", title), flags=re.MULTILINE | re.DOTALL)
        said = set(re.findall(r"`([^`]+)`", text))
        plain = {name for name in names if not name.endswith("_ci")}
        assert not plain - said - {"image_to_text", "text_to_image", "checksum"}, title
    assert set(result["partial"]) <= set(re.findall(r'`"([0-9.]+)"`', section("artefacts.md", "Evaluation")))
