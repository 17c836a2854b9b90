"""How a verdict is put together, and how its numbers are written."""

from typing import Literal

Level = Literal["good", "warn", "bad", "info"]
Verdict = dict[str, str]


def verdict(key: str, title: str, level: Level, value: str, said: str, meaning: str) -> Verdict:
    """One verdict; its `source` is the section of `docs/report.md` that has the name of its key."""
    return {
        "key": key,
        "title": title,
        "value": value,
        "verdict": said,
        "meaning": meaning,
        "level": level,
        "source": f"docs/report.md#{key.replace('_', '-')}",
    }


def percent(share: float) -> str:
    """Two digits where there are no more before the point: `98 %`, `3 %`, `0.13 %`."""
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def number(value: float, digits: int = 2) -> str:
    """With so many decimals, and never -0.00."""
    return f"{round(value, digits) + 0.0:.{digits}f}"
