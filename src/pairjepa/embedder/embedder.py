"""A trained run, in use: images and captions in, unit-norm vectors out."""

from collections.abc import Generator, Iterable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from itertools import count, islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn
from torch.nn import functional as F

from pairjepa.backbones.device import best_device, to_device
from pairjepa.backbones.encoders import describe, load_backbones
from pairjepa.backbones.image import ImageBackbone
from pairjepa.backbones.location import holds_backbones, hub_refusals, is_hub_id
from pairjepa.backbones.text import TextBackbone
from pairjepa.backbones.vectors import VectorTexts
from pairjepa.backbones.words import WordEmbeddings
from pairjepa.config.recipes import recipe
from pairjepa.config.settings import RunConfig
from pairjepa.model.build import build_module
from pairjepa.model.joint import JointModel, mean_direction
from pairjepa.model.weights import load_weights
from pairjepa.objectives import Objective
from pairjepa.pairs.pictures import Picture, asked, each, listed, opened, strings
from pairjepa.run.folder import RunFolder
from pairjepa.util.errors import PairJEPAError, UsageError, check_count
from pairjepa.util.files import digest
from pairjepa.util.progress import Progress
from pairjepa.util.progress import progress as progress_bar
from pairjepa.util.threads import ahead
from pairjepa.util.unit import check_unit

BATCH = 32  # images or captions forwarded at once


