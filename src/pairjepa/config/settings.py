"""The settings of a run: frozen, validated, saved beside the result, and the source of the command line's flags.

`None` means off or "find it yourself". A docstring below a field is its `--help` text.
"""

import dataclasses
import math
import types
import typing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pairjepa.config.registered import registered
from pairjepa.config.renamed import instead, new_name
from pairjepa.util.errors import UsageError, close_matches

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
    """A pretrained pair in place of both: a folder or hub id of CLIP, SigLIP or another dual encoder."""
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
    """What computes features of frozen backbones; `auto`: onnx for images on a CPU, bfloat16 on a GPU of CUDA's, else
    torch; `ray`: torch on Ray."""
    feature_batch: int | None = None
    """Items that a frozen backbone forwards at once; if not given, 16 images or 64 captions, on a GPU 256."""
    dim: int = 512
    """Width of the shared space."""
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
    """Share of samples whose caption is hidden whole, as in image-only queries."""
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
    """τ of InfoNCE; where it is learned, its start; `none` is that of a pretrained pair."""
    learn_temperature: bool = True
    """Learn τ, clamped to [0.01, 1]."""
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
    """Captions drawn for each image of a batch."""
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
        return typing.cast(RunConfig, _build(cls, values, ""))

    def validate(self) -> None:
        """Check every value that a type cannot check.

        Raises:
            UsageError: names the dotted field, the rule, the value and what to do.
        """
        for name, value in _flatten(self):
            if isinstance(value, float) and not math.isfinite(value):
                raise _bad(name, "be finite", value)
        d, m, o, t = self.data, self.model, self.objective, self.training
        _at_least("data.pairs", d.pairs, 2)
        _between("data.max_bad", d.max_bad, 0, 1)
        for name in ("dim", "max_tokens", "image_size", "image_grid"):
            _at_least(f"model.{name}", getattr(m, name), 3 if name == "max_tokens" else 1)
        for name in ("feature_batch", "image_lora", "text_lora"):
            _at_least(f"model.{name}", getattr(m, name), 1)
        if not m.image_views:
            raise _bad("model.image_views", "name at least one view", m.image_views)
        for name in ("image_lr_scale", "text_lr_scale"):
            if (factor := getattr(m, name)) is not None and factor <= 0:
                raise _bad(
                    f"model.{name}", "be positive", factor, "Leave it out to keep the backbone frozen."
                )
        _at_least("model.text_frozen_layers", m.text_frozen_layers, 1)
        if m.text_frozen_layers is not None and m.text_lr_scale is None:
            raise _bad("model.text_frozen_layers", "go with model.text_lr_scale", m.text_frozen_layers)
        _at_least("training.tuned_epochs", t.tuned_epochs, 1)
        if m.text_frozen_layers and m.text_lora:
            raise _bad("model.text_lora", "not be given beside model.text_frozen_layers", m.text_lora)
        if m.text_frozen_layers and -1 < min(m.text_layers or (-1,)) < m.text_frozen_layers:
            raise _bad("model.text_layers", "not be below model.text_frozen_layers", m.text_layers)
        self._validate_pair()
        if m.adapter_scale is not None:
            _between("model.adapter_scale", m.adapter_scale, 0, 1)
            if all(h.kind != "adapter" for h in (m.image_projection, m.predictor, m.text_projection)):
                raise _bad("model.adapter_scale", "go with heads of the kind adapter", m.adapter_scale)
        if isinstance(m.image, tuple):
            for name in ("image_lr_scale", "image_lora", "image_grid", "image_revision"):
                if (value := getattr(m, name)) is not None:
                    raise _bad(f"model.{name}", "not be given beside several image backbones", value)
            if m.image_weights == "random" or m.image_stages not in (None, (-1,)):
                raise _bad(
                    "model.image", "name one backbone where image_weights or image_stages is given", m.image
                )
        for name in ("image_projection", "caption_projection", "text_projection", "predictor"):
            head: HeadConfig = getattr(m, name)
            _at_least(f"model.{name}.hidden_dim", head.hidden_dim, 1)
            for dropout in ("input_dropout", "dropout"):
                value = getattr(head, dropout)
                if not 0 <= value < 1:
                    raise _bad(f"model.{name}.{dropout}", "be in [0, 1)", value)
        c = self.context
        if len(c.mask_ratio) not in (1, 2) or not 0 <= c.mask_ratio[0] <= c.mask_ratio[-1] <= 1:
            raise _bad("context.mask_ratio", "be one or two ascending numbers in [0, 1]", c.mask_ratio)
        _between("context.full_mask_prob", c.full_mask_prob, 0, 1)
        _at_least("context.masks", c.masks, 1)
        if not c.image and c.caption is None:
            raise _bad("context.caption", "be on where context.image is off", None, "Nothing would be seen.")
        if c.target == "ema" and (c.caption is None or m.caption_projection != m.text_projection):
            raise _bad(
                "context.target",
                "not be ema unless model.caption_projection is the same head as model.text_projection",
                c.target,
                "Set context.caption and give both the same settings.",
            )
        if not 0 <= c.cell_dropout < 1:
            raise _bad("context.cell_dropout", "be in [0, 1)", c.cell_dropout)
        self._validate_transformer()
        if not any(weight > 0 for weight in o.weights.values()):
            raise _bad("objective.weights", "give at least one term a positive weight", o.weights)
        for term, weight in o.weights.items():
            if weight < 0:
                raise _bad(f"objective.weights.{term}", "not be negative", weight)
        if m.auxiliary is None and any(w > 0 and t.startswith("auxiliary_") for t, w in o.weights.items()):
            raise _bad("model.auxiliary", "be given where an auxiliary_ term has a weight", None)
        if m.auxiliary == "context" and c.caption is not None:
            raise _bad("model.auxiliary", "not be context where the context sees a caption", m.auxiliary)
        low, high = TEMPERATURES
        if o.temperature is not None and not low <= o.temperature <= high:
            raise _bad("objective.temperature", f"be in [{low:g}, {high:g}]", o.temperature)
        if not 0 <= o.label_smoothing < 1:
            raise _bad("objective.label_smoothing", "be in [0, 1)", o.label_smoothing)
        _at_least("objective.sigreg_directions", o.sigreg_directions, 1)
        for name, least in (("epochs", 1), ("batch_size", 2), ("captions_per_image", 1), ("micro_batch", 1)):
            _at_least(f"training.{name}", getattr(t, name), least)
        _between("training.seed", t.seed, 0, 2**32 - 1)
        if t.learning_rate <= 0:
            raise _bad("training.learning_rate", "be positive", t.learning_rate)
        if t.weight_decay < 0:
            raise _bad("training.weight_decay", "not be negative", t.weight_decay)
        _between("training.warmup", t.warmup, 0, 1)
        if t.solver == "cca":
            self._validate_closed_form()

    def _validate_pair(self) -> None:
        m = self.model
        if m.pair is None:
            if m.max_tokens is None or self.objective.temperature is None:
                raise _bad(
                    "model.pair",
                    "be given where model.max_tokens or objective.temperature is none",
                    None,
                    "Give the folder or hub id of a pretrained pair, such as openai/clip-vit-base-patch32.",
                )
            return
        for name in _OF_TOWERS:
            if (value := getattr(m, name)) is not None:
                raise _bad(
                    f"model.{name}",
                    "not be given beside model.pair",
                    value,
                    "The pair has towers of its own.",
                )
        if "random" in (m.image_weights, m.text_weights):
            raise _bad("model.image_weights", "be pretrained where model.pair is given", "random")

    def _validate_closed_form(self) -> None:
        if not holds_cca(self):
            raise _bad(
                "training.solver",
                "be adamw unless both backbones are frozen, the context is the image alone, and the heads are linear",
                "cca",
                "Take the recipe closed-form as it is.",
            )
        if self.training.epochs != 1:
            raise _bad("training.epochs", "be 1 where training.solver is cca", self.training.epochs)

    def _validate_transformer(self) -> None:
        m = self.model
        for name in ("image_projection", "caption_projection", "text_projection"):
            if getattr(m, name).kind == "transformer":
                raise _bad(
                    f"model.{name}.kind", "not be transformer", "transformer", "Only model.predictor can."
                )
        if m.predictor.kind == "transformer":
            if m.image_grid is None:
                raise _bad(
                    "model.image_grid", "be given where model.predictor is a transformer", None, "Try 4."
                )
            if m.predictor.hidden_dim % 64:
                raise _bad(
                    "model.predictor.hidden_dim",
                    "be a multiple of 64 for a transformer",
                    m.predictor.hidden_dim,
                )
            for name in ("image_projection", "caption_projection"):
                if getattr(m, name).kind != "identity":
                    raise _bad(
                        f"model.{name}.kind", "be identity before a transformer", getattr(m, name).kind
                    )
        elif m.image_grid is not None or self.context.cell_dropout:
            raise _bad(
                "model.predictor.kind",
                "be transformer where model.image_grid or context.cell_dropout is given",
                m.predictor.kind,
            )


