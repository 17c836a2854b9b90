"""Unpaired quotes in CSV: a cell that begins with `"` and does not end with it takes the rows below into itself."""

import re

from pairjepa.pairs.folders import is_image
from pairjepa.pairs.problems import Problems

_LINES = 200
"""Lines that one honest row may have."""
_SAMPLE = 100


def mend(data: str, delimiter: str, name: str, problems: Problems) -> str:
    """The same table with unpaired quotes as text, so that every row stands for itself.

    A row may go over several lines where its quotes are paired and none of its later lines looks like a row.

    Args:
        data: the whole file, lines ended by LF.
        delimiter: what stands between cells.
        name: the file's, for people.
        problems: where the mended lines go.
    """
    other = rf"[^\n{re.escape(delimiter)}]"
    cell = rf'(?:"(?:[^"]|"")*"|(?!"){other}*)'
    row = re.compile(rf"{cell}(?:{re.escape(delimiter)}{cell})*")
    lines = data.split("\n")
    looks = _Looks(lines, delimiter)
    mended, unpaired, at = [], [], 0
    while at < len(lines):
        end = _end(lines, at, row, looks) if '"' in lines[at] else at + 1
        if end is None:
            unpaired.append(f"{name} line {at + 1}")
            mended.append(looks.quoted(lines[at]))
            end = at + 1
        else:
            mended += lines[at:end]
        at = end
    problems.add("rows with an unpaired quote (read as text)", unpaired)
    return "\n".join(mended)


def _end(lines: list[str], start: int, row: re.Pattern[str], looks: "_Looks") -> int | None:
    """The line behind the row that begins at `start`; None if its quotes are not paired."""
    text = lines[start]
    for at in range(start + 1, min(start + _LINES, len(lines)) + 1):
        if row.fullmatch(text):
            return at
        if at == len(lines) or looks.like_a_row(lines[at]):
            return None
        text += "\n" + lines[at]
    return None


class _Looks:
    """What rows of a table look like: the number of cells, and which of them hold no blank or name an image."""

    def __init__(self, lines: list[str], delimiter: str) -> None:
        self.delimiter = delimiter
        self.count = lines[0].count(delimiter) + 1
        plain = [line.split(delimiter) for line in lines[1 : 10 * _SAMPLE] if '"' not in line]
        cells = list(zip(*[row for row in plain if len(row) == self.count][:_SAMPLE], strict=True))
        self.images = [at for at, column in enumerate(cells) if all(map(is_image, column))]
        self.solid = [at for at, column in enumerate(cells) if not any(" " in c or not c for c in column)]

    def like_a_row(self, line: str) -> bool:
        cells = line.split(self.delimiter, self.count - 1)
        if len(cells) < self.count:
            return False
        if self.images:
            return all(is_image(cells[at].strip('"')) for at in self.images)
        return bool(self.solid) and all(cells[at] and " " not in cells[at] for at in self.solid)

    def quoted(self, line: str) -> str:
        """A line with its quotes as text; what is too much belongs to the last cell."""
        mark = re.escape(self.delimiter)
        first = re.compile(rf'("(?:[^"]|"")*"(?={mark})|[^{mark}]*){mark}')
        cells: list[str] = []
        at = 0
        while len(cells) < self.count - 1 and (found := first.match(line, at)):
            cells.append(_as_text(found[1]))
            at = found.end()
        return self.delimiter.join([*cells, _as_text(line[at:])])


def _as_text(cell: str) -> str:
    if re.fullmatch('"(?:[^"]|"")*"', cell):
        return cell
    return '"' + cell.replace('"', '""') + '"'
