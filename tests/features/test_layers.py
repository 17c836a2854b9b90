"""A text backbone in two steps, lower layers and upper ones, against itself in one."""

import numpy as np
import pytest
import torch
import transformers as hf

from pairjepa.backbones.encoders import load_text_backbone
from pairjepa.backbones.layers import LowerLayers, UpperLayers, upper_layers
from pairjepa.backbones.text import TextBackbone
from pairjepa.config.settings import ModelConfig
from pairjepa.features.cache import verify
from pairjepa.features.extract import compute
from pairjepa.features.work import StateWork
from pairjepa.util.errors import UsageError

from .conftest import _BERT, CAPTIONS, TEXT_CONFIGS

TEXT_CONFIGS["mpnet"] = lambda: hf.MPNetConfig(vocab_size=40, **_BERT)
CUT = 2


def loaded(text_folder, name: str, **settings) -> TextBackbone:
    return load_text_backbone(ModelConfig(text=str(text_folder(name)), **settings), 0)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "mpnet"])
def test_two_steps_give_the_features_and_gradients_of_one(name, pooling, text_folder):
    text = loaded(text_folder, name, text_pooling=pooling, text_frozen_layers=CUT)
    batch = text.collate(text.tokenize(CAPTIONS))
    lower, upper = LowerLayers(text, CUT), UpperLayers(text, CUT)
    with torch.no_grad():
        states = lower(*batch)
    features = upper(states, batch[1])
    torch.testing.assert_close(features, text(*batch), rtol=1e-4, atol=1e-5)
    weight = next(upper_layers(text, CUT).parameters())
    by_parts = torch.autograd.grad(features.square().sum(), weight)[0]
    whole = torch.autograd.grad(text(*batch).square().sum(), weight)[0]
    torch.testing.assert_close(by_parts, whole, rtol=1e-3, atol=1e-4)


def test_the_layer_that_is_pooled_is_none_of_the_frozen_ones(text_folder):
    assert loaded(text_folder, "bert", text_frozen_layers=3).layers == (3,)
    assert loaded(text_folder, "bert", text_frozen_layers=1).layers == (2,)


@pytest.mark.parametrize(
    ("name", "layers", "match"),
    [
        ("bert", 4, "model.text_frozen_layers must be from 1 to 3 for this text backbone of 4 layers, got 4"),
        ("modernbert", 2, r"model.text_frozen_layers must be none for this text backbone \(modernbert\)"),
    ],
)
def test_a_backbone_that_cannot_be_cut_there_is_refused(name, layers, match, text_folder):
    with pytest.raises(UsageError, match=match):
        loaded(text_folder, name, text_frozen_layers=layers)


def test_cached_states_are_those_of_each_caption_alone(text_folder, tmp_path):
    text = loaded(text_folder, "bert", text_frozen_layers=CUT)
    lower = LowerLayers(text, CUT)
    work, distinct = StateWork.of(lower, CAPTIONS), list(dict.fromkeys(CAPTIONS))
    keys = np.concatenate([StateWork.of(lower, [caption]).keys for caption in distinct])
    assert set(work.keys.tolist()) == set(keys.tolist())
    for _ in range(2):  # computed, then read
        table = compute(work, tmp_path, "torch").table(keys)
        for row, caption in enumerate(distinct):
            ids = text.tokenize([caption])
            with torch.no_grad():
                alone = lower(*text.collate(ids))[0].half().numpy()
            found = table.gather_states(np.array([row]), len(ids[0]) + 1)[0]
            np.testing.assert_allclose(found[:-1], alone, rtol=2e-3, atol=2e-3)
            assert found.dtype == np.float16
    (folder,) = (tmp_path / "features").iterdir()
    files, wrong = verify(folder)
    assert (len(files), wrong) == (3, {})
