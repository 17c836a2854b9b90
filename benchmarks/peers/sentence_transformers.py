"""As sentence-transformers trains a model of images and texts: a Router, its trainer, its ranking loss."""

import argparse
import tempfile
from typing import Any

import numpy as np
import torch

from pairjepa.backbones.encoders import load_image_backbone
from pairjepa.backbones.preprocessing import Preprocessing
from pairjepa.config.settings import ModelConfig
from pairjepa.pairs import Pairs
from peers.job import WARM_UP, OnStep, Peer, picture, samples
from peers.run_clip import QUIET, After

TOKENS = 32


class SentenceTransformers(Peer):
    """The text backbone's own stack; behind the image backbone a linear map into its space. All is tuned."""

    what = (
        "a step of SentenceTransformerTrainer with MultipleNegativesRankingLoss: both backbones tuned, "
        "a Dense from the image's features into the text backbone's space"
    )
    default_lr = 5e-5

    def __init__(self, given: argparse.Namespace) -> None:
        """Build the model of stock modules."""
        super().__init__(given)
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import (
            Dense,
            Normalize,
            Pooling,
            Router,
            Transformer,
        )

        torch.manual_seed(0)
        image = load_image_backbone(ModelConfig(image=given.image, image_stages=(-1,)), 0)
        # a file in float16 would be trained as such, and diverge within a few steps
        text = Transformer(given.text, max_seq_length=TOKENS, model_kwargs={"dtype": torch.float32})
        dim = text.get_embedding_dimension()
        with tempfile.TemporaryDirectory() as folder:
            image.model.save_pretrained(folder)  # type: ignore[operator]
            _processor(image.preprocessing).save_pretrained(folder)
            way = {"image": {"method": "forward", "method_output_name": "pooler_output"}}
            picture_side = Transformer(folder, modality_config=way, module_output_name="sentence_embedding")
        router = Router(
            {
                "image": [picture_side, Dense(image.width, dim, activation_function=None), Normalize()],
                "text": [text, Pooling(dim, "mean"), Normalize()],
            },
            route_mappings={(None, "text"): "text", (None, "image"): "image"},
        )
        self.model = SentenceTransformer(modules=[router], device="cpu")

    def train(self, steps: int, on_step: OnStep, *, counted: bool = False) -> None:
        """The library's trainer."""
        from datasets import Dataset, Image
        from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
        from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

        train = self.pairs.split("train")
        rows, captions = zip(*samples(train), strict=True)
        paths = train.table["path"].to_pylist()
        data = Dataset.from_dict({"image": [paths[row] for row in rows], "caption": list(captions)})
        with tempfile.TemporaryDirectory() as folder:
            settings = SentenceTransformerTrainingArguments(
                output_dir=folder,
                max_steps=steps,
                per_device_train_batch_size=self.given.batch,
                learning_rate=self.lr,
                warmup_steps=round(WARM_UP * steps),
                router_mapping={"image": "image", "caption": "text"},
                **QUIET,
            )
            trainer = SentenceTransformerTrainer(
                model=self.model,
                args=settings,
                train_dataset=data.cast_column("image", Image()),
                loss=MultipleNegativesRankingLoss(self.model),
                callbacks=[After(on_step)],
            )
            trainer.train()

    def embed(self, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
        """`encode` of both sides."""
        was = self.model.training
        parts = [
            self.model.encode([picture(pairs, row) for row in rows.tolist()], batch_size=16)
            for rows in np.array_split(np.arange(pairs.n_images), max(1, pairs.n_images // 64))
        ]
        texts = self.model.encode(pairs.captions.to_pylist(), batch_size=64)
        self.model.train(was)
        return np.concatenate(parts), np.asarray(texts)


def _processor(how: Preprocessing) -> Any:
    """The whole picture as a square, in the form of Transformers without torchvision."""
    from transformers import CLIPImageProcessorPil

    return CLIPImageProcessorPil(
        size={"height": how.size, "width": how.size},
        do_center_crop=False,
        resample=how.resample,
        rescale_factor=1 / 255,
        image_mean=[mean / 255 for mean in how.mean],
        image_std=[std / 255 for std in how.std],
    )
