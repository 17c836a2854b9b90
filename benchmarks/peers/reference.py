"""The reference's way: both encoders forward and backward, end to end, from the JPEG files."""

import argparse
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from peers.job import OnStep, Peer, endless, picture, samples

EPOCHS, PAIRS = 15, 20_000
SIZE, DIM, TOKENS, TEMPERATURE = 224, 512, 32, 0.07


class Reference(Peer):
    """ResNet-18 and BERT-base of random weights: for its seconds alone."""

    what = (
        "a step of a plain PyTorch loop: ResNet-18 and BERT-base tuned end to end, MLP heads of 512, InfoNCE; "
        "weights are random, which costs the same"
    )
    default_lr = 1e-4

    def __init__(self, given: argparse.Namespace) -> None:
        """Build both encoders from their configurations."""
        super().__init__(given)
        from transformers import AutoTokenizer, BertConfig, BertModel, ResNetConfig, ResNetModel

        torch.manual_seed(0)
        self.tokenizer = AutoTokenizer.from_pretrained(given.text)  # the vocabulary of bert-base-uncased too
        resnet = ResNetConfig(
            embedding_size=64, hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic"
        )
        bert = BertConfig(vocab_size=max(BertConfig().vocab_size, len(self.tokenizer)))
        self.model = nn.ModuleDict(
            {
                "image": ResNetModel(resnet),
                "text": BertModel(bert, add_pooling_layer=False),
                "image_head": _mlp(512),
                "text_head": _mlp(768),
            }
        )

    def train(self, steps: int, on_step: OnStep, *, counted: bool = False) -> None:
        """AdamW, one optimizer for all."""
        model: Any = self.model.train()
        train = self.pairs.split("train")
        optimizer = torch.optim.AdamW(model.parameters(), lr=self.lr)
        batches = endless(samples(train), self.given.batch)
        for step in range(1, steps + 1):
            rows, captions = zip(*next(batches), strict=True)
            pixels = torch.stack([_pixels(picture(train, row)) for row in rows])
            tokens = self.tokenizer(
                list(captions), padding=True, truncation=True, max_length=TOKENS, return_tensors="pt"
            )
            image = model["image_head"](model["image"](pixels).pooler_output.flatten(1))
            text = model["text_head"](model["text"](**tokens).last_hidden_state[:, 0])
            logits = F.normalize(image, dim=1) @ F.normalize(text, dim=1).T / TEMPERATURE
            own = torch.arange(len(logits))
            loss = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            on_step(step)


def whole_steps(batch: int) -> int:
    """Steps of the reference's whole training."""
    return EPOCHS * -(-PAIRS // batch)


def _mlp(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, DIM), nn.ReLU(), nn.Linear(DIM, DIM))


def _pixels(image: Image.Image) -> torch.Tensor:
    array = np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR), np.float32)
    return torch.from_numpy((array - 127.5) / 64.0).permute(2, 0, 1)
