"""The settings of a run: frozen, validated, saved beside the result, and the source of the command line's flags.

`None` means off or "find it yourself". A docstring below a field is its `--help` text.
"""

import dataclasses
import math
import typing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pairjepa.config.registered import registered
from pairjepa.config.values import build, flatten

Weights = Literal["pretrained", "random"]
Pooling = Literal["cls", "mean", "last"]
if TYPE_CHECKING:
    HeadKind = str
    MaskKind = str
else:
    HeadKind = Literal[*registered("model/heads.py", "head"), "transformer"]
    MaskKind = Literal[*registered("backbones/masking.py", "masking")]
TargetUpdate = Literal["full", "slow", "frozen", "ema"]
HiddenWords = Literal["mask", "omit"]
Auxiliary = Literal["features", "context"]
EngineName = Literal["auto", "torch", "bfloat16", "onnx", "ray"]
Solver = Literal["adamw", "cca"]
DeviceName = Literal["auto", "cpu", "cuda", "mps"]
DEVICE = "PAIRJEPA_DEVICE"
"""Environment variable of the device that models run on."""
TEMPERATURES = (0.01, 1.0)
"""Bounds of τ."""
View = Literal["whole", "whole-mirrored", "centre", "centre-mirrored"]


@dataclass(frozen=True)
class DataConfig:
    """Which pairs."""

    source: str | None = None
    """A folder, a table (CSV, TSV, JSONL, Parquet), shards (.tar, a pattern or URL), a hub data set id, or `shapes`."""
    image_column: str | None = None
    """Column that names or holds the image; found by usual names if not given."""
    caption_column: tuple[str, ...] | None = None
    """Columns that hold the caption or lists of them; `short=0.7 long=0.3` says how often each is drawn in training."""
    split_column: str | None = None
    """Column that holds train, dev or test."""
    group_column: str | None = None
    """Column whose equal values stay in one split (a scene, a product), where a hash draws the splits."""
    drop_leaks: bool = False
    """Leave images out of which a later split (dev, test) holds near copies."""
    images: str | None = None
    """Folder of the images that a table names, where they are not beside it."""
    no_header: bool = False
    """The first line of a text table is a pair: the image in the first column, the caption in the second."""
    pairs: int | None = None
    """Keep about this many pairs, chosen by image."""
    seed: int = 0
    """Seed of that choice, and of the drawing of `shapes`."""
    max_bad: float = 0.05
    """Share of images that may be unreadable before a run stops."""


@dataclass(frozen=True)
class HeadConfig:
    """One learned map: features → projection, or context → prediction."""

    kind: HeadKind = "linear"
    """identity, linear, mlp (with BatchNorm, ReLU), residual (linear plus mlp), gated (a residual map a side), adapter
    (starts as the identity); the predictor may be a transformer."""
    hidden_dim: int = 1024
    """Width of the hidden layer of mlp and residual, inner width of a transformer (a multiple of 64)."""
    input_dropout: float = 0.0
    """Share of input features set to zero in training."""
    dropout: float = 0.0
    """Dropout after the hidden layer."""


