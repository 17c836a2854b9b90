"""The two backbones that a configuration names: a folder, a hub id, or a built-in one."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from pairjepa.backbones import image as image_backbone
from pairjepa.backbones import text as text_backbone
from pairjepa.backbones.image import ImageBackbone
from pairjepa.backbones.joined import JoinedImage
from pairjepa.backbones.layers import UpperLayers
from pairjepa.backbones.loading import MEND, load_tokenizer, load_transformer
from pairjepa.backbones.location import locate, say_towers, vector_width
from pairjepa.backbones.pair import load_pair
from pairjepa.backbones.preprocessing import read_preprocessing
from pairjepa.backbones.probe import check_image, check_text, usable
from pairjepa.backbones.sentence import SentenceSettings, prepend, read_sentence_settings
from pairjepa.backbones.text import TextBackbone
from pairjepa.backbones.tiny import TINY_IMAGE, TINY_TEXT, tiny_bert, tiny_preprocessing, tiny_resnet
from pairjepa.backbones.vectors import VectorImages, VectorTexts
from pairjepa.config.settings import ModelConfig, RunConfig
from pairjepa.util.checksums import check
from pairjepa.util.errors import UsageError


def load_image_backbone(model: ModelConfig, seed: int, folder: Path | None = None) -> ImageBackbone:
    """The image backbone that `model` names, or the one that `ImageBackbone.save` wrote to `folder`.

    Args:
        model: its image_* settings are read.
        seed: of whatever starts from random weights; the global random state is left alone.
        folder: what a run kept of it; size and stages are then the saved ones.

    Raises:
        PairJEPAError: it is not there, cannot be loaded or used, or is a text model.
        UsageError: no backbone is named, or its size or stages cannot be.
    """
    if folder is not None:
        check(folder, MEND)
        settings = image_backbone.read_settings(folder)
        return ImageBackbone(load_transformer(folder, "image", "pretrained", seed, MEND), *settings)
    if width := vector_width(model.image):
        return VectorImages(width)
    if isinstance(model.image, tuple):
        return JoinedImage([load_image_backbone(replace(model, image=name), seed) for name in model.image])
    if model.image == TINY_IMAGE:
        network, preprocessing = tiny_resnet(seed), tiny_preprocessing()
    else:
        source = locate(model.image, "image", model.image_revision)
        network = load_transformer(source, "image", model.image_weights, seed)
        own = getattr(network.config, "image_size", None)
        preprocessing = read_preprocessing(source, own if isinstance(own, int) else 224)
    if getattr(network.config, "num_channels", 3) != 3:
        raise UsageError(
            f"model.image must take pictures of 3 channels, got {network.config.num_channels}."  # type: ignore[union-attr]
        )
    if model.image_size is not None:
        preprocessing = preprocessing.resized(model.image_size)
    with usable("model.image", model.image):
        return ImageBackbone(network, preprocessing, model.image_stages, model.image_grid)


def load_text_backbone(
    model: ModelConfig, seed: int, captions: Iterable[str] = (), folder: Path | None = None
) -> TextBackbone:
    """The text backbone that `model` names, or the one that `TextBackbone.save` wrote to `folder`.

    Args:
        model: its text_* settings and max_tokens are read.
        seed: of whatever starts from random weights; the global random state is left alone.
        captions: of the train split; `tiny-bert` takes its words from them.
        folder: what a run kept of it; pooling, layers and cut are then the saved ones.

    Raises:
        PairJEPAError: it is not there, cannot be loaded or used, or is an image model.
        UsageError: no backbone is named, or its layers or max_tokens cannot be.
    """
    assert model.max_tokens is not None  # `validate` allows that for a pair alone
    if folder is not None:
        check(folder, MEND)
        settings = text_backbone.read_settings(folder)
        network = load_transformer(folder, "text", "pretrained", seed, MEND)
        return TextBackbone(network, load_tokenizer(folder), *settings)
    if width := vector_width(model.text):
        return VectorTexts(width)
    own = SentenceSettings(model.text_pooling or "mean")
    if model.text == TINY_TEXT:
        network, tokenizer = tiny_bert(captions, model.max_tokens, seed)
    else:
        source = locate(model.text, "text", model.text_revision)
        if model.text_pooling is None:
            own = read_sentence_settings(source)
        network = load_transformer(source, "text", model.text_weights, seed)
        tokenizer = load_tokenizer(source)
    if own.prompt:
        prepend(tokenizer, own.prompt)
    if own.longest is not None:
        tokenizer.model_max_length = min(tokenizer.model_max_length, own.longest)
    with usable("model.text", model.text):
        frozen = model.text_frozen_layers or 0
        text = TextBackbone(
            network, tokenizer, own.pooling, model.max_tokens, model.text_layers, own.normalise, frozen
        )
        if frozen:
            UpperLayers(text, frozen)  # or it says why it cannot be cut there
        return text


def load_backbones(
    config: RunConfig, captions: Any, run: Path | None = None
) -> tuple[ImageBackbone, TextBackbone]:
    """The untrained backbones of a run: from its own folder where it keeps them, else from where they came.

    Those of a new run are probed.

    Raises:
        UsageError: `model.image` or `model.text` is not given, or there is no mask token and it is asked for.
        PairJEPAError: a backbone cannot be loaded, or is no function of its input.
    """
    image, text = _load(config, captions, run)
    new = run is None or not (run / "run.json").is_file()
    if new and not isinstance(image, VectorImages):
        model = config.model
        say_towers(model)
        check_image(image, "model.pair" if model.pair else "model.image", model.pair or model.image)
        check_text(text, "model.pair" if model.pair else "model.text", model.pair or model.text)
    if config.context.hidden_words == "mask" and text.tokenizer.mask_token_id is None:
        raise UsageError(
            "context.hidden_words must be omit where the tokenizer has no mask token, got 'mask'. Leave it out."
        )
    return image, text


def _load(config: RunConfig, captions: Any, run: Path | None) -> tuple[ImageBackbone, TextBackbone]:
    model = config.model
    if width := vector_width(model.pair):
        return VectorImages(width), VectorTexts(width)
    if model.pair is not None:
        if run is None or not (run / "pair").is_dir():
            return load_pair(locate(model.pair, "pair", model.pair_revision), model.max_tokens)
        check(run / "pair", MEND)
        return load_pair(run / "pair", model.max_tokens)
    folders = {side: run / side if run and (run / side).is_dir() else None for side in ("image", "text")}
    seed = config.training.seed
    image = load_image_backbone(config.model, seed, folders["image"])
    return image, load_text_backbone(config.model, seed, captions, folders["text"])


def describe(config: RunConfig, image: ImageBackbone, text: TextBackbone) -> dict[str, dict[str, Any]]:
    """What the run folder keeps of its backbones."""
    record = {
        side: {
            "source": config.model.pair or _shown(getattr(config.model, side)),
            "revision": config.model.pair_revision or getattr(config.model, f"{side}_revision"),
            "digest": backbone.digest,
            "width": backbone.width,
            "parameters": sum(p.numel() for p in nn.Module.parameters(backbone)),
        }
        for side, backbone in (("image", image), ("text", text))
    }
    if config.context.caption is not None:
        omit = config.context.hidden_words == "omit" or text.tokenizer.mask_token_id is None
        record["text"]["hidden_words"] = "omit" if omit else "mask"
    return record


def _shown(name: str | tuple[str, ...] | None) -> str | None:
    return " + ".join(Path(one).name for one in name) if isinstance(name, tuple) else name
