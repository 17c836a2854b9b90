"""A picture as its image backbone wants it: size, crop, interpolation, mean and standard deviation.

The numbers come from the backbone's `preprocessor_config.json`, which is read as JSON: the processor classes
of Transformers cost more than a second to import, and some cannot be imported without torchvision.

Axes: `size` = side of the square input, 3 = red, green, blue.
"""

import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pairjepa.config.settings import View
from pairjepa.pairs.vectors import INFO
from pairjepa.util.errors import PairJEPAError, UsageError
from pairjepa.util.files import read_json
from pairjepa.util.progress import say

MARGIN = 3
"""A JPEG is decoded at no less than this times the side that it is then resized to."""

_BILINEAR, _BICUBIC = 2, 3  # Pillow's and Transformers' numbers
_IMAGENET = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}
_HALF = {"image_mean": 0.5, "image_std": 0.5}
_CLIP = {
    "image_mean": (0.48145466, 0.4578275, 0.40821073),
    "image_std": (0.26862954, 0.26130258, 0.27577711),
}
_CROP = {"do_center_crop": True, "crop_size": 224}
_LIKE_CLIP = {**_CLIP, **_CROP, "resample": _BICUBIC, "size": {"shortest_edge": 224}}
_LIKE_MOBILENET = {**_HALF, **_CROP, "resample": _BILINEAR, "size": {"shortest_edge": 256}}

_OTHERS = {**_IMAGENET, "resample": _BILINEAR, "size": 224}
_SQUARE_CLIP = {**_CLIP, "resample": _BICUBIC, "size": 224}

# What a processor of Transformers takes where its file is silent (files often are: no `resample`, an old `size`).
_FAMILIES: dict[str, dict[str, Any]] = {
    "": _OTHERS,  # files that name no processor
    "Beit": {**_HALF, "resample": _BICUBIC, "size": 224, "crop_size": 224},
    "Bit": _LIKE_CLIP,
    "CLIP": _LIKE_CLIP,
    "Blip": {**_SQUARE_CLIP, "size": 384},
    "ChineseCLIP": _LIKE_CLIP,
    "ConvNext": {**_HALF, "resample": _BICUBIC, "size": {"shortest_edge": 384}, "crop_pct": 224 / 256},
    "DeiT": {**_HALF, **_CROP, "resample": _BICUBIC, "size": 256},
    "DINOv3ViT": _OTHERS,
    "DPT": {**_HALF, "resample": _BICUBIC, "size": 384},
    "EfficientNet": {**_HALF, "resample": _BICUBIC, "size": 346, "crop_size": 289, "include_top": True},
    "Flava": {**_SQUARE_CLIP, **_CROP},
    "Levit": {**_LIKE_CLIP, **_IMAGENET},
    "MobileNetV1": _LIKE_MOBILENET,
    "MobileNetV2": _LIKE_MOBILENET,
    "MobileViT": {
        **_LIKE_CLIP,
        **_HALF,
        "crop_size": 256,
        "do_normalize": False,
        "do_flip_channel_order": True,
    },
    "OwlViT": {**_SQUARE_CLIP, "size": 768, "crop_size": 768},
    "PoolFormer": {**_LIKE_CLIP, **_IMAGENET, "crop_pct": 0.9},
    "Pvt": {**_OTHERS, "resample": _BICUBIC},
    "Segformer": {**_OTHERS, "size": 512},
    "Siglip": {**_HALF, "resample": _BICUBIC, "size": 224},
    "ViT": {**_HALF, "resample": _BILINEAR, "size": 224},
}

_NEEDED = {"do_resize": True, "do_pad": False, "keep_aspect_ratio": False}
"""Options without which a processor's pictures are of several sizes."""

