"""What is said while one waits: a line that moves on a terminal, lines that stay in a log."""

import io
from typing import Any

import pytest

from pairjepa.util import progress
from pairjepa.util.words import counted


class Output:
    """A notebook's output, as IPython gives it."""

    def __init__(self, shown: dict[str, str]) -> None:
        self.shown = [shown]

    def update(self, shown: dict[str, str], raw: bool) -> None:
        self.shown.append(shown)


def test_a_bar_in_a_notebook_ends_as_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs: list[Output] = []

    def display(shown: dict[str, str], **_: Any) -> Output:
        outputs.append(Output(shown))
        return outputs[-1]

    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    monkeypatch.setattr(progress, "PAUSE", 0)
    monkeypatch.setattr(progress._Screen, "output", None)
    with progress.progress("features", 4, "<images>") as bar:
        bar.advance(2)
        bar.advance(2)
    for epoch in (1, 2):
        progress.update(f"epoch {epoch}", "a long line")
    progress.say("done")
    progress.update("epoch 1", "of another training")
    texts = [[shown["text/plain"] for shown in output.shown] for output in outputs]
    assert len(texts) == 3
    assert "<progress max='4' value='2'></progress> features: 2 of 4" in outputs[0].shown[1]["text/html"]
    assert "&lt;images&gt;" in outputs[0].shown[-1]["text/html"]
    assert texts[0][-1].startswith("features: 4 <images> in")
    assert texts[1:] == [["epoch 1", "epoch 2"], ["epoch 1"]]
    assert capsys.readouterr().err == "done\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("terminal", "verbose"), [(True, False), (True, True), (False, False)])
def test_a_line_moves_on_a_terminal_alone(
    terminal: bool, verbose: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.delitem(progress.sys.modules, "ipykernel", raising=False)
    monkeypatch.setattr(progress._Screen, "verbose", verbose)
    for epoch in (10, 9):
        progress.update(f"epoch {epoch}", f"a long line of epoch {epoch}")
    progress.say("done")
    if terminal and not verbose:
        assert stream.getvalue() == "\repoch 10\repoch 9 \ndone\n"
    else:
        assert stream.getvalue() == "a long line of epoch 10\na long line of epoch 9\ndone\n"
    stream.truncate(stream.seek(0))
    with progress.without_advice():
        progress.update("epoch 1", "a long line of epoch 1")
    progress.say("done")
    assert stream.getvalue() == ("\repoch 1\ndone\n" if terminal and not verbose else "done\n")


def test_one_is_no_plural(capsys: pytest.CaptureFixture[str]) -> None:
    assert (counted(1, "image"), counted(0, "image"), counted(2000, "image")) == (
        "1 image",
        "0 images",
        "2,000 images",
    )
    with progress.progress("shards", 1, "shards") as bar:
        bar.advance()
    assert capsys.readouterr().err.startswith("shards: 1 shard in ")
