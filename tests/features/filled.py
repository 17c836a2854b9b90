"""Features of items, as a training gets them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pairjepa.backbones.image import ImageBackbone
from pairjepa.backbones.masking import Masking
from pairjepa.backbones.text import TextBackbone
from pairjepa.config.settings import View
from pairjepa.features.cache import FeatureTable
from pairjepa.features.extract import fill
from pairjepa.features.work import Images, ImageWork, MaskedTextWork, TextWork


def image_features(
    backbone: ImageBackbone,
    pairs: Images,
    facts: Any,
    views: Sequence[View],
    cache: Path,
    engine: str = "torch",
) -> FeatureTable:
    return fill(ImageWork.of(backbone, pairs, facts, views), cache, engine)


def text_features(
    backbone: TextBackbone, captions: Iterable[Any], cache: Path, engine: str = "torch"
) -> FeatureTable:
    return fill(TextWork.of(backbone, captions), cache, engine)


def masked_text_features(
    backbone: TextBackbone,
    captions: Iterable[Any],
    masking: Masking,
    masks: int,
    cache: Path,
    engine: str = "torch",
) -> FeatureTable:
    return fill(MaskedTextWork.of(backbone, captions, masking=masking, masks=masks), cache, engine)
