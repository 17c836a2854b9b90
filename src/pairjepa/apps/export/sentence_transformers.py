"""A run as a folder of sentence-transformers, of its stock modules alone: loading it runs no code of anyone's."""

import copy
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from pairjepa.apps.export.dense import Map, maps_of
from pairjepa.apps.export.equal import check_equal
from pairjepa.apps.export.folder import check_installed, new_folder
from pairjepa.apps.export.stock_modules import (
    FIRST_VIEW,
    as_tokens,
    copied,
    dense,
    mirrored,
    set_aside,
    transformer,
)
from pairjepa.backbones.loading import quiet
from pairjepa.embedder.embedder import Embedder
from pairjepa.pairs.pictures import Picture, listed, opened, strings
from pairjepa.util.checksums import seal, write_record
from pairjepa.util.errors import UsageError
from pairjepa.util.files import read_json, write_json

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Module

_TO_BE_EXPORTED = "to be exported to sentence-transformers. Share the run with --to onnx or --to hub."


def export_sentence_transformers(embedder: Embedder, folder: str | Path) -> None:
    """Write a run to a new or empty folder that `SentenceTransformer(folder)` loads.

    `model.encode` then takes captions and upright RGB pictures, one kind at a time, and gives the vectors of
    `Embedder` to 1e-5. Image and words together (`Embedder.predict`) have no counterpart there.

    Raises:
        UsageError: a setting of the run cannot be said in stock modules; the message names it.
        PairJEPAError: the folder holds something, the package is missing, or the result is not what the run computes.
    """
    check_installed("sentence-transformers")
    check_settings(embedder)
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Router

    with (
        new_folder(Path(folder)) as temporary,
        tempfile.TemporaryDirectory() as scratch,
        quiet(),
        torch.no_grad(),
    ):
        router = Router(
            {
                "text": _text_modules(embedder, Path(scratch)),
                "image": _image_modules(embedder, Path(scratch)),
            },
            route_mappings={(None, "text"): "text", (None, "image"): "image"},
        )
        model = SentenceTransformer(modules=[router], device="cpu")
        model.save_pretrained(str(temporary), create_model_card=False)
        loaded = SentenceTransformer(str(temporary), device="cpu", local_files_only=True)
        check_equal(embedder, Loaded(loaded, embedder))
        write_record(temporary / "pairjepa.json", {"weights": embedder.weights})
        seal(temporary)


def check_settings(embedder: Embedder) -> None:
    """Raise `UsageError` for what stock modules cannot say."""
    model = embedder.config.model
    views, whole = model.image_views, model.image_views[0].removesuffix("-mirrored")
    wrong = None
    if model.predictor.kind == "transformer":
        wrong = "model.predictor.kind must not be transformer"
    elif model.predictor.kind == "identity" and embedder.sees_captions:
        wrong = "model.predictor.kind must not be identity where context.caption is on"
    elif len(views) > 1 and views != (whole, f"{whole}-mirrored"):
        wrong = f"model.image_views must be one view, or one and its mirror image, got {', '.join(views)},"
    elif model.text_pooling == "cls" and embedder.text.layers:
        wrong = f"model.text_layers must be -1 where model.text_pooling is cls, got {embedder.text.layers},"
    elif len(views) > 1 and embedder.dim >= embedder.image.preprocessing.size**2:
        wrong = f"model.dim must be less than the pixels of the image backbone's input, got {embedder.dim},"
    if wrong:
        raise UsageError(f"{wrong} {_TO_BE_EXPORTED}")


def _text_modules(embedder: Embedder, scratch: Path) -> list["Module"]:
    from sentence_transformers.sentence_transformer.modules import (
        Normalize,
        Pooling,
        WeightedLayerPooling,
    )

    text, folder = embedder.text, scratch / "text"
    model: Any = text.model
    model.save_pretrained(folder)
    if text.layers:
        path = folder / "config.json"
        write_json(path, read_json(path, "Configuration") | {"output_hidden_states": True})
    tokenizer = copy.deepcopy(text.tokenizer)
    tokenizer.model_max_length = text.max_tokens
    tokenizer.save_pretrained(folder)
    states, width = model.config.num_hidden_layers + 1, model.config.hidden_size
    modules = [transformer(folder, "text", "last_hidden_state"), Pooling(width, text.pooling)]
    for count, layer in enumerate(text.layers, 1):
        only = nn.functional.one_hot(torch.tensor(layer), states).float()
        pick = WeightedLayerPooling(width, states - 1, 0, nn.Parameter(only))
        modules += [set_aside(count * width), pick, Pooling(width, ("cls", "mean"))]
    joint = embedder.joint
    return [*modules, *dense(maps_of(joint.text_standardizer, [joint.text_projection])), Normalize()]


