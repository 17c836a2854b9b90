"""As Transformers' example `run_clip.py` trains: a dual encoder of `VisionTextDualEncoderModel`'s structure, `Trainer`.

The class itself does not take EfficientNet (it asks the configuration for `hidden_size`), so its structure is written
down here: a linear projection without bias behind each encoder, unit norm, a learned temperature, the loss both ways.
Where the example is to its own disadvantage it is helped: mean pooling, which MiniLM was made for, in place of the
pooler's output; captions padded to the longest of their batch, in place of always 128 tokens.
"""

import argparse
import tempfile
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Trainer, TrainerCallback, TrainingArguments

from pairjepa.backbones.encoders import load_image_backbone, load_text_backbone
from pairjepa.backbones.image import ImageBackbone
from pairjepa.backbones.text import TextBackbone
from pairjepa.config.recipes import recipe
from pairjepa.config.settings import ModelConfig
from pairjepa.features.extract import image_features, text_features
from pairjepa.pairs import Pairs
from pairjepa.pairs.scan import scan
from pairjepa.util.files import cache_folder
from peers.job import WARM_UP, OnStep, Peer, picture, samples

DIM, LOGIT_SCALE = 512, 2.6592  # defaults of VisionTextDualEncoderConfig
VIEW = "whole"


class RunClip(Peer):
    """Both encoders are tuned, as the example does by default."""

    what = (
        "a step as run_clip.py trains: both backbones tuned, linear projections to 512, InfoNCE, "
        "Transformers' Trainer"
    )
    default_lr = 5e-5
    frozen = False

    def __init__(self, given: argparse.Namespace) -> None:
        """Load both backbones."""
        super().__init__(given)
        torch.manual_seed(0)
        config = ModelConfig(image=given.image, text=given.text, image_stages=(-1,), text_layers=(-1,))
        self.image = load_image_backbone(config, 0)
        self.text = load_text_backbone(config, 0)
        self.model = Dual(self.image, self.text, self.frozen)

    def train(self, steps: int, on_step: OnStep, *, counted: bool = False) -> None:
        """Transformers' Trainer with the settings of the example's README, and a warm-up."""
        train = self.pairs.split("train")
        fit(self.model, Samples(train, self.image, self.text), self, steps, on_step)

    @torch.no_grad()
    def embed(self, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
        """Both sides of the dual encoder."""
        self.model.eval()
        images = [
            self.model.image_side(self.image.normalise(torch.from_numpy(np.stack(pixels))))
            for rows in np.array_split(np.arange(pairs.n_images), max(1, pairs.n_images // 16))
            for pixels in [[self.image.prepare(picture(pairs, row), VIEW) for row in rows.tolist()]]
        ]
        captions = pairs.captions.to_pylist()
        texts = [
            self.model.text_side(*self.text.collate(self.text.tokenize(captions[start : start + 64])))
            for start in range(0, len(captions), 64)
        ]
        self.model.train()
        return torch.cat(images).numpy(), torch.cat(texts).numpy()


class FrozenRunClip(RunClip):
    """`--freeze_vision_model --freeze_text_model`: the projections alone learn."""

    what = "a step as run_clip.py trains with both backbones frozen: the linear projections alone learn"
    default_lr = 1e-3  # best of 5e-5 (the example), 1e-3, 5e-3, 2e-2 on dev after 600 steps
    frozen = True
    kept: "Kept | None" = None

    def train(self, steps: int, on_step: OnStep, *, counted: bool = False) -> None:
        """As `RunClip`; counted, the encoders run once over all pairs: they give the same each time."""
        if not counted:
            return super().train(steps, on_step)
        self.kept = Kept(self.given, self.pairs, self.image.width, self.text.width)
        _, captions = self.kept.rows(self.pairs.split("train"))
        fit(OnFeatures(self.model), Features(self.kept, captions), self, steps, on_step)
        return None

    @torch.no_grad()
    def embed(self, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
        """From the kept features where there are any."""
        if self.kept is None:
            return super().embed(pairs)
        images, captions = self.kept.rows(pairs)
        heads: Any = self.model.projections
        return (
            F.normalize(heads["image"](self.kept.image[images]), dim=1).numpy(),
            F.normalize(heads["text"](self.kept.text[captions]), dim=1).numpy(),
        )


class Kept:
    """What the frozen encoders make of all pairs, from the cache that `pairjepa train` fills with PyTorch."""

    def __init__(self, given: argparse.Namespace, pairs: Pairs, image_width: int, text_width: int) -> None:
        """The output is the first part of the features, and the whole picture the first view."""
        config = recipe("contrastive", {"model.image": given.image, "model.text": given.text}).model
        image, text = load_image_backbone(config, 0), load_text_backbone(config, 0)
        facts, cache = scan(pairs, cache_folder()), cache_folder()
        everything = np.arange(pairs.n_images)
        found = image_features(image, pairs, facts, config.image_views, cache).gather(everything)
        self.image = torch.from_numpy(found[:, config.image_views.index(VIEW), :image_width].copy())
        words = text_features(text, pairs.captions, cache).gather(np.arange(len(pairs)))
        self.text = torch.from_numpy(words[:, :text_width].copy())
        self._row = {name: row for row, name in enumerate(pairs.names)}
        self._first = np.concatenate([[0], np.cumsum(pairs.captions_per_image)])
        self.owner = pairs.owner

    def rows(self, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
        """Rows of some pairs' images, and of their captions, image after image."""
        images = np.array([self._row[name] for name in pairs.names])
        captions = [np.arange(self._first[row], self._first[row + 1]) for row in images]
        return images, np.concatenate(captions)


class Features(torch.utils.data.Dataset[Any]):
    """Kept features, a caption at a time."""

    def __init__(self, kept: Kept, captions: np.ndarray) -> None:
        """Rows of the captions."""
        self.kept, self.captions, self.images = kept, captions, kept.owner[captions]

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.captions)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """One pair."""
        return self.kept.image[self.images[index]], self.kept.text[self.captions[index]]

    def batch(self, found: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        """A batch as `OnFeatures` takes it."""
        image, text = zip(*found, strict=True)
        return {"image": torch.stack(image), "text": torch.stack(text)}


class OnFeatures(nn.Module):
    """A dual encoder behind its encoders."""

    def __init__(self, dual: "Dual") -> None:
        """Share the projections and the temperature."""
        super().__init__()
        self.dual = dual

    def forward(self, image: Tensor, text: Tensor) -> dict[str, Tensor]:
        """The loss of a batch of features."""
        heads = self.dual.projections
        return {
            "loss": self.dual.loss(
                F.normalize(heads["image"](image), dim=1), F.normalize(heads["text"](text), dim=1)
            )
        }


class Dual(nn.Module):
    """Two encoders, a projection behind each, and a learned temperature."""

    def __init__(self, image: ImageBackbone, text: TextBackbone, frozen: bool) -> None:
        """Frozen encoders stay in evaluation mode: no dropout, and statistics of BatchNorm as they were trained."""
        super().__init__()
        self.encoders = nn.ModuleDict({"image": image, "text": text}).requires_grad_(not frozen)
        self.projections = nn.ModuleDict(
            {
                "image": nn.Linear(image.width, DIM, bias=False),
                "text": nn.Linear(text.width, DIM, bias=False),
            }
        )
        self.logit_scale = nn.Parameter(torch.tensor(LOGIT_SCALE))
        self.frozen = frozen

    def train(self, mode: bool = True) -> "Dual":
        """See `__init__`."""
        super().train(mode)
        if self.frozen:
            self.encoders.eval()
        return self

    def image_side(self, pixels: Tensor) -> Tensor:
        """Unit-norm vectors of normalised pictures."""
        return F.normalize(self.projections["image"](self.encoders["image"](pixels)), dim=1)

    def text_side(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Unit-norm vectors of captions."""
        return F.normalize(self.projections["text"](self.encoders["text"](input_ids, attention_mask)), dim=1)

    def forward(self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """The loss of a batch, as Trainer takes it."""
        return {"loss": self.loss(self.image_side(pixel_values), self.text_side(input_ids, attention_mask))}

    def loss(self, image: Tensor, text: Tensor) -> Tensor:
        """Cross-entropy both ways over the batch."""
        logits = image @ text.T * self.logit_scale.exp()
        own = torch.arange(len(logits))
        return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


class Samples(torch.utils.data.Dataset[Any]):
    """Image and caption; the image is read from its JPEG file each time."""

    def __init__(self, pairs: Pairs, image: ImageBackbone, text: TextBackbone) -> None:
        """Captions are tokenized at once, as the example does."""
        self.pairs, self.image, self.text = pairs, image, text
        found = samples(pairs)
        self.rows, self.ids = [row for row, _ in found], text.tokenize([caption for _, caption in found])

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[np.ndarray, list[int]]:
        """Pixels and tokens."""
        return self.image.prepare(picture(self.pairs, self.rows[index]), VIEW), self.ids[index]

    def batch(self, found: list[tuple[np.ndarray, list[int]]]) -> dict[str, Tensor]:
        """A batch as `Dual` takes it."""
        pixels, ids = zip(*found, strict=True)
        input_ids, mask = self.text.collate(list(ids))
        normalised = self.image.normalise(torch.from_numpy(np.stack(pixels)))
        return {"pixel_values": normalised, "input_ids": input_ids, "attention_mask": mask}


def fit(model: nn.Module, data: Any, peer: Peer, steps: int, on_step: OnStep) -> None:
    """Transformers' Trainer, over a data set that knows how to make a batch."""
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=peer.given.batch,
            learning_rate=peer.lr,
            warmup_steps=round(WARM_UP * steps),
            weight_decay=0.1,
            **QUIET,
        )
        trainer = Trainer(
            model=model,
            args=settings,
            train_dataset=data,
            data_collator=data.batch,
            callbacks=[After(on_step)],
        )
        trainer.train()


QUIET: dict[str, Any] = {
    "use_cpu": True,
    "save_strategy": "no",
    "logging_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "remove_unused_columns": False,
    "dataloader_drop_last": True,
    "dataloader_pin_memory": False,
}


class After(TrainerCallback):
    """Calls a function after each step."""

    def __init__(self, on_step: OnStep) -> None:
        """`on_step(number)`."""
        self._on_step = on_step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """As Trainer asks for it."""
        self._on_step(state.global_step)
