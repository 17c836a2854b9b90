"""What is said while one waits: a line that moves on a terminal, lines that stay in a log."""

import io

import pytest

from pairjepa.util import progress


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
