"""The promises of the repository: dependencies, versions, documents that follow the code."""

import ast
import json
import re
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import pairjepa
from pairjepa.cli import app
from pairjepa.recipes import RECIPES

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
IMPORTED_AS = {"pillow": "PIL", "huggingface-hub": "huggingface_hub"}


def package(requirement: str) -> str:
    """`torch>=2.6` → `torch`."""
    return re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower().replace("_", "-")


CORE = [package(requirement) for requirement in PROJECT["dependencies"]]
EXTRAS = [package(r) for extra in PROJECT["optional-dependencies"].values() for r in extra]
DECLARED = sorted({*CORE, *EXTRAS} - {"pairjepa"})
PINS = [
    line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if not line.startswith("#")
]


@pytest.mark.parametrize("name", DECLARED)
def test_every_dependency_has_its_reason_and_its_pin(name: str) -> None:
    reasons = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    assert re.search(rf"^\| `{re.escape(name)}` \|.*\w.*\|$", reasons, re.MULTILINE)
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
    extras = {package(r) for r in PROJECT["optional-dependencies"]["hub"]}
    declared = {IMPORTED_AS.get(name, name) for name in {*CORE, *extras}}
    assert imported - set(sys.stdlib_module_names) - {"pairjepa"} == declared & imported
    assert {IMPORTED_AS.get(name, name) for name in CORE} <= imported, (
        "a core dependency that nothing imports"
    )


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
