"""What `cog` writes into commands.md: the help of every command; of its settings, which api.md has, the flags alone."""

import io
import re
from dataclasses import fields

from rich.console import Console

from pairjepa.cli import app
from pairjepa.config.settings import RunConfig

SETTINGS = tuple(RunConfig().to_dict())
COMMON = ("--json", "--device", "--split", "--relevance")
"""Flags of many commands, which the page explains once."""
FIRST = r"^\*? {0,3}(--[\w.-]+|[a-z-]+)(?= )"
"""A flag, or a recipe's name, at the beginning of a line."""


def text() -> str:
    """The page's sections, one a command."""
    return "\n".join(_section(name) for name in sorted(app) if not name.startswith("-"))


def _section(name: str) -> str:
    """The help of one command without its frames."""
    blocks, also = list[str](), list[str]()
    for title, body in _panels([name]):
        body, common = _without_common(body)
        also += common
        flags = re.findall(FIRST, body, re.MULTILINE)
        if title == "Recipes":
            blocks.append(f"Recipes: {' '.join(flags)}")
        elif title.lower() in SETTINGS:
            every = title == "Data" and len(flags) > len(fields(RunConfig().data)) - 2
            also += ["--data.…"] if every else flags
        elif body:
            blocks.append(re.sub(r" *\[required\]", "", body))  # a star says it
    if also:
        blocks.append(f"Also: {' '.join(also)}")
    return "\n".join([f"## {name}", "", "```text", "\n\n".join(blocks), "```", ""])


def _without_common(body: str) -> tuple[str, list[str]]:
    """A frame without the flags of `COMMON`, and which of them it has."""
    kept, common, skipping = list[str](), list[str](), False
    for line in body.splitlines():
        if flag := re.match(FIRST, line):
            skipping = flag[1] in COMMON
            common += [flag[1]] * skipping
        kept += [line] * (not skipping)
    return "\n".join(kept), common


def _panels(words: list[str]) -> list[tuple[str, str]]:
    """Title and text of each frame of a help; what stands before the frames has no title."""
    console = Console(file=io.StringIO(), width=100, color_system=None, force_terminal=False)
    app.help_print(words, console=console)
    assert isinstance(console.file, io.StringIO)
    plain = re.sub(r" +$", "", console.file.getvalue(), flags=re.MULTILINE)
    head, *frames = re.split(r"^╭─ (.*?) ─*╮$", plain, flags=re.MULTILINE)
    bodies = [re.findall(r"^│ (.*?) *│$", frame, re.MULTILINE) for frame in frames[1::2]]
    return [
        ("", head.strip()),
        *zip(frames[::2], map("\n".join, bodies), strict=True),
    ]
