"""The image of the server: the steps of the Dockerfile, run without Docker as far as that can be.

Its packages are linked from where these tests run rather than fetched; all else happens as the file says.
"""

import ast
import contextlib
import fnmatch
import http.client
import importlib.metadata
import io
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import time
import tomllib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from inspect import signature
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import pairjepa
from pairjepa.apps.search import Index
from pairjepa.apps.search.build import build
from pairjepa.cli.serve import serve

ROOT = Path(__file__).parent.parent
DATA = "shapes:40"


def instructions(text: str) -> list[tuple[str, str]]:
    """Each instruction of a Dockerfile with its words, comments gone, lines joined, here-documents kept."""
    found, lines = [], iter(text.splitlines())
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        while line.endswith("\\"):
            line = line[:-1] + next(lines)
        word, rest = line.split(maxsplit=1)
        if here := re.search(r"<<'?(\w+)'?$", rest):
            body = list(iter(lines.__next__, here[1]))
            rest = "\n".join([rest, *body, here[1], ""])
        found.append((word, rest))
    return found


INSTRUCTIONS = instructions((ROOT / "Dockerfile").read_text("utf-8"))


def context(root: Path) -> list[Path]:
    """The files that are sent to the engine: those that .dockerignore leaves, relative to `root`."""
    rules = [line for line in (root / ".dockerignore").read_text("utf-8").splitlines() if line[:1] not in "#"]
    left = []
    for folder, folders, files in os.walk(root):
        here = Path(folder).relative_to(root)
        folders[:] = [name for name in folders if not _ignored(here / name, rules)]
        left += [here / name for name in files if not _ignored(here / name, rules)]
    return left


def _ignored(path: Path, rules: list[str]) -> bool:
    """The last rule that fits the path, or a folder that it is in, decides; `**/` is any depth, or none."""
    ignored = False
    for rule in rules:
        pattern = rule.removeprefix("!")
        steps = [path, *path.parents[:-1]]
        if pattern.startswith("**/"):
            fits = any(fnmatch.fnmatch(step.name, pattern[3:]) for step in steps)
        else:
            fits = any(fnmatch.fnmatch(str(step), pattern) and step.parts[1:] == () for step in steps)
        if fits:
            ignored = not rule.startswith("!")
    return ignored


@dataclass
class Stage:
    """What the instructions since a FROM have made."""

    root: Path
    base: str
    folder: Path = Path("/")
    environment: dict[str, str] = field(default_factory=dict)
    last: dict[str, str] = field(default_factory=dict)
    """USER, EXPOSE, HEALTHCHECK and CMD."""

    def at(self, path: str) -> Path:
        """Where a path of the image is on this machine."""
        return self.root / (self.folder / path).relative_to("/")

    def here(self, command: str) -> str:
        """A command with the image's absolute paths as they are on this machine."""
        return re.sub(r"(?<![\w.:/])/(?=venv|index|build)", f"{self.root}/", command)


def built(folder: Path) -> Stage:
    """Do what the Dockerfile says, and give its last stage."""
    stages: dict[str, Stage] = {}
    arguments: dict[str, str] = {}
    bare = folder / "bare"  # its `python` is the interpreter without the packages of these tests
    bare.mkdir()
    (bare / "python").symlink_to(sys.executable)
    sent = context(ROOT)
    for word, text in INSTRUCTIONS:
        rest = re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], text)
        match word:
            case "ARG":
                name, value = rest.split("=")
                arguments[name] = value
            case "FROM":
                base, *name = rest.split(" AS ")
                stage = Stage(folder / f"stage-{len(stages)}", base)
                stage.root.mkdir()
                stages[name[0] if name else "last"] = stage
            case "WORKDIR":
                stage.folder = Path(rest)
                stage.at(".").mkdir()
            case "ENV":
                name, value = rest.split("=")
                stage.environment[name] = stage.here(value)
            case "COPY" if rest.startswith("--from="):
                source, path, target = rest.removeprefix("--from=").split()
                assert path == target
                # Moved, and linked from where it was: the scripts in it name that place.
                stages[source].at(path).rename(stage.at(target))
                shutil.rmtree(stages[source].root)
                stages[source].root.mkdir()
                stages[source].at(path).symlink_to(stage.at(target))
            case "COPY":
                *names, target = rest.split()
                for name in names:
                    files = [path for path in sent if path.parts[: len(Path(name).parts)] == Path(name).parts]
                    assert files, f"{name} is not sent to the engine"
                    for path in files:
                        to = stage.at(target) / path.relative_to(name if target == name else ".")
                        to.parent.mkdir(parents=True, exist_ok=True)
                        shutil.copy(ROOT / path, to)
            case "RUN" if rest.startswith("pip "):
                pip(stage, shlex.split(stage.here(rest))[1:])
            case "RUN":
                path = {"PATH": f"{bare}:/usr/bin:/bin"}
                subprocess.run(["sh", "-ec", stage.here(rest)], cwd=stage.at("."), env=path, check=True)
            case "USER" | "EXPOSE" | "HEALTHCHECK" | "CMD":
                stage.last[word] = rest
            case _:
                pytest.fail(f"these tests do not know {word}")
    return stages["last"]