SHAPE = {"size": int, "resize": int, "keep_aspect": bool, "resample": int, "mean": [float], "std": [float]}
"""What `Preprocessing.to_dict` gives."""


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the input of a backbone: a square of `size` pixels, `(pixel - mean) / std`."""

    size: int
    """Side of the square input, in pixels."""
    resize: int
    """The centre view is cut from the picture with its shorter edge resized to this."""
    keep_aspect: bool
    """If not, the whole picture is squeezed to `resize` by `resize` before that cut."""
    resample: int
    """Pillow's number of the interpolation."""
    mean: tuple[float, ...]
    """Subtracted from the pixels of 0 to 255, a number a channel."""
    std: tuple[float, ...]
    """What they are then divided by."""
    bgr: bool = False
    """Whether blue comes first."""
    others: tuple["Preprocessing", ...] = ()
    """Of further backbones, whose pixels stand beside as channels."""

    def prepare(self, image: Image.Image, view: View) -> UInt8[np.ndarray, "{self.size} {self.size} channel"]:
        """One view of an RGB picture.

        `centre` is what the backbone was made for, `whole` squeezes the entire picture into the square;
        `-mirrored` is the same, left and right exchanged.
        """
        if INFO in image.info:
            raise UsageError(
                "An image must be a picture for this run, got a vector. It was trained with an image encoder."
            )
        base = view.removesuffix("-mirrored")
        each = [own._pixels(image, base) for own in (self, *self.others)]
        pixels = np.concatenate(each, axis=2) if self.others else each[0]
        return pixels if base == view else pixels[:, ::-1]

    @property
    def min_decode_size(self) -> tuple[int, int]:
        """(width, height) that a JPEG need not be decoded above (`pairs.images.decode`).

        Features of photographs then keep a cosine of 0.9995 with those of the whole picture; at twice the side
        instead of `MARGIN` times it was down to 0.9988, at once the side to 0.98.
        """
        side = MARGIN * max(max(own.size, own.resize) for own in (self, *self.others))
        return side, side

    def resized(self, size: int) -> "Preprocessing":
        """The same for a square of another size; what the centre view leaves out stays in proportion."""
        return replace(self, size=size, resize=round(self.resize * size / self.size))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` is its inverse."""
        values = asdict(self) | {"others": [other.to_dict() for other in self.others]}
        for name in ("bgr", "others"):  # features were kept under names without them
            if not values[name]:
                del values[name]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Preprocessing":
        """Rebuild what `to_dict` gave."""
        known = {name: values[name] for name in SHAPE}
        known |= {"mean": tuple(values["mean"]), "std": tuple(values["std"])}
        others = tuple(cls.from_dict(other) for other in values.get("others", ()))
        return cls(**known, bgr=values.get("bgr", False), others=others)

    def _pixels(self, image: Image.Image, base: str) -> UInt8[np.ndarray, "{self.size} {self.size} 3"]:
        pixels = np.asarray(self._whole(image) if base == "whole" else self._centre(image))
        return pixels[:, :, ::-1] if self.bgr else pixels

    def _whole(self, image: Image.Image) -> Image.Image:
        return image.resize((self.size, self.size), self.resample)

    def _centre(self, image: Image.Image) -> Image.Image:
        width, height = self.resize, self.resize
        if self.keep_aspect:
            short, long = sorted(image.size)
            longer = int(self.resize * long / short)
            width, height = (longer, width) if image.width > image.height else (width, longer)
        left, top = (width - self.size) // 2, (height - self.size) // 2
        # A crop beyond the picture is black there, as it is in Transformers.
        return image.resize((width, height), self.resample).crop(
            (left, top, left + self.size, top + self.size)
        )


def read_preprocessing(folder: Path, default_size: int | None = 224) -> Preprocessing:
    """The preprocessing of the backbone in `folder`.

    Without a `preprocessor_config.json` it is ImageNet's mean and standard deviation at `default_size` pixels,
    bilinear, and a line says so; of None, that of a pretrained pair, the file must be there.

    Raises:
        PairJEPAError: the file is missing or broken, or asks for something that is no square.
    """
    values = _read(folder)
    if values is None:
        if default_size is None:
            raise PairJEPAError(
                f"model.pair must be a folder with its preprocessor_config.json, got {folder}. Save its image "
                "processor there too; one that was tuned has that of the pair that it began as."
            )
        say(
            f"{folder} has no preprocessor_config.json: taking ImageNet's mean and standard deviation, "
            f"{default_size} px, bilinear."
        )
        values = {"size": {"shortest_edge": default_size * 256 // 224}, **_CROP, "crop_size": default_size}
    try:
        return parse(values)
    except (ArithmeticError, KeyError, TypeError, ValueError) as error:
        raise PairJEPAError(
            f"The preprocessing of {folder} cannot be used: {error}. Mend its preprocessor_config.json."
        ) from None


def _read(folder: Path) -> dict[str, Any] | None:
    if (path := folder / "preprocessor_config.json").is_file():
        values: Any = read_json(path, "The preprocessing")
    elif (path := folder / "processor_config.json").is_file():  # a processor of images and text together
        values = read_json(path, "The preprocessing")
        values = values.get("image_processor") if isinstance(values, dict) else values
    else:
        return None
    if values is not None and not isinstance(values, dict):
        raise PairJEPAError(f"The preprocessing {path} must be a JSON object, got {type(values).__name__}.")
    return values


def parse(values: dict[str, Any]) -> Preprocessing:
    """The `Preprocessing` that a `preprocessor_config.json` of Transformers describes.

    DINOv3 resizes after it has rescaled, so here its pixels are rounded to 1/255.

    Raises:
        ValueError: the processor is not known, pictures do not become squares of one size, or a number of channels
            other than 1 or 3 is described.
    """
    name = values.get("image_processor_type") or values.get("feature_extractor_type") or ""
    family = re.sub(r"(ImageProcessor|FeatureExtractor)(Fast|Pil)?$", "", name)
    if family not in _FAMILIES:
        raise ValueError(f"its processor must be one of {', '.join(filter(None, _FAMILIES))}, got {name}")
    defaults = _FAMILIES[family]
    # A null in the file means "not set", as a missing name does.
    values = {**defaults, **{key: value for key, value in values.items() if value is not None}}

    for option, needed in _NEEDED.items():
        if values.get(option, needed) != needed:
            raise ValueError(f"its {option} must be {str(needed).lower()}, to make squares of one size")

    size = values["size"]
    if isinstance(size, int) and not values.get("default_to_square", isinstance(defaults["size"], int)):
        size = {"shortest_edge": size}
    keep_aspect = isinstance(size, dict) and size.keys() == {"shortest_edge"}
    resize = int(size["shortest_edge"]) if keep_aspect else _square("size", size)
    crop = resize
    if family == "PoolFormer":
        resize, keep_aspect = int(resize / values["crop_pct"]), True
    if family == "Levit" and keep_aspect:
        resize = int(resize * 256 / 224)
    if family == "ConvNext" and not keep_aspect:
        raise ValueError(f"its size must be a shortest_edge, got {size}")
    if family == "ConvNext":  # below 384 px its size is that of the crop; from there on it squeezes
        if resize < 384:
            resize = int(resize / values["crop_pct"])
        else:
            keep_aspect = False
    if values.get("do_center_crop") and family != "Segformer":  # which takes no notice of it
        crop = _square("crop_size", values.get("crop_size"))
    elif keep_aspect and family != "ConvNext":
        raise ValueError(
            "its size must be a square where nothing is cropped (do_center_crop), got a shortest_edge"
        )
    if values["resample"] not in range(6):
        raise ValueError(f"its resample must be a number from 0 to 5, as Pillow's, got {values['resample']}")

    # Rescaling and normalising are one affine map of the pixel: ((pixel * factor - offset) - mean) / std.
    factor = float(values.get("rescale_factor", 1 / 255)) if values.get("do_rescale", True) else 1.0
    offset = 1.0 if family == "EfficientNet" and values.get("rescale_offset") else 0.0
    normalised = values.get("do_normalize", True)
    mean = _three(values["image_mean"]) if normalised else (0.0,) * 3
    std = _three(values["image_std"])
    divided = tuple(s if normalised else 1.0 for s in std)
    if family == "EfficientNet" and values["include_top"]:  # which divides by it once more
        divided = tuple(d * s for d, s in zip(divided, std, strict=True))
    if min(crop, resize, *divided, factor) <= 0 or not np.isfinite([*mean, *divided, factor]).all():
        raise ValueError(
            "its sizes, standard deviation and rescale_factor must be above 0, and its mean a number"
        )
    return Preprocessing(
        size=crop,
        resize=resize,
        keep_aspect=keep_aspect,
        resample=int(values["resample"]),
        mean=tuple((m + offset) / factor for m in mean),
        std=tuple(d / factor for d in divided),
        bgr=family == "MobileViT" and bool(values["do_flip_channel_order"]),
    )


def _square(name: str, size: Any) -> int:
    sides = list(size.values()) if isinstance(size, dict) and size.keys() == {"height", "width"} else size
    if isinstance(sides, int | float):
        return int(sides)
    if not isinstance(sides, list) or len(sides) != 2 or sides[0] != sides[1]:
        raise ValueError(f"its {name} must be a square, got {size}")
    return int(sides[0])


def _three(value: Any) -> tuple[float, ...]:
    numbers = (float(value),) if isinstance(value, int | float) else tuple(map(float, value))
    if len(numbers) not in (1, 3):
        raise ValueError(f"its mean and standard deviation must be for 3 channels, got {len(numbers)}")
    return numbers * 3 if len(numbers) == 1 else numbers
