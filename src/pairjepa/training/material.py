"""What a run stands on, opened once: pairs without unreadable images, backbones, cached features, splits."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import pyarrow as pa

from pairjepa.backbones.device import best_device
from pairjepa.backbones.image import ImageBackbone
from pairjepa.backbones.layers import LowerLayers, UpperLayers
from pairjepa.backbones.masking import Masking
from pairjepa.backbones.text import TextBackbone
from pairjepa.backbones.words import WordEmbeddings
from pairjepa.config.settings import RunConfig, starts_as_pair, tuned
from pairjepa.features.cache import FeatureStore, FeatureTable
from pairjepa.features.extract import compute, fill
from pairjepa.features.work import ImageWork, MaskedTextWork, StateWork, TextWork, Work
from pairjepa.model.joint import JointModel
from pairjepa.pairs.caption_twins import MOST, Twin, make_twins
from pairjepa.pairs.captions import token_warnings
from pairjepa.pairs.data import Data
from pairjepa.pairs.sources import shapes
from pairjepa.pairs.table import Pairs
from pairjepa.training.inputs import (
    CachedFeatures,
    CaptionTwins,
    HiddenStates,
    Inputs,
    MaskedTokens,
    NoImages,
    Pixels,
    Tokens,
)
from pairjepa.training.monitor import Split, Splits
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import cache_folder
from pairjepa.util.progress import say
from pairjepa.util.unit import unit
from pairjepa.util.words import counted

_CAPTIONS = 20_000  # that are looked at for unknown tokens
FRESH_MASKS = 1 << 30  # a tuned text backbone may as well see a new one each time


def warn_of_captions(pairs: Pairs, text: TextBackbone) -> None:
    """Say what the text backbone does not see of the captions."""
    if pairs.text_vectors is not None:
        return
    step = -(-len(pairs) // _CAPTIONS)
    for sentence in token_warnings(text.token_facts(pairs.captions[::step].to_pylist())):
        say(f"warning: {sentence}")


class Material:
    """Backbones and features of one run's configuration on its data."""

    def __init__(
        self,
        config: RunConfig,
        data: Data,
        image: ImageBackbone,
        text: TextBackbone,
        engines: Mapping[str, str] | None = None,
    ) -> None:
        """`image` and `text`: as they are before any training; `engines`: what computed the features of the run."""
        self.config, self.data, self.image, self.text = config, data, image, text
        self.engines = dict(engines or {})

    def apart(self, config: RunConfig) -> "Material":
        """For another configuration on the same data; backbones that are tuned are copies, so that both can learn."""
        image = copy.deepcopy(self.image) if tuned(config.model, "image") else self.image
        text = copy.deepcopy(self.text) if tuned(config.model, "text") else self.text
        return Material(config, self.data, image, text)

    @cached_property
    def image_features(self) -> FeatureTable:
        """`(image, view, width)` of the untrained image backbone."""
        table = fill(self._image_work(), cache_folder(), self._engine("image"))
        self.engines["image"] = table.engine
        return table

    @cached_property
    def text_features(self) -> FeatureTable:
        """`(caption, width)` of the untrained text backbone."""
        if (own := self.data.pairs.text_vectors) is not None:
            return FeatureTable(
                [lambda: own], np.zeros(len(own), np.int64), np.arange(len(own)), own.shape[1:]
            )
        table = fill(self._text_work(), cache_folder(), self._engine("text"))
        self.engines["text"] = table.engine
        return table

    @cached_property
    def _states(self) -> FeatureStore:
        """Hidden states of the captions of train and dev behind the frozen layers."""
        return compute(self._state_work(), cache_folder(), "torch")

    def compute(self, part: tuple[int, int]) -> None:
        """Compute a part of the features that a training takes, into the cache; see `features.extract.compute`."""
        model, works = self.config.model, list[tuple[Work, str]]()
        if self.config.context.image and not tuned(model, "image"):
            works.append((self._image_work(), self._engine("image")))
        if not tuned(model, "text"):
            works.append((self._text_work(), self._engine("text")))
            if self.config.context.caption is not None and model.predictor.kind != "transformer":
                captions = self.data.pairs.captions.take(self.rows("train")[1])
                works.append((self._masked_work(captions, *self._training_masks()), self._engine("text")))
        elif model.text_frozen_layers is not None:
            works.append((self._state_work(), "torch"))
        for work, engine in works:
            compute(work, cache_folder(), engine, part)

    def _image_work(self) -> ImageWork:
        model, data = self.config.model, self.data
        return ImageWork.of(self.image, data.pairs, data.facts, model.image_views, model.feature_batch)

    def _text_work(self) -> TextWork:
        return TextWork.of(self.text, self.data.pairs.captions, self.config.model.feature_batch)

    def _state_work(self) -> TextWork:
        assert self.config.model.text_frozen_layers is not None
        captions = pa.chunked_array(
            [self.data.pairs.captions.take(self.rows(s)[1]) for s in ("train", "dev")]
        )
        lower = LowerLayers(self.text, self.config.model.text_frozen_layers)
        return StateWork.of(lower, captions, self.config.model.feature_batch)

    def _masked_work(self, captions: pa.Array, masking: Masking, masks: int) -> TextWork:
        batch = self.config.model.feature_batch
        return MaskedTextWork.of(self.text, captions, batch, masking=masking, masks=masks)

    def _training_masks(self) -> tuple[Masking, int]:
        """How captions are masked in training, and how many masks each has."""
        fresh = tuned(self.config.model, "text") or self.config.model.predictor.kind == "transformer"
        context = self.config.context
        return self.masking(*context.mask_ratio), FRESH_MASKS if fresh else context.masks

    def _engine(self, side: str) -> str:
        """The engine that is named; of `auto` the one that the run began with.

        A tower that is tuned is measured by PyTorch, and so is the pair that it began as.
        """
        named, model = self.config.model.engine, self.config.model
        if named != "auto":
            return named
        return self.engines.get(side, "torch" if starts_as_pair(model) and tuned(model, side) else "auto")

    def pooled_features(self, images: np.ndarray) -> np.ndarray:
        """`(image, pooled)` as heads see them: views averaged, without the cells of a grid."""
        return self.as_seen(self.image_features.gather(images)[..., : self.image.pooled]).mean(axis=1)

    def caption_features(self, captions: np.ndarray) -> np.ndarray:
        """`(caption, width)` as heads see them."""
        return self.as_seen(self.text_features.gather(captions))

    def as_seen(self, features: np.ndarray) -> np.ndarray:
        """Features of the untrained backbones as heads see them: adapters on the sphere, see `model.heads.Adapter`."""
        if not starts_as_pair(self.config.model):
            return features
        return unit(features) * np.float32(features.shape[-1] ** 0.5)

    def masking(self, low: float, high: float | None = None) -> Masking:
        """The run's way of masking, at these ratios."""
        context, mask_id = self.config.context, self.text.tokenizer.mask_token_id
        assert context.caption is not None
        high = low if high is None else high
        return Masking(context.caption, low, high, None if context.hidden_words == "omit" else mask_id)

    def masked(self, captions: np.ndarray, masking: Masking, masks: int) -> Inputs:
        """Partly masked captions as the context takes them, a view a mask.

        Args:
            captions: which captions.
            masking: which of their tokens are hidden.
            masks: masks a caption.
        """
        texts = self.data.pairs.captions.take(captions)
        if self.config.model.predictor.kind == "transformer":
            words = WordEmbeddings(self.text).to(best_device())
            return MaskedTokens(self.text, texts.to_pylist(), masking, masks, words)
        if tuned(self.config.model, "text"):
            return MaskedTokens(self.text, texts.to_pylist(), masking, masks)
        work = self._masked_work(texts, masking, masks)
        return CachedFeatures(fill(work, cache_folder(), self._engine("text")), np.arange(len(captions)))

    def features_of(self, texts: Sequence[str]) -> FeatureTable:
        """`(text, width)` of the untrained text backbone, of captions that are not those of the pairs."""
        work = TextWork.of(self.text, texts, self.config.model.feature_batch)
        return fill(work, cache_folder(), self._engine("text"))

    def texts(self, texts: Sequence[str]) -> Inputs:
        """Captions that are not those of the pairs, as the model takes them."""
        if tuned(self.config.model, "text"):
            return Tokens(self.text, texts)
        return CachedFeatures(self.features_of(texts), np.arange(len(texts)))

    def rows(self, split: str, most: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows of a split's images and captions, and for each caption the place of its image among these.

        Args:
            split: the split.
            most: take only this many images, spread evenly.

        Raises:
            PairJEPAError: the split is empty.
        """
        self.data.pairs.check_split(split)
        inside = self.data.pairs.table["split"].to_numpy(zero_copy_only=False) == split
        images = evenly(np.flatnonzero(inside), most)
        captions = np.flatnonzero(np.isin(self.data.pairs.owner, images))
        return images, captions, np.searchsorted(images, self.data.pairs.owner[captions])

    def split(self, name: str, most: int | None = None, masks: bool = False, learning: bool = False) -> Split:
        """Both sides of a split as the model takes them: features of frozen backbones, pixels and tokens of tuned ones.

        Args:
            name: the split.
            most: as in `rows`.
            masks: with the partly masked captions that the context sees in training.
            learning: with hidden states in the place of tokens, where lower layers of a tuned backbone are frozen.
        """
        images, captions, owner = self.rows(name, most)
        image_side, text_side = self.sides(images, captions)
        if learning and (frozen := self.config.model.text_frozen_layers) is not None:
            texts = self.data.pairs.captions.take(captions).to_pylist()
            states = self._states.table(TextWork.of(self.text, texts).keys)
            text_side = HiddenStates(UpperLayers(self.text, frozen), texts, states)
        masked = None
        if masks and self.config.context.caption is not None:
            masked = self.masked(captions, *self._training_masks())
        weights = self.data.pairs.weights
        return Split(image_side, text_side, owner, masked, None if weights is None else weights[captions])

    def sides(self, images: np.ndarray, captions: np.ndarray) -> tuple[Inputs, Inputs]:
        """Images and captions of these rows as the model takes them."""
        image_side: Inputs
        text_side: Inputs
        if not self.config.context.image:
            image_side = NoImages(len(images))
        elif tuned(self.config.model, "image"):
            image_side = Pixels(self.image, self.data.pairs.take(images), self.config.model.image_views)
        else:
            image_side = CachedFeatures(self.image_features, images)
        if tuned(self.config.model, "text"):
            text_side = Tokens(self.text, self.data.pairs.captions.take(captions).to_pylist())
        else:
            text_side = CachedFeatures(self.text_features, captions)
        return image_side, text_side

    def splits(self, dev_images: int) -> Splits:
        """What a training takes, with at most so many images of dev."""
        masks = not self.config.context.image
        dev = self.split("dev", dev_images, masks, learning=True)
        probe = self.split("train", len(dev.images), masks, learning=True)
        train = replace(self.split("train", masks=True, learning=True), twins=self._training_twins())
        return Splits(train, probe, dev)

    def twins(self, split: str, most: int | None = None) -> list[Twin]:
        """Twins of a split's captions; on scenes that the program draws, those that are true of the image are left out.

        Args:
            split: the split.
            most: twins of a kind, if not as many as an evaluation takes.
        """
        images, captions, owner = self.rows(split)
        pairs, holds = self.data.pairs, None
        if pairs.text_vectors is not None:  # of other words there are none
            return []
        if pairs.generated:
            names = pairs.take(images).names

            def holds(image: int, text: str) -> bool:
                return shapes.holds(names[image], text)

        texts = pairs.captions.take(captions).to_pylist()
        return make_twins(texts, owner, holds=holds, most=most or MOST)

    def _training_twins(self) -> CaptionTwins | None:
        if not self.config.objective.weights.get("hard_negatives"):
            return None
        captions = len(self.rows("train")[1])
        twins = sorted(self.twins("train", captions), key=lambda twin: twin.caption)
        if not twins:
            raise PairJEPAError(
                "objective.weights.hard-negatives must be 0, got captions of which no twin can be made: "
                "they are made of captions in English. Leave it out."
            )
        say(f"hard negatives: {counted(len(twins), 'twin')} of {counted(captions, 'training caption')}")
        return CaptionTwins(twins, self.texts([twin.text for twin in twins]), captions)

    def fit_standardizers(self, joint: JointModel, train: Split) -> None:
        """Mean and deviation of the frozen sides' features over the training split; tuned sides have no fixed ones."""
        model = self.config.model
        context = model.predictor.kind
        for inputs, kinds, standardizer in (
            (train.images, (model.image_projection.kind, context), joint.image_standardizer),
            (train.texts, (model.text_projection.kind,), joint.text_standardizer),
            (
                train.masked,
                (model.caption_projection.kind, context),
                getattr(joint, "caption_standardizer", None),
            ),
        ):
            # An adapter starts as the identity: what it is given are embeddings already.
            if isinstance(inputs, CachedFeatures) and standardizer is not None and "adapter" not in kinds:
                standardizer.fit(*inputs.moments())


def evenly(rows: np.ndarray, most: int | None) -> np.ndarray:
    """At most so many of the rows, spread evenly."""
    if most is None or len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
