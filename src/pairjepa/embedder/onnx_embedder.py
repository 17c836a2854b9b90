"""A run that was exported to ONNX, in use: what `Embedder` gives, without PyTorch and Transformers.

Axes: `batch`, `size` = pixels of the square input, 3 = red, green, blue, `token` = positions of the longest caption
of the batch, `dim` = shared space.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from pairjepa.backbones.preprocessing import Preprocessing
from pairjepa.features.engines import no_telemetry
from pairjepa.pairs.pictures import Picture, asked, listed, opened, strings
from pairjepa.util.errors import PairJEPAError, missing_extra
from pairjepa.util.files import read_json

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

SETTINGS = "pairjepa_onnx.json"
FORMAT = 1
BATCH = 32  # images or captions computed at once


class OnnxEmbedder:
    """Encodes images and captions into the shared space of a run, as `pairjepa.Embedder` does, to 1e-5.

    A graph is loaded when it is first needed: a query of words alone loads that of the captions.

    Attributes:
        folder: what `pairjepa export RUN --to onnx` wrote.
        run: digest of the weights that it was made from; an embedding set of the same run has the same.
        dim: width of the shared space.
        temperature: the run's τ.
        sees_captions: whether `predict` takes words beside the image.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        """See `load`."""
        self.folder = folder
        self.run: str = settings["run"]
        self.dim: int = settings["dim"]
        self.temperature: float = settings["temperature"]
        self.sees_captions: bool = settings["sees_captions"]
        self._preprocessing = Preprocessing.from_dict(settings["preprocessing"])
        self._views: list[Any] = settings["views"]
        self._pad: int = settings["pad"]

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Open an exported folder.

        Raises:
            PairJEPAError: there is no such folder, it is damaged, or another version wrote it.
        """
        path, file = Path(folder), SETTINGS
        if not (path / file).is_file():
            raise PairJEPAError(
                f"{path} must be a folder with {file}, got one without. "
                "Make it with: pairjepa export RUN --to onnx --out FOLDER."
            )
        settings = read_json(path / file, "Export")
        if not isinstance(settings, dict) or settings.get("format") != FORMAT:
            found = repr(settings.get("format")) if isinstance(settings, dict) else "no settings at all"
            raise PairJEPAError(
                f"{path / file} must have format {FORMAT}, got {found}. "
                "Another version of PairJEPA made it: export the run again."
            )
        try:
            return cls(path, settings)
        except (KeyError, TypeError, AttributeError):
            raise PairJEPAError(f"{path / file} is damaged. Export the run again.") from None

    @property
    def enough(self) -> tuple[int, int]:
        """(width, height) that a JPEG need not be decoded above; see `Preprocessing.enough`."""
        return self._preprocessing.enough

    def encode_image(self, images: Picture | Iterable[Picture]) -> Float32[np.ndarray, "images dim"]:
        """Predicted caption embeddings of images; see `Embedder.encode_image`."""
        return self._predicted(listed(images), None)

    def encode_text(self, captions: str | Sequence[str]) -> Float32[np.ndarray, "captions dim"]:
        """Embeddings of captions; see `Embedder.encode_text`."""
        texts = strings(captions)
        rows = []
        for start in range(0, len(texts), BATCH):
            rows.append(self._text.run(["target"], self._tokens(texts[start : start + BATCH]))[0])
        return self._together(rows)

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
                views = self._image.run(["prediction"], {"pixels": pixels})[0]
            else:
                tokens = self._tokens(texts[start : start + BATCH])
                caption = self._text.run(["features"], tokens)[0].repeat(len(self._views), axis=0)
                image = self._image.run(["features"], {"pixels": pixels})[0]
                views = self._joint.run(["prediction"], {"image": image, "caption": caption})[0]
            mean = views.reshape(-1, len(self._views), self.dim).mean(axis=1)
            rows.append(mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12))
        return self._together(rows)

    def _together(self, rows: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(rows) if rows else np.empty((0, self.dim), np.float32)

    def _pixels(self, pictures: list[Picture]) -> UInt8[np.ndarray, "batch size size 3"]:
        """All views of each picture, one picture after the other."""
        images = [opened(picture, self.enough) for picture in pictures]
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
        try:
            return Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises nothing more exact
            raise PairJEPAError(f"{path} cannot be read ({error}). Export the run again.") from None

    @cached_property
    def _image(self) -> "InferenceSession":
        return self._graph("image")

    @cached_property
    def _text(self) -> "InferenceSession":
        return self._graph("text")

    @cached_property
    def _joint(self) -> "InferenceSession":
        return self._graph("joint")

    def _graph(self, name: str) -> "InferenceSession":
        """Load `name`.onnx.

        Raises:
            PairJEPAError: it is damaged or missing, or ONNX Runtime is.
        """
        no_telemetry()
        try:
            from onnxruntime import InferenceSession, SessionOptions
        except ImportError:
            raise missing_extra("onnxruntime", "onnx") from None
        path = self.folder / f"{name}.onnx"
        options = SessionOptions()
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.log_severity_level = 4  # what it says of a damaged file it says in its exception too
        try:
            return InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own classes are private to its extension
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise PairJEPAError(f"{path} cannot be loaded ({reason}). Export the run again.") from None