@dataclass(frozen=True)
class ModelConfig:
    """Two backbones and what is learned on top of them."""

    image: str | tuple[str, ...] | None = None
    """Image backbone: a local Transformers folder, a hub id, or `tiny-resnet`; several stand side by side."""
    text: str | None = None
    """Text backbone: a local Transformers folder, a hub id, or `tiny-bert`."""
    pair: str | None = None
    """A pretrained pair in place of both: the folder or hub id of a CLIP, SigLIP, …, or `vectors`, the data's own."""
    pair_revision: str | None = None
    """Commit, tag or branch of the pair's hub id."""
    image_revision: str | None = None
    """Commit, tag or branch of the image backbone's hub id."""
    text_revision: str | None = None
    """Commit, tag or branch of the text backbone's hub id."""
    image_weights: Weights = "pretrained"
    """`random` takes the architecture of the image backbone's configuration and starts it from random weights."""
    text_weights: Weights = "pretrained"
    """The same for the text backbone."""
    image_lr_scale: float | None = None
    """Learning-rate factor of the image backbone, which then trains too; `none` keeps it frozen."""
    text_lr_scale: float | None = None
    """Learning-rate factor of the text backbone (0.05 is a good start); `none` keeps it frozen."""
    image_lora: int | None = None
    """Rank of LoRA in the image backbone: beside each of its linear layers two small matrices learn, the rest is
    frozen; `model.image_lr_scale` is then theirs, 1 if not given."""
    text_lora: int | None = None
    """The same in the text backbone."""
    text_frozen_layers: int | None = None
    """Lower layers of a tuned text backbone that stay frozen, with their hidden states cached; `none` tunes all."""
    image_views: tuple[View, ...] = ("whole", "whole-mirrored")
    """Views of an image: one at random in training, averaged afterwards."""
    image_size: int | None = None
    """Side of the square input in pixels; the backbone's own if not given."""
    image_stages: tuple[int, ...] | None = None
    """Indices of `hidden_states` pooled beside the backbone's output; found by itself if not given; -1 is none."""
    image_grid: int | None = None
    """Side of the grid of image cells, beside the pooled features, that a transformer predictor looks at."""
    text_layers: tuple[int, ...] | None = None
    """Indices of `hidden_states` that are pooled beside the last layer; the middle one if not given; -1 is none."""
    text_pooling: Pooling | None = None
    """`cls` takes the first position, `mean` the mean over the caption's tokens, `last` the last; if not given, what a
    sentence-transformers folder says of pooling, prompt and normalisation, else the mean."""
    max_tokens: int | None = 32
    """Captions are cut after this many tokens, special tokens included; `none` is the most that a pair takes."""
    engine: EngineName = "auto"
    """What computes features of frozen backbones; `auto`: bfloat16 on a GPU of CUDA's and for transformers on a CPU
    with AMX, onnx for images on another CPU, else torch; `ray`: torch on Ray."""
    feature_batch: int | None = None
    """Items that a frozen backbone forwards at once; if not given, 16 images or 64 captions, on a GPU 256."""
    dim: int = 512
    """Width of the shared space; a pretrained pair has its own."""
    image_projection: HeadConfig = field(default_factory=HeadConfig)
    """Image features → context."""
    caption_projection: HeadConfig = field(default_factory=lambda: HeadConfig("identity"))
    """Features of the partly masked caption → context, beside the image's; used where `context.caption` is on."""
    text_projection: HeadConfig = field(default_factory=HeadConfig)
    """Caption features → target."""
    predictor: HeadConfig = field(default_factory=lambda: HeadConfig("identity"))
    """Context → prediction."""
    auxiliary: Auxiliary | None = None
    """What a linear map predicts beside the target, for the `auxiliary_` terms: from the prediction the caption's
    `features`, before any projection; or from the target the `context`, the image's projection (the second way)."""
    adapter_scale: float | None = None
    """How much of what adapters add is kept after training, from 0 (the pretrained pair) to 1; chosen on dev if not
    given."""
    closed_form_share: float | None = None
    """How much of ridge CCA is mixed into trained heads of frozen images, from 0 (the heads alone) to 1 (CCA alone);
    chosen on dev if not given."""


@dataclass(frozen=True)
class ContextConfig:
    """What the context sees, and how the target that it predicts moves."""

    image: bool = True
    """Whether the image is seen; without it the run is the text-only control of a masked one."""
    caption: MaskKind | None = None
    """Show the caption too, with some tokens, spans, words or content words hidden; `none` hides it whole."""
    hidden_words: HiddenWords | None = None
    """`mask` puts the mask token there, `omit` leaves them out; if not given, `omit` where the tokenizer has none."""
    mask_ratio: tuple[float, ...] = (0.1, 0.9)
    """Share of the caption that is hidden: lowest and highest, drawn for each mask; a single value is fixed."""
    full_mask_prob: float = 0.5
    """Weight in the loss of the query by the image alone, for which the whole caption is hidden; the query by the image
    and the partly masked caption, which each sample makes too, has the rest."""
    cell_dropout: float = 0.0
    """Share of the image's grid cells that a training sample does not see; needs model.image_grid."""
    masks: int = 4
    """Masks a caption, forwarded once and cached, where the text backbone is frozen; a tuned one draws fresh ones."""
    target: TargetUpdate = "full"
    """text_projection learns at the full rate, slowly (a tenth), never, or is an EMA of caption_projection."""


