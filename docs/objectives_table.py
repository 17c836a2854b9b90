"""What `cog` writes into objectives.md: the registered terms, by their docstrings."""

import inspect

from pairjepa.objectives import TERMS


def table(*, one_sided: bool) -> str:
    """The predictive terms, or the regularizers, a row each."""
    rows = ["| name | what | source | start with |", "|---|---|---|---|"]
    for name, term in TERMS.items():
        if term.one_sided is one_sided:
            text = inspect.getdoc(term.function) or ""
            cells = text.partition("\n")[0], _paragraph(text, "Source"), _paragraph(text, "Start with")
            rows.append(f"| `{name}` | {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows)


def _paragraph(text: str, title: str) -> str:
    """What follows `title:`, up to an empty line, on one line."""
    paragraphs = (paragraph.partition(": ") for paragraph in text.split("\n\n"))
    return next(" ".join(words.split()) for begin, _, words in paragraphs if begin == title)
