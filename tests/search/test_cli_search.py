"""`pairjepa index` and `pairjepa search`, as one types them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pairjepa.apps.search import Index
from pairjepa.apps.search.terminal import protocol
from pairjepa.cli import main
from pairjepa.util.checksums import signed, unsigned

from . import photos


@pytest.fixture(scope="module")
def masked_index(other_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a file name and a caption that a terminal or a page would take for more than text."""
    folder = tmp_path_factory.mktemp("masked")
    names = photos.write(folder / "photos", range(4))
    names[0].rename(folder / "photos" / "<b>\x1b[31m.png")
    (folder / "photos" / "01.txt").write_text("<script>alert(1)</script>\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pairjepa.apps.search.build._Build._keep_model", lambda self: None)
        assert main(["index", str(other_run), str(folder / "photos"), "--out", str(folder / "out")]) == 0
    return folder / "out"


def test_index_says_what_it_wrote_and_what_is_next(
    run: Path, tmp_path: Path, without_onnx: None, capsys: pytest.CaptureFixture[str]
) -> None:
    photos.write(tmp_path / "photos", range(3))
    (tmp_path / "pairs.jsonl").write_text('{"bild": "photos/00.png", "wort": "a star"}\n')
    flags = ["--data.image-column", "bild", "--data.caption-column", "wort", "--out", str(tmp_path / "out")]
    assert main(["index", str(run), str(tmp_path / "pairs.jsonl"), *flags]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "1 image: 1 new or changed" in said.err
    assert said.err.endswith(
        f'wrote {tmp_path / "out"}\nnext: pairjepa search {tmp_path / "out"} "what is to be seen"\n'
    )


def test_results_go_to_stdout(index: Index, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", str(index.path), "a red circle", "-k", "3", "--where", "split = 'test'"]) == 0
    said = capsys.readouterr()
    assert said.err == f"next: pairjepa serve {index.path}\n"
    hits = index.search(index.encoder().encode_text("a red circle")[0], 3, where="split = 'test'")
    expected = [
        f"{hit.score:.3f}{hit.probability:5.0%}  {hit.name}\n       {hit.captions[0]}\n" for hit in hits
    ]
    assert said.out == "".join(expected)

    assert main(["search", str(index.path), "a red circle", "--json", "--in", "captions"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert len(results) == 10
    assert set(results[0]) == {"id", "name", "score", "probability", "captions", "path"}
    assert len(results[0]["captions"]) == 1

    assert main(["search", str(index.path), "x", "-k", "99", "--raw-where", "upper(split) = 'TEST'"]) == 0
    assert capsys.readouterr().out.count("\n       ") == 8

    outputs = []
    for more in ([], ["--by", "both"], ["--by", "image"], ["--minus", "a blue circle"]):
        assert main(["search", str(index.path), "a red circle", *more]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    assert len(set(outputs)) == 3

    assert main(["search", str(index.path), "a red circle", "--threshold", "1"]) == 0
    assert capsys.readouterr().err.startswith(
        "Nothing is found: the best image fits with a probability of 0."
    )

    assert main(["search", str(index.path), "a red circle", "--where", "width = 1"]) == 0
    assert capsys.readouterr().err.startswith("Nothing is found.")


def test_both_together_and_names_that_are_commands(
    index: Index, masked_index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [picture] = photos.write(tmp_path, [1])
    assert main(["search", str(masked_index), "a red circle", "--image", str(picture)]) == 0
    said = capsys.readouterr()
    assert "half-way" not in said.err
    assert "\x1b" not in said.out
    assert "<b>\N{REPLACEMENT CHARACTER}[31m.png" in said.out
    assert "<script>alert(1)</script>" in said.out
    assert main(["search", str(index.path), "a red circle", "--image", str(picture)]) == 0
    assert "contrastive: the query is half-way between" in capsys.readouterr().err
    assert main(["search", str(index.path), str(picture)]) == 0
    assert "is a file, and its name is searched for" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ([], 2, "got neither"),
        ([""], 2, "must have words"),
        (["x", "--minus", "x"], 2, "minus must be other words"),
        (
            ["a star", "--minus", "a ring", "--threshold", "0.5"],
            2,
            "only images that are searched by words alone have a probability",
        ),
        (["x", "--by", "words"], 2, "by"),
        (["x", "-k", "0"], 2, "k must be at least 1"),
        (["x", "--where", "splitt = 1"], 2, "Did you mean 'split'"),
        (["x", "--where", "upper(split) = 'A'"], 2, "where must be a condition"),
        (["x", "--raw-where", "uper(split) = 'A'"], 2, "raw_where must be a filter that Lance takes"),
        (["--image", "nix.jpg"], 1, "nix.jpg"),
    ],
)
def test_mistakes(
    index: Index, arguments: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", str(index.path), *arguments]) == status
    assert said in capsys.readouterr().err


def test_long_words_and_an_unfinished_index(masked_index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = masked_index / "meta.json"
    text = record.read_text()
    record.write_text(json.dumps(signed(unsigned(json.loads(text))[0] | {"complete": False})))
    assert main(["search", str(masked_index), "circle " * 1500]) == 0
    record.write_text(text)
    said = capsys.readouterr().err
    assert "only their beginning counts" in said
    assert "unknown" not in said
    assert main(["search", str(masked_index), "红色的圆"]) == 0
    assert "100% of the words' tokens are unknown to the text backbone" in capsys.readouterr().err
    assert "is not complete: run its `pairjepa index` command again" in said


def test_a_query_loads_only_what_it_needs(index: Index) -> None:
    """Neither the framework nor what reads pairs: that is most of what makes the answer quick."""
    code = (
        "import sys; from pairjepa.cli import main; main(['search', sys.argv[1], 'a red circle']);"
        "print(*sorted({'torch', 'transformers', 'scipy', 'sklearn', 'pairjepa.apps.search.build'}"
        " & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(index.path)], capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == ""


class Stream:
    def __init__(self, looked_at: bool) -> None:
        self.isatty = lambda: looked_at


@pytest.mark.parametrize(
    ("environment", "way"),
    [
        ({"TERM": "xterm-kitty", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-ghostty", "TERM_PROGRAM": "ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm"),
        ({"TERM": "xterm-256color"}, None),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux"}, None),
        ({}, None),
    ],
)
def test_which_terminals_show_pictures(environment: dict[str, str], way: str | None) -> None:
    assert protocol(Stream(True), environment) == way  # type: ignore[arg-type]
    assert protocol(Stream(False), environment) is None  # type: ignore[arg-type]


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("term", ["kitty", "iTerm.app"])
def test_pictures_in_a_terminal(index: Index, term: str) -> None:
    """What arrives at the other end of a pseudo-terminal holds the thumbnail itself."""
    import base64
    import io
    import pty
    import re

    from PIL import Image

    code = (
        "import sys; from pairjepa.cli import main; main(['search', sys.argv[1], 'a red circle', '-k', '1'])"
    )
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-" + term, "TERM_PROGRAM": term}
    environment.pop("TMUX", None)
    process = subprocess.Popen([sys.executable, "-c", code, str(index.path)], stdout=theirs, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert process.wait() == 0
    if term == "kitty":
        pieces = re.findall(rb"\x1b_G([^;]*);([^\x1b]*)\x1b\\", shown)
        assert pieces[0][0].startswith(b"a=T,f=100,r=8,q=2")
        assert [head[-1:] for head, _ in pieces] == [b"1"] * (len(pieces) - 1) + [b"0"]
        data = b"".join(piece for _, piece in pieces)
    else:
        match = re.search(rb"\x1b\]1337;File=inline=1;size=(\d+);height=8;[^:]*:([^\x07]*)\x07", shown)
        assert match is not None
        data = match[2]
    best = index.search(index.encoder().encode_text("a red circle")[0], 1)[0]
    thumbnail = index.thumbnail(best.id)
    assert thumbnail is not None
    with Image.open(io.BytesIO(base64.b64decode(data))) as sent, Image.open(io.BytesIO(thumbnail)) as kept:
        assert sent.tobytes() == kept.tobytes()
    assert f"{best.score:.3f}".encode() in shown
