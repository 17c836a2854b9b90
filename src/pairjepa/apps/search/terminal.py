"""Pictures in a terminal that shows them."""

import base64
import io
import os
from collections.abc import Mapping
from typing import Literal, TextIO

from pairjepa.pairs.images import decode

ROWS = 8  # lines of text that a picture is high
_CHUNK = 4096  # the longest piece that kitty takes

Protocol = Literal["kitty", "iterm"]


def protocol(stream: TextIO, environment: Mapping[str, str] = os.environ) -> Protocol | None:
    """How the terminal behind `stream` is shown pictures; None if it cannot, or nobody looks.

    Read from what terminals say of themselves: to ask one takes keystrokes from the user, and waits where it is mute.
    """
    if not stream.isatty() or "TMUX" in environment or environment.get("TERM", "").startswith("screen"):
        return None
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if "KITTY_WINDOW_ID" in environment or "kitty" in term or "ghostty" in term + program:
        return "kitty"
    return "iterm" if program in ("iTerm.app", "WezTerm") else None


def picture(jpeg: bytes, way: Protocol) -> str:
    """What, printed, shows a picture `ROWS` lines high.

    kitty: https://sw.kovidgoyal.net/kitty/graphics-protocol, iterm: https://iterm2.com/documentation-images.html.
    """
    if way == "iterm":
        data = base64.b64encode(jpeg).decode()
        return f"\033]1337;File=inline=1;size={len(jpeg)};height={ROWS};preserveAspectRatio=1:{data}\a"
    png = io.BytesIO()
    decode(jpeg).save(png, "PNG")
    data = base64.b64encode(png.getvalue()).decode()
    pieces = [data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK)]
    # a=T: show it, f=100: PNG, r: rows, q=2: no answer, m=1: there is more
    heads = [f"a=T,f=100,r={ROWS},q=2,", *[""] * (len(pieces) - 1)]
    return "".join(
        f"\033_G{head}m={int(number < len(pieces) - 1)};{piece}\033\\"
        for number, (head, piece) in enumerate(zip(heads, pieces, strict=True))
    )
