"""What decoding takes: bounded by what a picture becomes, measured as the peak of a process that does nothing else."""

import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pairjepa.apps.serve.app import MEMORY
from pairjepa.pairs import images
from pairjepa.pairs.images import BadImage, decode, memory_of

SOURCE = Path(__file__).parents[2] / "src" / "pairjepa"
MEGABYTE = 1_000_000
BESIDE = 16 * MEGABYTE
"""What the result, the bands and Python take beside what is bounded."""


def drawn(mode: str, side: int) -> Image.Image:
    """A smooth picture of that mode: its file is small, and quick to write."""
    grey = Image.linear_gradient("L").resize((side, side))
    if mode in ("I;16", "I", "F"):
        kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        return Image.fromarray(np.asarray(grey).astype(kind) * kind(257))
    if mode == "P":
        return grey.convert("P")
    return grey.convert("RGB").convert(mode) if mode == "CMYK" else grey.convert(mode)


def written(mode: str, form: str, side: int, **options: Any) -> bytes:
    file, image = io.BytesIO(), drawn(mode, side)
    if options.pop("animated", False):
        options |= {"save_all": True, "append_images": [image.rotate(180)]}
    image.save(file, form, **options)
    return file.getvalue()


# mode, format, options, bytes a pixel that are reckoned with
KINDS = [
    ("RGB", "JPEG", {"progressive": True, "subsampling": 0}, 10),
    ("CMYK", "JPEG", {"progressive": True}, 12),
    ("RGBA", "PNG", {"compress_level": 1}, 4),
    ("I;16", "PNG", {"compress_level": 1}, 2),
    ("P", "PNG", {"compress_level": 1, "transparency": 3}, 1),
    ("P", "GIF", {"animated": True}, 1),
    ("CMYK", "TIFF", {"compression": "tiff_lzw"}, 4),
    ("F", "TIFF", {"compression": "tiff_lzw"}, 4),
    ("RGB", "TIFF", {"compression": "jpeg"}, 4),
    ("RGB", "WEBP", {"method": 0, "quality": 50, "animated": True}, 20),
    ("RGBA", "WEBP", {"method": 0, "lossless": True}, 20),
    ("RGBA", "AVIF", {"speed": 10, "quality": 40}, 20),
]

CHILD = """
import re, sys
from pairjepa.pairs.images import decode
data, given = open(sys.argv[1], "rb").read(), int(sys.argv[2])
now = lambda name: 1024 * int(re.search(name + r":\\s+(\\d+) kB", open("/proc/self/status").read())[1])
before = now("VmRSS")
decode(data, pixels=500_000, memory=given)
print(now("VmHWM") - before)
"""


def peak_of(data: bytes, given: int, folder: Path) -> int:
    (folder / "picture").write_bytes(data)
    command = [sys.executable, "-c", CHILD, str(folder / "picture"), str(given)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from /proc")


@on_linux
@pytest.mark.parametrize(("mode", "form", "options", "each"), KINDS, ids=lambda value: str(value)[:30])
def test_no_more_is_taken_than_is_given(
    mode: str, form: str, options: dict[str, Any], each: int, tmp_path: Path
) -> None:
    given = 32 * MEGABYTE
    side = int((0.9 * given / each) ** 0.5)
    data = written(mode, form, side, **options)
    with Image.open(io.BytesIO(data)) as opened:
        needed = memory_of(opened, side * side)
    assert each * side * side <= needed <= given  # of TIFF the blocks come on top
    assert peak_of(data, given, tmp_path) <= given + BESIDE
    with pytest.raises(BadImage, match=r"too large: decoding takes \d+ MB, at most \d+ are given to it"):
        decode(data, memory=needed - 1)


@on_linux
def test_the_largest_upload_takes_what_the_docs_say(tmp_path: Path) -> None:
    side = int((MEMORY / 4) ** 0.5)
    file = io.BytesIO()
    Image.new("RGBA", (side, side), (9, 99, 199, 200)).save(file, "PNG", compress_level=1)
    docs = (SOURCE.parents[1] / "docs" / "serve.md").read_text("utf-8")
    stated = re.search(r"at most (\d+) MB of memory for each", docs)
    assert stated
    assert peak_of(file.getvalue(), MEMORY, tmp_path) <= int(stated[1]) * MEGABYTE
    assert int(stated[1]) * MEGABYTE >= MEMORY + BESIDE


MODES = ["RGB", "RGBA", "LA", "L", "P", "CMYK", "I;16", "I", "F", "1", "LAB", "YCbCr", "PA", "HSV"]


@pytest.mark.parametrize("factor", [1, 3])
@pytest.mark.parametrize("mode", MODES)
def test_bands_are_the_whole(mode: str, factor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    image = drawn(mode if mode in ("I;16", "I", "F") else "RGB", 61)
    image = image if image.mode == mode else image.convert(mode)
    if mode in ("RGBA", "LA", "PA"):
        image.putalpha(drawn("L", 61))
    for transparency in [None] + ([3, bytes(range(256))] if mode == "P" else []):
        if transparency is not None:
            image.info["transparency"] = transparency
        monkeypatch.setattr(images, "_BAND", 10**9)
        whole = images._to_rgb(image, factor)
        monkeypatch.setattr(images, "_BAND", 200)
        assert images._to_rgb(image, factor).tobytes() == whole.tobytes()
        assert whole.size == (-(-61 // factor),) * 2


def test_sixteen_bits_to_eight_against_division() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    rgb = np.asarray(images._to_rgb(Image.fromarray(values)))
    np.testing.assert_array_equal(rgb[..., 0], np.round(values / 257.0))


def test_nothing_else_opens_images() -> None:
    opening = [path.name for path in SOURCE.rglob("*.py") if "Image.open(" in path.read_text("utf-8")]
    assert opening == ["images.py"]


@pytest.mark.parametrize(
    "head",
    [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"%PDF-1.4\n", b"\xd7\xcd\xc6\x9a" + bytes(40)],
)
def test_what_is_no_raster_starts_no_program(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    with pytest.raises(BadImage, match="not an image that can be read"):
        decode(head + b"%%EndComments\n%%EOF\n")
