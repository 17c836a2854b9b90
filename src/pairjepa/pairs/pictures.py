"""Pictures and captions as an encoder is given them: paths or open images, one or many."""

from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from pairjepa.pairs.images import BadImage, bad_image, decode, upright_rgb
from pairjepa.util.errors import UsageError

Picture = str | Path | Image.Image


def listed(images: Picture | Iterable[Picture]) -> list[Picture]:
    """A single picture is a list of one."""
    return [images] if isinstance(images, str | Path | Image.Image) else list(images)


def opened(picture: Picture, draft: tuple[int, int] | None = None) -> Image.Image:
    """A picture as upright RGB.

    Args:
        picture: a path, or an image, which is taken as it is.
        draft: see `pairjepa.pairs.images.decode`.

    Raises:
        BadImage: it is missing or unreadable; the message names its path.
    """
    if isinstance(picture, Image.Image):
        return upright_rgb(picture)
    path = Path(picture)
    try:
        return decode(path.read_bytes(), draft=draft)
    except OSError as error:
        raise bad_image(error, str(path)) from None
    except BadImage as error:
        raise BadImage(error.reason, str(path)) from None


def strings(captions: Iterable[object]) -> list[str]:
    """A single caption is a list of one.

    Raises:
        UsageError: one is no string.
    """
    texts = []
    for text in [captions] if isinstance(captions, str) else captions:
        if not isinstance(text, str):
            raise UsageError(f"captions must be strings, got {type(text).__name__}.")
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
