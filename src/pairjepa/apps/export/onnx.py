"""A run as ONNX graphs, which `OnnxEmbedder` and any other runtime of ONNX computes without PyTorch.

image.onnx   pixels (batch, size, size, 3) uint8 → prediction (batch, dim), a view a row
text.onnx    input_ids, attention_mask (batch, token) int64 → target (batch, dim)
joint.onnx   of a masked run: image, caption, the `features` that the other two give beside → prediction (batch, dim)

Predictions and targets are float32 of unit norm; weights lie beside each graph in GRAPH.onnx.data, which loads faster.
What stands around the graphs (views, preprocessing, tokens) is said in pairjepa_onnx.json and tokenizer.json.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pairjepa.apps.export.folder import check_equal, check_installed, new_folder
from pairjepa.embedder.embedder import Embedder
from pairjepa.embedder.onnx_embedder import FORMAT, SETTINGS, OnnxEmbedder
from pairjepa.features.engines import Unconvertible
from pairjepa.features.engines.onnx_graph import (
    GraphInputs,
    pixel_inputs,
    portable,
    token_inputs,
    write_graph,
)
from pairjepa.util.checksums import seal, write_record
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.progress import say


def export_onnx(embedder: Embedder, folder: str | Path) -> None:
    """Write a run as ONNX graphs to a new or empty folder, for `OnnxEmbedder.load`.

    Raises:
        PairJEPAError: the folder holds something, the text backbone has no fast tokenizer, the packages of the extra
            `onnx` are missing, or the graphs do not compute what the run does.
    """
    check_installed("onnx")
    with new_folder(Path(folder), "onnx", embedder.weights) as temporary:
        _write_tokenizer(embedder, temporary / "tokenizer.json")  # first, as not every one can be written
        _write_graphs(embedder, temporary)
        write_record(temporary / SETTINGS, _settings(embedder))
        seal(temporary)
        loaded = OnnxEmbedder.load(temporary)
        predict = loaded.predict if loaded.sees_captions else None
        check_equal(embedder, loaded.encode_image, loaded.encode_text, predict)


class _ImageGraph(nn.Module):
    """Pixels → prediction from the image alone, and the image's features where a caption may join them."""

    def __init__(self, embedder: Embedder) -> None:
        super().__init__()
        self.image = portable(embedder.image)
        self.joint, self._sees_captions = embedder.joint, embedder.sees_captions

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        features = self.image(self.image.normalise(pixels))
        prediction = F.normalize(self.joint.predict(features), dim=1)
        return (prediction, features) if self._sees_captions else (prediction,)


class _TextGraph(nn.Module):
    """Tokens → target, and what the context takes of the caption."""

    def __init__(self, embedder: Embedder) -> None:
        super().__init__()
        self.text, self.joint, self._sees_captions = embedder.text, embedder.joint, embedder.sees_captions
        self.words = embedder.words

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        features = self.text(input_ids, attention_mask)
        target = F.normalize(self.joint.target(features), dim=1)
        if not self._sees_captions:
            return (target,)
        return target, features if self.words is self.text else self.words(input_ids, attention_mask)


class _JointGraph(nn.Module):
    """Features of an image and of a partly masked caption → prediction."""

    def __init__(self, embedder: Embedder) -> None:
        super().__init__()
        self.joint = embedder.joint

    def forward(self, image: Tensor, caption: Tensor) -> tuple[Tensor]:
        return (F.normalize(self.joint.predict(image, caption), dim=1),)


def _write_graphs(embedder: Embedder, folder: Path) -> None:
    pixels, tokens = pixel_inputs(embedder.image), token_inputs(embedder.text)
    beside = ["features"] if embedder.sees_captions else []
    _write_graph(_ImageGraph(embedder), pixels, ["prediction", *beside], folder / "image.onnx")
    _write_graph(_TextGraph(embedder), tokens, ["target", *beside], folder / "text.onnx")
    if embedder.sees_captions:
        (picture, rows), (ids, positions), (mask, _) = pixels["pixels"], *tokens.values()
        with torch.inference_mode():
            seen = embedder.image(embedder.image.normalise(picture))
            words = embedder.words(ids, mask)
        features = {"image": (seen, rows), "caption": (words, positions if words.ndim == 3 else rows)}
        _write_graph(_JointGraph(embedder), features, ["prediction"], folder / "joint.onnx")


def _write_graph(module: nn.Module, inputs: GraphInputs, outputs: list[str], path: Path) -> None:
    say(f"exporting {path.name}")
    try:
        write_graph(module, inputs, outputs, path)
    except Unconvertible as error:
        raise PairJEPAError(
            f"{path.name} cannot be made: PyTorch cannot export this backbone ({error}). Share the run with --to hub."
        ) from None


def _write_tokenizer(embedder: Embedder, path: Path) -> None:
    tokenizer = embedder.text.tokenizer
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if type(tokenizer).__name__ == "SiglipTokenizer":
        from pairjepa.apps.export.siglip_tokenizer import siglip_tokenizer

        fast = siglip_tokenizer(tokenizer)
    if fast is None:
        raise PairJEPAError(
            f"The text backbone must have a fast tokenizer to be exported, got {type(tokenizer).__name__}. "
            "Share the run with --to hub, or train on another one."
        )
    copy = type(fast).from_str(fast.to_str())
    copy.no_padding()
    copy.enable_truncation(embedder.text.max_tokens, direction=tokenizer.truncation_side)
    copy.save(str(path))


def _settings(embedder: Embedder) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "run": embedder.weights,
        "recipe": embedder.config.recipe,
        "dim": embedder.dim,
        "temperature": embedder.temperature,
        "sees_captions": embedder.sees_captions,
        "views": list(embedder.config.model.image_views),
        "preprocessing": embedder.image.preprocessing.to_dict(),
        "max_tokens": embedder.text.max_tokens,
        "pad": embedder.text.tokenizer.pad_token_id or 0,
        "mask": embedder.text.tokenizer.mask_token_id,
        "unknown": embedder.text.tokenizer.unk_token_id,
    }
