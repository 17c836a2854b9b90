"""Whatever kind of image file: an upright RGB picture, or a reason."""

import io
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from pairjepa.pairs import images
from pairjepa.pairs.images import BadImage, decode

Encoded = Callable[..., bytes]


def _pixel(image: Image.Image, at: tuple[int, int] = (0, 0)) -> Any:
    assert image.mode == "RGB"
    return image.getpixel(at)


def _png(width: int, height: int, bits: int = 8, data: bytes = zlib.compress(b"")) -> bytes:
    """A PNG in colours; without data it says it is huge, in 60 bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + start + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_sixteen_bits_are_scaled_not_clipped(encoded: Encoded) -> None:
    values = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
    image = decode(encoded(Image.fromarray(values)))
    assert [_pixel(image, (x, 0))[0] for x in range(3)] == [0, 100, 255]


@pytest.mark.parametrize(
    ("values", "kind", "expected", "scale"),
    [
        ([0, 2000, 3428], np.uint16, [0, 125, 213], (0, 4095)),
        ([0, 100, 255], np.uint16, [0, 100, 255], (0, 255)),
        ([-1024, 0, 3071], np.int32, [0, 64, 255], (-1024, 3071)),
        ([-1000.5, 0, 1000.5], np.float32, [0, 128, 255], (-1000.5, 1000.5)),
        ([7.0, 7.0, np.nan], np.float32, [7, 7, 0], (0, 255)),
        ([-5, -5, -5], np.int32, [0, 0, 0], (-5, -5)),
    ],
)
def test_deep_images_are_scaled_by_what_is_in_them(
    encoded: Encoded, values: list[float], kind: Any, expected: list[int], scale: tuple[float, float]
) -> None:
    image = decode(encoded(Image.fromarray(np.array([values], dtype=kind)), "TIFF"))
    assert [_pixel(image, (x, 0))[0] for x in range(3)] == expected
    assert image.info["values"] == scale


def test_colours_of_sixteen_bits_are_said() -> None:
    """Pillow keeps the upper eight bits of them: those of 12 bits are dark, which nobody could know."""
    row = b"\0" + np.array([[4095, 2048, 0]], dtype=">u2").tobytes()
    image = decode(_png(1, 1, 16, zlib.compress(row)))
    assert _pixel(image) == (15, 8, 0)
    assert image.info["values"] == (0, 65535)
    assert "values" not in decode(_png(1, 1, 8, zlib.compress(b"\0\1\2\3"))).info


@pytest.mark.parametrize("form", ["JPEG2000", "PPM"])
def test_other_formats(encoded: Encoded, picture: Any, form: str) -> None:
    assert decode(encoded(picture(1), form)).size == (40, 30)


def test_heic(encoded: Encoded, picture: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pillow_heif")
    data = encoded(picture(1, (64, 48)), "HEIF")
    assert decode(data).size == (64, 48)
    monkeypatch.setattr(images, "FORMATS", ["JPEG"])
    monkeypatch.setattr(images, "HEIF", False)
    with pytest.raises(BadImage, match=r"HEIC needs pip install 'pairjepa\[heic\]'"):
        decode(data)


@pytest.mark.parametrize(
    ("values", "expected"), [([0, 0.5, 1], 128), ([0, 100, 255], 100), ([0, 500, 1000], 128)]
)
def test_floats_are_scaled_by_their_range(encoded: Encoded, values: list[float], expected: int) -> None:
    image = decode(encoded(Image.fromarray(np.array([values], dtype=np.float32)), "TIFF"))
    assert [_pixel(image, (x, 0))[0] for x in range(3)] == [0, expected, 255]


def test_transparency_is_white(encoded: Encoded) -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert _pixel(decode(encoded(clear))) == (255, 255, 255)
    assert _pixel(decode(encoded(Image.new("RGBA", (4, 4), (0, 0, 0, 128)))))[0] == pytest.approx(127, abs=1)
    assert _pixel(decode(encoded(Image.new("LA", (4, 4), (10, 0))))) == (255, 255, 255)
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 20, 200, 30])
    assert _pixel(decode(encoded(palette))) == (20, 200, 30)
    assert _pixel(decode(encoded(palette, transparency=1))) == (255, 255, 255)


@pytest.mark.parametrize(("mode", "colour", "expected"), [("L", 40, (40, 40, 40)), ("1", 1, (255, 255, 255))])
def test_one_channel(encoded: Encoded, mode: str, colour: int, expected: tuple[int, ...]) -> None:
    assert _pixel(decode(encoded(Image.new(mode, (4, 4), colour)))) == expected


def test_cmyk(encoded: Encoded) -> None:
    red = decode(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert np.abs(np.array(_pixel(red)) - (255, 0, 0)).max() < 12


def test_animation_gives_its_first_frame(encoded: Encoded) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for form in ("GIF", "PNG", "WEBP"):
        assert _pixel(
            decode(encoded(frames[0], form, save_all=True, append_images=frames[1:], duration=9))
        ) == pytest.approx((255, 0, 0), abs=8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(encoded: Encoded, picture: Callable[..., Image.Image], orientation: int) -> None:
    """Oracle: Pillow's own transposition."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(picture(0, (64, 32)), "PNG", exif=exif)
    image = decode(data)
    with Image.open(io.BytesIO(data)) as opened:
        expected = ImageOps.exif_transpose(opened)
    assert image.size == image.info["whole"] == expected.size
    assert image.tobytes() == expected.tobytes()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_is_no_reason_to_lose_a_picture(
    encoded: Encoded, picture: Callable[..., Image.Image]
) -> None:
    assert decode(encoded(picture(0), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")).size == (40, 30)


@pytest.mark.parametrize("orientation", [1, 6])
def test_draft_is_smaller_never_below_and_knows_the_whole_size(encoded: Encoded, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.new("RGB", (1600, 400), "green"), "JPEG", exif=exif)
    upright = (1600, 400) if orientation == 1 else (400, 1600)
    for draft, expected in (((64, 64), 4), ((1, 1), 8), ((upright[0] // 2, 1), 2)):
        image = decode(data, draft=draft)
        assert image.info["whole"] == upright
        assert image.size == (upright[0] // expected, upright[1] // expected)
        assert "values" not in image.info  # the 16 of its width says nothing of its depth


@pytest.mark.parametrize("draft", [None, (64, 64)])
@pytest.mark.parametrize(
    ("form", "options"), [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {})]
)
def test_truncated(
    encoded: Encoded,
    picture: Callable[..., Image.Image],
    form: str,
    options: dict[str, bool],
    draft: tuple[int, int] | None,
) -> None:
    data = encoded(picture(1, (400, 300)), form, **options)
    assert decode(data, draft=draft).mode == "RGB"
    for kept in (0.3, 0.9):
        with pytest.raises(BadImage):
            decode(data[: int(len(data) * kept)], draft=draft)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_reasons() -> None:
    for data, match in (
        (b"", "the file is empty"),
        (b"<html>not found</html>", "not an image that can be read"),
        (b"\xff\xd8\xff\xe0nonsense", "not an image|damaged"),
        (_png(20_000, 11_000), "too large"),
        (_png(60_000, 60_000), "too large"),
        (_png(10, 10), "damaged"),
    ):
        with pytest.raises(BadImage, match=match) as error:
            decode(data)
        assert str(error.value) == error.value.reason


def test_threads(encoded: Encoded, picture: Callable[..., Image.Image]) -> None:
    data = [encoded(picture(seed), "JPEG") for seed in range(20)]
    with ThreadPoolExecutor(4) as pool:
        together = [image.tobytes() for image in pool.map(decode, data * 3)]
    assert together == [decode(one).tobytes() for one in data] * 3