def _image_modules(embedder: Embedder, scratch: Path) -> list["Module"]:
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

    config, joint = embedder.config.model, embedder.joint
    view = _features(embedder, scratch)
    view += dense(maps_of(joint.image_standardizer, [joint.image_projection, joint.predictor]))
    view.append(Normalize())
    size, dim = embedder.image.preprocessing.size, embedder.dim
    mirror = mirrored(size)
    if len(config.image_views) == 1:
        return [view[0], mirror, *view] if config.image_views[0].endswith("mirrored") else view
    keep = copied(dim, FIRST_VIEW)
    add = torch.eye(dim).repeat(1, 2)
    return [
        *view,
        keep,
        mirror,
        *view,
        set_aside(dim),
        *as_tokens(dim, size, _processor(embedder), scratch / "identity"),
        Pooling(dim, ("cls", "mean")),
        *dense([Map(nn.functional.pad(add, (0, 1)), torch.zeros(dim))]),
        Normalize(),
    ]


def _features(embedder: Embedder, scratch: Path) -> list["Module"]:
    """Pixels → the features of one view, side by side."""
    from sentence_transformers.sentence_transformer.modules import Pooling

    image, folder = embedder.image, scratch / "image"
    size = image.preprocessing.size
    model: Any = image.model
    model.save_pretrained(folder)
    _processor(embedder).save_pretrained(folder)
    picture = torch.zeros(1, 3, size, size, device=model.device)
    try:
        found = model(pixel_values=picture, output_hidden_states=True)
    except ValueError:
        raise UsageError(f"model.image_size must be the image backbone's own {_TO_BE_EXPORTED}") from None
    pooled, last = getattr(found, "pooler_output", None), found.last_hidden_state
    if pooled is None:
        cls = last.ndim == 3  # checked by the comparison: some backbones of patches have no class token
        width = last.shape[2 if cls else 1]
        modules = [
            transformer(folder, "image", "last_hidden_state"),
            Pooling(width, "cls" if cls else "mean"),
        ]
    elif pooled.ndim == 2:
        width = pooled.shape[1]
        modules = [transformer(folder, "image", "pooler_output", "sentence_embedding")]
    else:
        width = pooled.shape[1]
        modules = [transformer(folder, "image", "pooler_output"), Pooling(width, "mean")]
    for index in image.stages:
        if found.hidden_states[index].ndim != 4:
            raise UsageError(
                f"model.image_stages must be -1 for an image backbone of patches, got {image.stages}, {_TO_BE_EXPORTED}"
            )
        channels = found.hidden_states[index].shape[1]
        stage = transformer(folder, "image", ["hidden_states", index])
        modules += [set_aside(width), stage, Pooling(channels, ("cls", "mean"))]
        width += channels
    return modules


def _processor(embedder: Embedder) -> Any:
    """The preprocessing of the views as a processor of Transformers, in its form without torchvision."""
    from transformers import CLIPImageProcessorPil

    how = embedder.image.preprocessing
    centre = embedder.config.model.image_views[0].startswith("centre")
    side = how.resize if centre else how.size
    return CLIPImageProcessorPil(
        size={"shortest_edge": side} if centre and how.keep_aspect else {"height": side, "width": side},
        do_center_crop=centre,
        crop_size={"height": how.size, "width": how.size},
        resample=how.resample,
        rescale_factor=1 / 255,
        image_mean=[mean / 255 for mean in how.mean],
        image_std=[std / 255 for std in how.std],
    )


class Loaded:
    """What was written, as an `Encoder`, to compare it with the run."""

    sees_captions = False

    def __init__(self, model: "SentenceTransformer", embedder: Embedder) -> None:
        self.weights = embedder.weights
        self._model, self.dim, self.temperature = model, embedder.dim, embedder.temperature
        self.enough = embedder.enough

    def encode_image(self, images: Picture | Iterable[Picture]) -> np.ndarray:
        """Vectors of pictures."""
        return self._model.encode([opened(picture, self.enough) for picture in listed(images)])

    def encode_text(self, captions: str | Sequence[str]) -> np.ndarray:
        """Vectors of captions."""
        return self._model.encode(strings(captions))

    def predict(
        self, images: Picture | Iterable[Picture], captions: str | Sequence[str] | None = None
    ) -> np.ndarray:
        """As `encode_image`: words beside an image have no counterpart there."""
        return self.encode_image(images)