@dataclass(frozen=True)
class ObjectiveConfig:
    """What is minimised: the weighted sum of the named terms."""

    weights: dict[str, float] = field(default_factory=lambda: {"info_nce": 1.0})
    """Weight of each term by name, as in `--objective.weights.cosine 1`; 0 leaves a term out."""
    temperature: float | None = 0.07
    """τ of InfoNCE and `sigmoid`; where it is learned, its start; `none` is that of a pretrained pair."""
    bias: float | None = None
    """Start of the bias of `sigmoid`; if not given, that of a pretrained pair (SigLIP), else -10."""
    learn_temperature: bool = True
    """Learn τ, clamped to [0.01, 1], and the bias."""
    label_smoothing: float = 0.0
    """Share of the target distribution of InfoNCE that is spread over the whole batch."""
    stop_gradient: bool = False
    """InfoNCE and the regressions pass no gradient to the target; the regularizers still do."""
    sigreg_directions: int = 256
    """Random directions that SIGReg looks along in each step; its time and memory grow with them."""


@dataclass(frozen=True)
class TrainingConfig:
    """How it is minimised."""

    solver: Solver = "adamw"
    """`cca` sets linear heads by a closed formula, ridge CCA on frozen features, in the place of gradient steps."""
    epochs: int = 60
    """Passes over the training images."""
    tuned_epochs: int | None = None
    """Last epochs, in which tuned backbones learn, with a warm-up of their own; before, the heads alone learn. If not
    given, a quarter of the epochs, or all where a backbone is random or the heads begin as a pretrained pair."""
    batch_size: int = 1000
    """Images in a batch, of all processes together."""
    captions_per_image: int = 1
    """Captions drawn for each image of a batch; no more than any image has."""
    learning_rate: float = 1e-3
    """Peak of the warm-up and cosine schedule of AdamW."""
    weight_decay: float = 0.1
    """Decay of weight matrices; biases, norms and τ have none."""
    warmup: float = 0.05
    """Share of the steps in which the learning rate rises."""
    micro_batch: int | None = None
    """Tuned backbones are forwarded in chunks of so many samples in each process, with cached gradients."""
    checkpoint_seconds: float = 30.0
    """Least time between two checkpoints."""
    start: str | None = None
    """Run whose weights the training starts from, with more pairs or epochs; what is not given of the model is its."""
    teachers: tuple[str, ...] = ()
    """Runs or seed groups on the same pairs: the term `distillation` learns what they, as one model, find alike."""
    seed: int = 0
    """Seed of initial weights, order, captions, views and dropout."""