_OF_TOWERS = (
    *("image", "text", "image_size", "image_grid"),
    *("image_stages", "text_layers", "text_pooling", "text_frozen_layers"),
)
"""Settings of the model that a pretrained pair has no use for."""


def differences(old: RunConfig, new: RunConfig) -> dict[str, tuple[Any, Any]]:
    """Dotted fields whose values differ, with both values. How often one checkpoints changes no result."""
    before, after = dict(_flatten(old)), dict(_flatten(new))
    names = [n for n in {**before, **after} if n != "training.checkpoint_seconds"]
    return {n: (before.get(n), after.get(n)) for n in names if before.get(n) != after.get(n)}


def result_settings(config: RunConfig) -> dict[str, Any]:
    """Dotted settings that a result depends on; data, backbones and engine are not among them.

    These are the same or not by their digests, however they were named: `./photos` and `photos` are one folder.
    """
    return {
        name: value for name, value in _flatten(config) if name not in NAMES and not name.startswith("data.")
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


def _flatten(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if dataclasses.is_dataclass(value):
        items = [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)]
    elif isinstance(value, dict):
        items = list(value.items())
    else:
        return [(prefix, value)]
    return [leaf for name, item in items for leaf in _flatten(item, f"{prefix}.{name}" if prefix else name)]


def _bad(name: str, rule: str, value: Any, advice: str = "") -> UsageError:
    return UsageError(f"{name} must {rule}, got {value!r}.{' ' + advice if advice else ''}")


def _at_least(name: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise _bad(name, f"be at least {least}", value)


def _between(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise _bad(name, f"be between {low} and {high}", value)


def _build(kind: Any, value: Any, name: str) -> Any:
    """`value` (from JSON) as an instance of the annotation `kind`."""
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise _bad(name, "be a table of settings", value)
        hints = typing.get_type_hints(kind)
        for key in value:
            if key not in hints:
                dotted = f"{name}.{key}" if name else key
                raise UsageError(f"Unknown setting {dotted}.{new_name(dotted) or close_matches(key, hints)}")
        return kind(  # type: ignore[operator]
            **{k: _build(hints[k], v, f"{name}.{k}" if name else k) for k, v in value.items()}
        )
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        if isinstance(value, list | tuple) and arguments[0] is str:  # one name, or several
            return (
                _build(arguments[0], value[0], name) if len(value) == 1 else _build(arguments[1], value, name)
            )
        return _build(next(a for a in arguments if a is not type(None)), value, name)
    if origin is Literal:
        if value not in arguments:
            known = ", ".join(map(str, arguments))
            raise UsageError(f"{name} must be one of {known}, got {value!r}.{instead(value)}")
        return value
    if origin is tuple:
        if isinstance(value, str) and arguments[0] is str:  # as runs had it once
            value = (value,)
        if not isinstance(value, list | tuple):
            raise _bad(name, "be a list", value)
        return tuple(_build(arguments[0], item, name) for item in value)
    if origin is dict:
        if not isinstance(value, dict):
            raise _bad(name, "be a table of settings", value)
        return {key: _build(arguments[1], item, f"{name}.{key}") for key, item in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _bad(name, f"be of type {kind.__name__}", value)
    return value


def pretrained(model: ModelConfig, side: str) -> bool:
    """Whether a side's backbone has learned something before."""
    tiny = str(getattr(model, side)).startswith("tiny-")
    return model.pair is not None or not (tiny or getattr(model, f"{side}_weights") == "random")


def tuned(model: ModelConfig, side: str) -> bool:
    """Whether a side's backbone learns too."""
    return getattr(model, f"{side}_lr_scale") is not None or getattr(model, f"{side}_lora") is not None


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


def holds_cca(config: RunConfig) -> bool:
    """Whether the heads can be one linear map a side, of frozen features."""
    model, context = config.model, config.context
    image = sorted((model.image_projection.kind, model.predictor.kind))
    return (
        context.image
        and context.caption is None
        and not tuned(model, "image")
        and not tuned(model, "text")
        and image in (["identity", "linear"], ["identity", "residual"])
        and model.text_projection.kind in ("linear", "residual")
    )
