"""A run that was exported to ONNX, in use: what `Embedder` gives, without PyTorch and Transformers.

Axes: `batch`, `size` = pixels of the square input, 3 = red, green, blue, `token` = positions of the longest caption
of the batch, `dim` = shared space.
"""

from collections.abc import Iterable, Sequence
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from pairjepa.backbones.preprocessing import SHAPE, Preprocessing
from pairjepa.features.engines import no_telemetry
from pairjepa.pairs.pictures import Picture, asked, listed, opened, strings
from pairjepa.util.checksums import check, read_record
from pairjepa.util.errors import PairJEPAError, needs, unreadable
from pairjepa.util.unit import check_unit

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

SETTINGS = "pairjepa_onnx.json"
FORMAT = 1
MEND = "Export the run again: pairjepa export RUN --to onnx --out FOLDER."
BATCH = 32  # images or captions computed at once


class OnnxEmbedder:
    """Encodes images and captions into the shared space of a run, as `pairjepa.Embedder` does, to 1e-5.

    A graph is loaded when it is first needed: a query of words alone loads that of the captions.

    Attributes:
        folder: what `pairjepa export RUN --to onnx` wrote.
        weights: digest of the weights that it was made from; an embedding set of the same run has the same.
        dim: width of the shared space.
        temperature: the run's τ.
        sees_captions: whether `predict` takes words beside the image.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], mend: str) -> None:
        """See `load`."""
        self.folder, self._mend = folder, mend
        self.weights: str = settings["run"]
        self.dim: int = settings["dim"]
        self.temperature: float = settings["temperature"]
        self.sees_captions: bool = settings["sees_captions"]
        self._preprocessing = Preprocessing.from_dict(settings["preprocessing"])
        self._views: list[Any] = settings["views"]
        self._pad: int = settings["pad"]
        self._unknown: int = settings.get("unknown", -1)
        self._graph = cache(partial(_session, folder, mend))

    @classmethod
    def load(cls, folder: str | Path, mend: str = MEND) -> Self:
        """Open an exported folder.

        Args:
            folder: what `export` wrote.
            mend: what to do if it is damaged, a sentence.

        Raises:
            PairJEPAError: there is no such folder, it is damaged, or another version wrote it.
        """
        path, file = Path(folder), SETTINGS
        if not (path / file).is_file():
            raise PairJEPAError(f"{path} must be a folder with {file}, got one without. {mend}")
        return cls(path, read_record(path / file, _SETTINGS, mend, FORMAT), mend)

    @property
    def min_decode_size(self) -> tuple[int, int]:
        """(width, height) that a JPEG need not be decoded above; see `Preprocessing.min_decode_size`."""
        return self._preprocessing.min_decode_size

    def encode_image(self, images: Picture | Iterable[Picture]) -> Float32[np.ndarray, "images dim"]:
        """Predicted caption embeddings of images; see `Embedder.encode_image`."""
        return self._predicted(listed(images), None)

    def encode_text(self, captions: str | Sequence[str]) -> Float32[np.ndarray, "captions dim"]:
        """Embeddings of captions; see `Embedder.encode_text`."""
        texts = strings(captions)
        rows = []
        for start in range(0, len(texts), BATCH):
            rows.append(self._graph("text").run(["target"], self._tokens(texts[start : start + BATCH]))[0])
        return self._together(rows, "The targets")

    def unknown_share(self, captions: Sequence[str]) -> float:
        """The share of the captions' tokens that the tokenizer does not know."""
        own = [
            token
            for encoding in self._tokenizer.encode_batch(list(captions))
            for token, special in zip(encoding.ids, encoding.special_tokens_mask, strict=True)
            if not special
        ]
        return own.count(self._unknown) / max(1, len(own))

    def predict(
        self, images: Picture | Iterable[Picture], captions: str | Sequence[str] | None = None
    ) -> Float32[np.ndarray, "images dim"]:
        """Predicted embeddings of whole captions, from images and a part of each caption; see `Embedder.predict`."""
        return self._predicted(*asked(images, captions, self.sees_captions))

    def _predicted(self, pictures: list[Picture], texts: list[str] | None) -> np.ndarray:
        rows = []
        for start in range(0, len(pictures), BATCH):
            pixels = self._pixels(pictures[start : start + BATCH])
            if texts is None:
                views = self._graph("image").run(["prediction"], {"pixels": pixels})[0]
            else:
                tokens = self._tokens(texts[start : start + BATCH])
                caption = self._graph("text").run(["features"], tokens)[0].repeat(len(self._views), axis=0)
                image = self._graph("image").run(["features"], {"pixels": pixels})[0]
                views = self._graph("joint").run(["prediction"], {"image": image, "caption": caption})[0]
            mean = views.reshape(-1, len(self._views), self.dim).mean(axis=1)
            rows.append(mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12))
        return self._together(rows, "The predictions")

    def _together(self, rows: list[np.ndarray], what: str) -> np.ndarray:
        return check_unit(np.concatenate([np.empty((0, self.dim), np.float32), *rows]), what, self._mend)

    def _pixels(self, pictures: list[Picture]) -> UInt8[np.ndarray, "batch size size 3"]:
        """All views of each picture, one picture after the other."""
        images = [opened(picture, self.min_decode_size) for picture in pictures]
        return np.stack(
            [self._preprocessing.prepare(image, view) for image in images for view in self._views]
        )

    def _tokens(self, texts: list[str]) -> dict[str, Int64[np.ndarray, "batch token"]]:
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]
        longest = max(1, *map(len, ids))
        padded = np.full((len(ids), longest), self._pad, np.int64)
        mask = np.zeros((len(ids), longest), np.int64)
        for row, tokens in enumerate(ids):
            padded[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        return {"input_ids": padded, "attention_mask": mask}

    @cached_property
    def _tokenizer(self) -> "Tokenizer":
        from tokenizers import Tokenizer

        path = self.folder / "tokenizer.json"
        check(self.folder, self._mend, [path.name])
        try:
            return Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises nothing more exact
            raise unreadable(path, error, self._mend) from None


def _session(folder: Path, mend: str, name: str) -> "InferenceSession":
    """`name`.onnx, ready to run.

    Raises:
        PairJEPAError: it is damaged or missing, or ONNX Runtime is.
    """
    no_telemetry()
    with needs("onnxruntime", "onnx"):
        from onnxruntime import InferenceSession, SessionOptions
    path = folder / f"{name}.onnx"
    check(folder, mend, [path.name])
    options = SessionOptions()
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 4  # what it says of a damaged file it says in its exception too
    try:
        return InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own classes are private to its extension
        raise unreadable(path, error, mend) from None


_SETTINGS = {
    "run": str,
    "dim": int,
    "temperature": float,
    "sees_captions": bool,
    "preprocessing": SHAPE,
    "views": [str],
    "pad": int,
}
