"""What `cog` writes into commands.md: the help of every command, as the program prints it."""

import io

from rich.console import Console

from pairjepa.cli import app


def text() -> str:
    """The page's sections, one a command."""
    verbs = [name for name in app if not name.startswith("-")]
    return "\n".join(_section([verb]) for verb in [*sorted(verbs), "train contrastive"])


def _section(words: list[str]) -> str:
    tokens = " ".join(words).split()
    console = Console(file=io.StringIO(), width=100, color_system=None, force_terminal=False)
    app.help_print(tokens, console=console)
    assert isinstance(console.file, io.StringIO)
    lines = [line.rstrip() for line in console.file.getvalue().strip().splitlines()]
    return "\n".join([f"## {' '.join(tokens)}", "", "```text", *lines, "```", ""])
