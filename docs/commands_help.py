"""What `cog` writes into commands.md: the help of every command, each group of settings once."""

import io
import re

from rich.console import Console

from pairjepa.cli import app


def text() -> str:
    """The page's sections, one a command; a group that an earlier section has shown is only named."""
    verbs = [name for name in app if not name.startswith("-")]
    shown: dict[str, str] = {}
    return "\n".join(_section(words.split(), shown) for words in sorted(verbs))


def _section(words: list[str], shown: dict[str, str]) -> str:
    """The help of one command without its frames."""
    name = " ".join(words)
    blocks = []
    for title, body in _panels(words):
        first = shown.setdefault(f"{title}\n{body}", name)
        blocks.append(
            body if not title else f"{title}: as for `{first}`" if first != name else f"{title}:\n{body}"
        )
    return "\n".join([f"## {name}", "", "```text", "\n\n".join(blocks), "```", ""])


def _panels(words: list[str]) -> list[tuple[str, str]]:
    """Title and text of each frame of a help; what stands before the frames has no title."""
    console = Console(file=io.StringIO(), width=100, color_system=None, force_terminal=False)
    app.help_print(words, console=console)
    assert isinstance(console.file, io.StringIO)
    plain = re.sub(r" +$", "", console.file.getvalue(), flags=re.MULTILINE)
    head, *frames = re.split(r"^╭─ (.*?) ─*╮$", plain, flags=re.MULTILINE)
    bodies = [re.findall(r"^│ (.*?) *│$", frame, re.MULTILINE) for frame in frames[1::2]]
    return [("", head.strip()), *zip(frames[::2], map("\n".join, bodies), strict=True)]
