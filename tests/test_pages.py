"""The look that all HTML pages share: its colours can be told apart, in light and in dark."""

import re

import pytest

from pairjepa.apps import pages

COLOURS = dict(
    re.findall(r"--([\w-]+): (light-dark\(#\w{6}, #\w{6}\))", pages.page_text(pages.__name__, "base.css"))
)
TEXT = 4.5  # WCAG 2.2, 1.4.3: contrast of text
GRAPHICS = 3.0  # 1.4.11: of what one must see to understand or to operate
GROUNDS = ("page", "surface", "inset")


def luminance(name: str, theme: int) -> float:
    """Relative luminance of WCAG 2.2; theme 0 is light, 1 is dark."""
    colour = re.findall(r"#(\w{6})", COLOURS[name])[theme]
    channels = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str, theme: int) -> float:
    low, high = sorted((luminance(one, theme), luminance(other, theme)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize("colour", ["text", "muted", "accent", "good", "warn", "bad"])
def test_text_can_be_read_on_every_ground(colour: str, theme: int) -> None:
    assert all(contrast(colour, ground, theme) >= TEXT for ground in GROUNDS)


@pytest.mark.parametrize("theme", [0, 1])
def test_controls_and_series_stand_out(theme: int) -> None:
    assert contrast("on-accent", "accent", theme) >= TEXT
    for colour in ("control", *(f"series-{n}" for n in range(5))):
        assert all(contrast(colour, ground, theme) >= GRAPHICS for ground in ("page", "surface"))


def test_every_variable_that_is_used_is_set() -> None:
    style = pages.page_text(pages.__name__, "base.css")
    used = set(re.findall(r"var\(--([\w-]+)\)", style))  # with no fallback
    assert used <= set(re.findall(r"--([\w-]+):", style))
