"""Pictures and captions as an encoder is given them: paths or open images, one or many."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pairjepa.pairs.images import BadImage, bad_image, decode, upright_rgb
from pairjepa.pairs.vectors import as_bytes
from pairjepa.util.errors import UsageError

Picture = str | Path | Image.Image | bytes | Any
"""A path, a PIL image, the bytes of a file, an open file, or an array or tensor of 0 to 255: (height, width),
(height, width, channel), or (channel, height, width) as PyTorch has it, with 1, 3 or 4 channels. For a run on vectors,
one of floats, or a row each."""


_FILES = (str, Path, bytes, bytearray, memoryview)


def listed(images: Picture | Iterable[Picture]) -> list[Picture]:
    """A single picture is a list of one; raises `UsageError` for what is neither a picture nor several."""
    return list(each(images))


def each(images: Picture | Iterable[Picture]) -> Iterable[Picture]:
    """Pictures one by one, of which a generator is not read yet; a single one is one of one.

    Raises:
        UsageError: it is neither a picture nor several.
    """
    given: Any = images
    axes = getattr(images, "ndim", None)
    if axes == 0:
        return each(given.item())
    if isinstance(images, _FILES):
        return [images]
    if axes == 1 and images.dtype.kind in "OUT":  # type: ignore[union-attr]  # an array or a Series of paths
        return images  # type: ignore[return-value]
    if axes == 2 and "float" in str(images.dtype):  # type: ignore[union-attr]
        return images  # type: ignore[return-value]
    if isinstance(images, Image.Image) or hasattr(images, "read") or axes in (1, 2, 3):
        return [images]
    if not isinstance(images, Iterable):
        raise _no_picture(images)
    return images


def opened(picture: Picture, draft: tuple[int, int] | None = None) -> Image.Image:
    """A picture as upright RGB.

    Args:
        picture: a path, or an image, which is taken as it is.
        draft: see `pairjepa.pairs.images.decode`.

    Raises:
        BadImage: it is missing or unreadable; the message names its path.
        UsageError: it is nothing that a picture can be.
    """
    if isinstance(picture, Image.Image):
        return upright_rgb(picture)
    if not isinstance(picture, _FILES):
        if hasattr(picture, "ndim"):
            return _of_array(picture)
        if not hasattr(picture, "read"):
            raise _no_picture(picture)
    name = (
        str(picture) if isinstance(picture, str | Path) else str(getattr(picture, "name", "given as bytes"))
    )
    try:
        if isinstance(picture, str | Path):
            data = Path(picture).read_bytes()
        else:
            given: Any = picture
            data = bytes(given.read() if hasattr(given, "read") else given)
        return decode(data, draft=draft)
    except OSError as error:
        raise bad_image(error, name) from None
    except BadImage as error:
        raise BadImage(error.reason, name) from None
    except (ValueError, TypeError) as error:
        # a path of half characters; a file that is closed, or open as text
        if isinstance(picture, str | Path):
            raise BadImage(f"cannot be read: {error}", ascii(name)) from None
        raise UsageError(f"An image must be a file that is open for bytes, got {name}: {error}.") from None


def _of_array(picture: Any) -> Image.Image:
    values = np.asarray(picture.detach().cpu() if hasattr(picture, "detach") else picture)
    if values.ndim == 1 and values.dtype.kind == "f":
        return decode(as_bytes(values[None])[0])
    if values.ndim == 3 and values.shape[0] in (1, 3, 4) and values.shape[2] not in (1, 3, 4):
        values = values.transpose(1, 2, 0)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if (
        values.dtype != np.uint8
        or not values.size
        or not (values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (3, 4)))
    ):
        raise UsageError(
            "an array of an image must hold 0 to 255 as uint8 in the shape (height, width), (height, width, 3) or "
            f"(height, width, 4), got {values.dtype} {values.shape}. Scale values of 0 to 1 by 255."
        )
    return upright_rgb(Image.fromarray(np.ascontiguousarray(values)))


def _no_picture(picture: object) -> UsageError:
    return UsageError(
        "images must be paths, PIL images, bytes, open files, uint8 arrays or tensors, got "
        f"{type(picture).__name__}. Give one or a list of them."
    )


def strings(captions: Any) -> list[str]:
    """A single caption is a list of one.

    Raises:
        UsageError: one is no string, or holds half a character.
    """
    if not isinstance(captions, Iterable):
        raise UsageError(f"captions must be strings, got {type(captions).__name__}.")
    texts = []
    if getattr(captions, "ndim", None) == 0:
        captions = captions.item()  # type: ignore[attr-defined]
    for text in [captions] if isinstance(captions, str | bytes) else captions:
        if not isinstance(text, str):
            raise UsageError(f"captions must be strings, got {type(text).__name__}.")
        if not text.isascii() and text != text.encode(errors="ignore").decode():
            raise UsageError(f"captions must be whole characters, got half of one in {text!a}.")
        texts.append(text)
    return texts


def asked(
    images: Picture | Iterable[Picture], captions: Iterable[object] | None, sees_captions: bool
) -> tuple[list[Picture], list[str] | None]:
    """What an encoder's `predict` is asked: pictures, and a part of the caption of each, or None.

    Raises:
        UsageError: the run's context sees no captions, or there is not one for each picture.
    """
    pictures = listed(images)
    if captions is None:
        return pictures, None
    texts = strings(captions)
    if not sees_captions:
        raise UsageError(
            "captions must be None for a run whose context sees none (context.caption is off). "
            "Train the recipe masked to predict from image and words."
        )
    if len(texts) != len(pictures):
        raise UsageError(f"captions must be one for each image, got {len(texts)} for {len(pictures)}.")
    return pictures, texts