def pip(stage: Stage, words: list[str]) -> None:
    """`pip install`: what a list asks for is linked from here, a folder is installed."""
    python = Path(words[words.index("--python") + 1])
    if "-r" in words:
        assert words[words.index("-c") + 1] == "constraints.txt"
        required = stage.at(words[words.index("-r") + 1]).read_text("utf-8").splitlines()
        site = next(python.parent.parent.glob("lib/python*/site-packages"))
        for distribution in closure(required):
            for file in distribution.files or ():
                if ".." not in file.parts:
                    (site / file).parent.mkdir(parents=True, exist_ok=True)
                    (site / file).symlink_to(Path(str(distribution.locate_file(file))))
        return
    done = subprocess.run(
        [sys.executable, "-m", "pip", *words], cwd=stage.at("."), capture_output=True, text=True
    )
    if "No matching distribution found for hatchling" in done.stderr or "No module named pip" in done.stderr:
        pytest.skip("pip finds no hatchling here to build the package with")
    assert done.returncode == 0, done.stderr


def closure(required: list[str]) -> list[importlib.metadata.Distribution]:
    """What pip would install for these requirements, of the versions that are installed here."""
    found: dict[str, importlib.metadata.Distribution] = {}
    done, todo = set(), [Requirement(line) for line in required]
    while todo:
        asked = todo.pop()
        if str(asked) in done:
            continue
        done.add(str(asked))
        distribution = importlib.metadata.distribution(asked.name)
        assert asked.specifier.contains(distribution.version), f"{asked}, got {distribution.version}"
        found[canonicalize_name(asked.name)] = distribution
        for line in distribution.requires or ():
            needed = Requirement(line)
            if needed.marker is None or any(
                needed.marker.evaluate({"extra": e}) for e in ("", *asked.extras)
            ):
                todo.append(needed)
    return list(found.values())


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return built(tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("index")
    settings = {"data.source": DATA, "training.epochs": 1, "model.dim": 16}
    pairjepa.train(pairjepa.recipe("tiny", settings), None, folder / "run")
    return build(folder / "run", [DATA], folder / "shapes.index")


@dataclass
class Container:
    """A server that runs, and its check of itself."""

    url: str
    healthcheck: list[str]
    environment: dict[str, str]

    def healthy(self) -> bool:
        """Whether the image's own check says so."""
        return not subprocess.run(
            self.healthcheck, env=self.environment, stderr=subprocess.DEVNULL
        ).returncode


@pytest.fixture(scope="module")
def container(image: Stage, index: Index) -> Iterator[Container]:
    """The image's command over an index that may not be written, on a port that is free."""
    mounted = image.at("/index")
    shutil.copytree(index.path, mounted)
    everything = [mounted, *mounted.rglob("*")]
    for path in everything:
        path.chmod(path.stat().st_mode & ~0o222)
    # Nothing of this machine's but where its programs are; no home either, since the user has none.
    path = image.environment["PATH"].replace("$PATH", "/usr/bin:/bin")
    environment = image.environment | {
        "PATH": path,
        "HOME": str(image.at("/home/none")),
        "OMP_NUM_THREADS": "1",
    }
    command = [image.here(word) for word in json.loads(image.last["CMD"])]
    command[0] = shutil.which(command[0], path=path) or command[0]
    process = subprocess.Popen(
        [*command, "--port", "0"], cwd=image.root, env=environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    warned, said = process.stderr.readline(), process.stderr.readline()
    found = re.search(r"http://0\.0\.0\.0:(\d+) ", said)
    assert found, warned + said + process.stderr.read()
    assert "there is no password" in warned
    check = re.split(r"\sCMD ", image.last["HEALTHCHECK"])[1].replace("8000", found[1])
    words = json.loads(check)
    words[0] = shutil.which(words[0], path=path) or words[0]
    yield Container(f"http://127.0.0.1:{found[1]}", words, environment)
    process.terminate()
    process.communicate(timeout=20)
    for at in everything:
        at.chmod(at.stat().st_mode | 0o200)


def test_only_what_the_image_is_made_of_is_sent(tmp_path: Path) -> None:
    for name in (
        "README.md",
        "src/a.py",
        "src/__pycache__/a.pyc",
        "src/b/__pycache__/c.pyc",
        "tests/README.md",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "pyproject.toml").touch()
    shutil.copy(ROOT / ".dockerignore", tmp_path)
    assert sorted(map(str, context(tmp_path))) == ["README.md", "src/a.py"]


def test_python_is_pinned_and_one_that_the_package_takes(image: Stage) -> None:
    version = re.fullmatch(r"python:(\d+\.\d+\.\d+)-slim-\w+", image.base)
    assert version
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert Requirement(f"python{project['requires-python']}").specifier.contains(version[1])


def test_it_holds_no_pytorch_and_every_version_is_fixed(image: Stage) -> None:
    (site,) = image.at("/venv").glob("lib/python*/site-packages")
    held = {canonicalize_name(d.name) for d in importlib.metadata.distributions(path=[str(site)])}
    assert not held & {"torch", "transformers", "scipy", "onnx"}
    assert {"pairjepa", "fastapi", "onnxruntime", "pylance", "tokenizers", "uvicorn"} <= held
    pins = set(re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE))
    assert held - pins == {"pairjepa"}


def test_what_is_left_out_is_asked_for_elsewhere() -> None:
    """No name stands there that `pyproject.toml` does not have any more."""
    (step,) = [rest for word, rest in INSTRUCTIONS if word == "RUN" and "unneeded = " in rest]
    unneeded = ast.literal_eval(re.findall(r"unneeded = (\{.*\})", step)[0])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    asked = project["dependencies"] + project["optional-dependencies"]["onnx"]
    assert unneeded <= {Requirement(line).name for line in asked}


def test_its_user_is_not_root_and_can_read_what_is_there(image: Stage, index: Index) -> None:
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", image.last["USER"])
    package = next(image.at("/venv").glob("lib/python*/site-packages/pairjepa"))
    umask = os.umask(0)
    os.umask(umask)
    for path in (*package.rglob("*"), index.path, *index.path.rglob("*")):
        wanted = (0o555 if path.is_dir() else 0o444) & ~umask
        assert stat.S_IMODE(path.stat().st_mode) & wanted == wanted, path


def test_the_port_is_the_same_everywhere(image: Stage) -> None:
    port = signature(serve).parameters["port"].default
    assert image.last["EXPOSE"] == str(port)
    assert re.findall(r"\b\d{4,5}\b", image.last["HEALTHCHECK"]) == [str(port)]
    assert "--port" not in image.last["CMD"]


def test_it_answers_as_the_index_does(container: Container, index: Index) -> None:
    words = "a red circle"
    (vector,) = index.encoder().encode_text(words)
    wanted = [(hit.id, pytest.approx(hit.score, abs=1e-5)) for hit in index.search(vector, 5)]
    answer = httpx.get(f"{container.url}/api/search", params={"q": words, "k": 5}).json()
    assert [(one["id"], one["score"]) for one in answer["results"]] == wanted


def test_it_takes_photographs_and_shows_its_page(container: Container) -> None:
    pairs, file = pairjepa.Pairs.open(DATA), io.BytesIO()
    pairs.image(3).save(file, "PNG")
    files, labels = {"image": file.getvalue()}, {"labels": "a circle,a square"}
    found = httpx.post(f"{container.url}/api/search", files=files, data={"k": "1"}).json()["results"]
    assert found[0]["name"] == pairs.table["name"][3].as_py()
    given = httpx.post(f"{container.url}/api/label", files=files, data=labels).json()["labels"]
    assert sum(one["probability"] for one in given) == pytest.approx(1, abs=1e-5)
    assert "<html" in httpx.get(container.url).text


def test_it_checks_itself_and_writes_nothing(container: Container, image: Stage, index: Index) -> None:
    assert container.healthy()
    port = container.url.split(":")[2]
    elsewhere = [word.replace(port, "1") for word in container.healthcheck]
    assert not replace(container, healthcheck=elsewhere).healthy()
    mounted = image.at("/index")
    assert {p.relative_to(mounted) for p in mounted.rglob("*")} == {
        p.relative_to(index.path) for p in index.path.rglob("*")
    }
    assert not image.at("/home").exists()


def docker_answers() -> bool:
    """Whether there is an engine to build with."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return not subprocess.run(["docker", "info"], capture_output=True, timeout=10).returncode
    return False


@pytest.mark.skipif(not docker_answers(), reason="no Docker engine answers here")
def test_with_docker(index: Index) -> None:
    def docker(*words: str) -> str:
        return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.strip()

    name = f"pairjepa-test-{uuid.uuid4().hex[:8]}"
    docker("build", "--quiet", "--tag", name, str(ROOT))
    volume = f"{index.path}:/index:ro"
    flags = ["--read-only", "--tmpfs", "/tmp", "--publish", "127.0.0.1::8000", "--volume", volume]
    docker("run", "--detach", "--rm", "--name", name, "--health-interval", "1s", *flags, name)
    try:
        address = docker("port", name, "8000").splitlines()[0]
        for _ in range(60):
            if docker("inspect", "--format", "{{.State.Health.Status}}", name) == "healthy":
                break
            time.sleep(1)
        connection = http.client.HTTPConnection(address, timeout=10)
        connection.request("GET", "/api/search?q=a+red+circle&k=1")
        assert len(json.load(connection.getresponse())["results"]) == 1
        assert docker("exec", name, "python", "-c", "import os; print(os.getuid())") != "0"
    finally:
        docker("rm", "--force", name)
        docker("rmi", name)