class Embedder:
    """Encodes images and captions into the shared space of a run.

    `encode_image` gives the *predicted* caption embedding of an image, `encode_text` the embedding of a caption;
    their inner product is the cosine similarity that `pairjepa evaluate` ranks by.

    Attributes:
        run: the run folder; of a pretrained pair as it is there is none.
        weights: digest of the weights that were loaded; files made with them have the same.
        config: the run's settings.
        image: the image backbone.
        text: the text backbone.
        joint: the heads: features of both sides → prediction and target.
        words: what makes features of the partly masked caption: the text backbone, or its word embeddings where the
            predictor looks at tokens.
        autocast: what the backbones may compute in. `torch.bfloat16` is two to three times as fast with transformers
            on a GPU or a CPU with AMX; vectors agree with those of float32, the usual one, to a cosine of about 0.999.
    """

    def __init__(
        self,
        source: RunFolder | RunConfig,
        module: nn.ModuleDict,
        image: ImageBackbone,
        text: TextBackbone,
        weights: str,
    ) -> None:
        """See `load` and `from_pair`."""
        self._run = source if isinstance(source, RunFolder) else None
        self.config = source.config if isinstance(source, RunFolder) else source
        self.weights = weights
        self._device = best_device()
        module = module.to(self._device).eval()
        self.joint: JointModel = module["joint"]  # type: ignore[assignment]
        self._objective: Objective = module["objective"]  # type: ignore[assignment]
        self.image, self.text = image.to(self._device).eval(), text.to(self._device).eval()
        over_tokens = self.config.model.predictor.kind == "transformer"
        self.words: nn.Module = WordEmbeddings(self.text) if over_tokens else self.text
        self.autocast: torch.dtype | None = None

    @classmethod
    def load(cls, run: str | Path | RunFolder) -> "Embedder":
        """Load the best epoch of a run.

        Raises:
            PairJEPAError: there is no such run, it has no weights yet, or a backbone is not the one it was trained on.
        """
        folder = run if isinstance(run, RunFolder) else RunFolder(Path(run))
        folder.check_trained()
        image, text = _backbones(folder)
        folder.check_backbones(describe(folder.config, image, text))
        return cls.of(folder, image, text)

    @classmethod
    def of(cls, run: RunFolder, image: ImageBackbone, text: TextBackbone) -> "Embedder":
        """The best epoch of a run on its untrained backbones; tuned ones get that epoch's weights.

        Raises:
            PairJEPAError: the weights are missing, damaged or of another model.
        """
        module = build_module(run.config, image, text)
        weights = load_weights(module, run.model_file)
        return cls(run, module, image, text, weights)

    @classmethod
    def from_pair(cls, name: str | Path, revision: str | None = None) -> "Embedder":
        """A pretrained pair (CLIP, SigLIP and their kin) as it is: its own embeddings, of unit norm.

        Args:
            name: a Transformers folder, or a hub id.
            revision: commit, tag or branch of the hub id.

        Raises:
            PairJEPAError: it is neither, or no dual encoder that Transformers loads by itself.
        """
        bare = {f"model.{head}.kind": "identity" for head in ("image_projection", "text_projection")}
        config = recipe("adapt", {"model.pair": str(name), "model.pair_revision": revision, **bare})
        image, text = load_backbones(config, ())
        return cls(config, build_module(config, image, text), image, text, digest(image.digest, text.digest))

    @classmethod
    def from_pretrained(cls, name: str | Path, revision: str | None = None) -> "Embedder":
        """Load a run from a local folder, or from the Hugging Face hub, where `pairjepa export --to hub` has put it.

        Only JSON and safetensors files are fetched; nothing that is downloaded is run.

        Args:
            name: a folder, or `user/name`.
            revision: commit, tag or branch of the hub's repository.

        Raises:
            PairJEPAError: it is neither, the hub cannot be reached, or as `load`.
        """
        return cls.load(_snapshot(str(name), revision) if is_hub_id(str(name)) else Path(name).expanduser())

    @property
    def run(self) -> RunFolder:
        """The run folder.

        Raises:
            UsageError: it is a pretrained pair without one.
        """
        if self._run is None:
            raise UsageError(
                f"This needs a run, got the pretrained pair {self.config.model.pair} as it is. "
                "Make one of it with: pairjepa train adapt."
            )
        return self._run

    @property
    def dim(self) -> int:
        """Width of the shared space."""
        return self.joint.dim

    @property
    def temperature(self) -> float:
        """The run's τ: cosines over it are the logits that it was trained with."""
        return self._objective.temperature.item()

    @property
    def min_decode_size(self) -> tuple[int, int]:
        """(width, height) that a JPEG need not be decoded above; see `Preprocessing.min_decode_size`."""
        return self.image.preprocessing.min_decode_size

    @property
    def sees_captions(self) -> bool:
        """Whether `predict` takes words beside the image (a masked run)."""
        return self.config.context.caption is not None

    def encode_image(
        self,
        images: Picture | Iterable[Picture],
        *,
        batch_size: int = BATCH,
        threads: int | None = None,
        progress: bool = False,
    ) -> Float32[np.ndarray, "images dim"]:
        """Predicted caption embeddings of images.

        Args:
            images: paths, PIL images (any mode, any size), bytes, open files, uint8 arrays or tensors; a single one
                gives one row. A large JPEG file is decoded at a reduced size: a cosine of 0.999 or more.
            batch_size: images that are forwarded at once.
            threads: that decode images ahead; as many as there are cores if not given.
            progress: show a bar on stderr.

        Raises:
            PairJEPAError: an image is missing or unreadable; the message names it.
        """
        return self._predicted(listed(images), None, batch_size, threads, progress)

    def encode_image_batches(
        self, images: Picture | Iterable[Picture], *, batch_size: int = BATCH, threads: int | None = None
    ) -> Generator[Float32[np.ndarray, "images dim"], None, None]:
        """`encode_image` of more images than fit into memory: the rows of `batch_size` of them at a time.

        Args:
            images: as for `encode_image`; a generator is read two batches ahead, not at once.
            batch_size: rows of each array; the last may have fewer.
            threads: that decode images ahead; as many as there are cores if not given.

        Raises:
            PairJEPAError: an image is missing or unreadable; the message names it.
        """
        yield from self._batches(each(images), None, batch_size, threads)

    def encode_text(
        self, captions: str | Sequence[str] | np.ndarray, *, batch_size: int = BATCH, progress: bool = False
    ) -> Float32[np.ndarray, "captions dim"]:
        """Embeddings of captions, cut at the run's `model.max_tokens`; a single string gives one row.

        Args:
            captions: in any order; those of about the same length are forwarded together. For a run on vectors, a
                vector, or a row each.
            batch_size: captions that are forwarded at once.
            progress: show a bar on stderr.

        Raises:
            UsageError: `batch_size` is below 1, or a caption is no text.
        """
        check_count("batch_size", batch_size)
        if isinstance(self.text, VectorTexts):
            return self.target_features(self.text.rows([captions] if isinstance(captions, str) else captions))
        ids = self.text.tokenize(strings(captions))
        order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
        rows = np.empty((len(ids), self.dim), np.float32)
        with _bar("captions", len(ids), progress) as bar:
            for start in range(0, len(ids), batch_size):
                chosen = order[start : start + batch_size]
                with torch.inference_mode():
                    tokens = to_device(self.text.collate([ids[row] for row in chosen]), self._device)
                    rows[chosen] = self._targets(self._forward(self.text, *tokens))
                if bar is not None:
                    bar.advance(len(chosen))
        return rows

    def unknown_share(self, captions: Sequence[str]) -> float:
        """The share of the captions' tokens that the text backbone does not know; of vectors, none."""
        if isinstance(self.text, VectorTexts):
            return 0.0
        return float(self.text.token_facts(list(captions))["unknown_share"])

    def predict_features(
        self, features: Float32[np.ndarray, "images view width"]
    ) -> Float32[np.ndarray, "images dim"]:
        """`encode_image` from what `image` gives for the views of `config.model.image_views`."""
        seen = torch.from_numpy(features).to(self._device)
        with torch.inference_mode():
            return self._predictions(seen.flatten(0, 1), None)

    def target_features(
        self, features: Float32[np.ndarray, "captions width"]
    ) -> Float32[np.ndarray, "captions dim"]:
        """`encode_text` from what `text` gives."""
        with torch.inference_mode():
            return self._targets(torch.from_numpy(features).to(self._device))

    def predict(
        self, images: Picture | Iterable[Picture], captions: str | Sequence[str] | None = None
    ) -> Float32[np.ndarray, "images dim"]:
        """Predicted embeddings of whole captions, from images and, for a masked run, a part of each caption.

        Args:
            images: as for `encode_image`.
            captions: what is known of each image's caption; the text backbone's mask token (`[MASK]`) stands for words
                that are not, or they are left out (`context.hidden_words`). None asks from the images alone.

        Raises:
            UsageError: the run's context sees no captions, or there is not one for each image.
            PairJEPAError: as `encode_image`.
        """
        return self._predicted(*asked(images, captions, self.sees_captions))

    def _predicted(
        self,
        pictures: list[Picture],
        texts: list[str] | None,
        batch_size: int = BATCH,
        threads: int | None = None,
        progress: bool = False,
    ) -> np.ndarray:
        rows = [np.empty((0, self.dim), np.float32)]
        with _bar("images", len(pictures), progress) as bar:
            for some in self._batches(pictures, texts, batch_size, threads):
                rows.append(some)
                if bar is not None:
                    bar.advance(len(some))
        return np.concatenate(rows)

    def _batches(
        self, pictures: Iterable[Picture], texts: list[str] | None, batch_size: int, threads: int | None
    ) -> Generator[np.ndarray, None, None]:
        views = self.config.model.image_views
        check_count("batch_size", batch_size)
        if threads is not None:
            check_count("threads", threads)
        with closing(ahead(self._prepared, pictures, 2 * batch_size, threads)) as prepared:
            for start in count(step=batch_size):
                if not (some := list(islice(prepared, batch_size))):
                    return
                with torch.inference_mode():
                    pixels = to_device((torch.from_numpy(np.concatenate(some)),), self._device)
                    caption = None
                    if texts is not None:
                        ids = self.text.tokenize(texts[start : start + batch_size])
                        tokens = to_device(self.text.collate(ids), self._device)
                        caption = self._forward(self.words, *tokens).repeat_interleave(len(views), dim=0)
                    batch = self._predictions(
                        self._forward(self.image, self.image.normalise(*pixels)), caption
                    )
                yield batch

    def _forward(self, backbone: nn.Module, *inputs: Tensor) -> Tensor:
        with torch.autocast(self._device.type, self.autocast, enabled=self.autocast is not None):
            features: Tensor = backbone(*inputs)
        return features.float()

    def _prepared(self, picture: Picture) -> np.ndarray:
        """All views of a picture, (view, size, size, 3)."""
        upright = opened(picture, self.min_decode_size)
        return np.stack([self.image.prepare(upright, view) for view in self.config.model.image_views])

    def _predictions(self, image: Tensor, caption: Tensor | None) -> np.ndarray:
        """From features of all views, one image after the other."""
        predictions = self.joint.predict(image, caption)
        views = predictions.unflatten(0, (-1, len(self.config.model.image_views)))
        return check_unit(mean_direction(views.float()).cpu().numpy(), "The predictions", self._mend)

    def _targets(self, text: Tensor) -> np.ndarray:
        targets = F.normalize(self.joint.target(text).float(), dim=1).cpu().numpy()
        return check_unit(targets, "The targets", self._mend)

    @property
    def _mend(self) -> str:
        if self._run is None:
            return f"The weights of {self.config.model.pair} are of no use: choose another pair."
        return f"The weights of {self.run.path} are of no use: train another run, at a lower training.learning_rate."


def _bar(unit: str, total: int, wanted: bool) -> AbstractContextManager[Progress | None]:
    return progress_bar("encode", total, unit) if wanted else nullcontext()


def _backbones(run: RunFolder) -> tuple[ImageBackbone, TextBackbone]:
    try:
        return load_backbones(run.config, (), run.path)
    except PairJEPAError as error:
        if holds_backbones(run.path):
            raise
        raise PairJEPAError(
            f"{error} {run.path} was trained on a backbone that it does not hold itself: put it, or a link to it, "
            "where it was then. A run that holds all it needs is made with: pairjepa export RUN --to hub --out FOLDER."
        ) from None


def _snapshot(name: str, revision: str | None) -> Path:
    """The local copy of a run on the hub, fetched if need be; without a network, the copy that is there."""
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.jsonl", "*.safetensors"]
    with hub_refusals("The run", "revision", name, revision, "Give the folder of a run."):
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    if not holds_backbones(folder):  # else its run.json names folders here
        raise PairJEPAError(
            f"{name} must hold its backbones, in image and text or in pair, got a folder without them. "
            "`pairjepa export --to hub` writes whole ones."
        )
    return folder