@dataclass(frozen=True)
class RunConfig:
    """Everything that a run's result depends on."""

    recipe: str = "contrastive"
    """Name of the recipe that the other settings started from."""
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    context: ContextConfig = field(default_factory=ContextConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready nested dict; `from_dict` is its inverse."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RunConfig":
        """Rebuild a config; unknown fields and wrong types name the dotted field.

        Raises:
            UsageError: a field is unknown or its value has the wrong type.
        """
        return typing.cast(RunConfig, build(cls, values, ""))

    def validate(self) -> None:
        """Check every value that a type cannot check.

        Raises:
            UsageError: names the dotted field, the rule, the value and what to do.
        """
        from pairjepa.config.rules import validate  # which stands above this file

        validate(self)


def differences(old: RunConfig, new: RunConfig) -> dict[str, tuple[Any, Any]]:
    """Dotted fields whose values differ, with both values. How often one checkpoints changes no result."""
    before, after = dict(flatten(old)), dict(flatten(new))
    names = [n for n in {**before, **after} if n != "training.checkpoint_seconds"]
    return {n: (before.get(n), after.get(n)) for n in names if before.get(n) != after.get(n)}


def result_settings(config: RunConfig) -> dict[str, Any]:
    """Dotted settings that a result depends on; data, backbones and engine are not among them.

    These are the same or not by their digests, however they were named: `./photos` and `photos` are one folder.
    """
    return {
        name: value for name, value in flatten(config) if name not in NAMES and not name.startswith("data.")
    }


NAMES = (
    "model.image",
    "model.image_revision",
    "model.text",
    "model.text_revision",
    "model.pair",
    "model.pair_revision",
    "model.engine",
    "model.feature_batch",
    "training.checkpoint_seconds",
)
"""Settings beside those of the data that are checked by what they name, or change no result."""


def pretrained(model: ModelConfig, side: str) -> bool:
    """Whether a side's backbone has learned something before."""
    tiny = str(getattr(model, side)).startswith("tiny-")
    return model.pair is not None or not (tiny or getattr(model, f"{side}_weights") == "random")


def tuned(model: ModelConfig, side: str) -> bool:
    """Whether a side's backbone learns too."""
    return getattr(model, f"{side}_lr_scale") is not None or getattr(model, f"{side}_lora") is not None


def untuned(model: ModelConfig) -> ModelConfig:
    """The same with backbones that do not learn."""
    learning = ("image_lr_scale", "image_lora", "text_lr_scale", "text_lora", "text_frozen_layers")
    unset: Any = dict.fromkeys(learning)
    return dataclasses.replace(model, **unset)


def starts_as_pair(model: ModelConfig) -> bool:
    """Whether the model is a pretrained pair before its first step."""
    sides = ((model.image_projection, model.predictor), (model.text_projection,))
    kinds = [{head.kind for head in heads} for heads in sides]
    return model.pair is not None and all("adapter" in side <= {"adapter", "identity"} for side in kinds)


def frozen_epochs(config: RunConfig) -> int:
    """First epochs of a run with tuned backbones in which its heads alone learn; 0 where all learn from the start.

    Random heads would spoil a backbone before they can use it (Kumar et al. 2022, arXiv 2202.10054).
    """
    model, epochs = config.model, config.training.epochs
    learning = [side for side in ("image", "text") if tuned(model, side)]
    last = config.training.tuned_epochs
    if last is None:
        heads_first = not starts_as_pair(model) and all(pretrained(model, side) for side in learning)
        last = math.ceil(epochs / 4) if heads_first else epochs
    return max(epochs - last, 0) if learning else 0


def seedless(config: RunConfig) -> bool:
    """Whether every seed gives the same run: that of a closed formula of pretrained backbones."""
    closed = config.training.solver == "cca"
    return closed and all(pretrained(config.model, side) for side in ("image", "text"))


def holds_linear(config: RunConfig) -> bool:
    """Whether a linear map of the features can be added to the heads in their own weights; images must be frozen."""
    model = config.model
    image = {model.image_projection.kind, model.predictor.kind}
    learning = image - {"identity"}
    return (
        config.context.image
        and not tuned(model, "image")
        and len(learning) == 1
        and image > learning
        and learning | {model.text_projection.kind} <= {"linear", "residual", "gated", "adapter"}
        and (config.context.caption is None or model.predictor.kind in ("gated", "adapter"))
    )


def holds_cca(config: RunConfig) -> bool:
    """Whether the heads can be one linear map a side, of frozen features."""
    model = config.model
    kinds = {model.image_projection.kind, model.predictor.kind, model.text_projection.kind}
    alone = config.context.caption is None and not tuned(model, "text")
    return alone and kinds <= {"identity", "linear", "residual"} and holds_linear(config)
