"""Text features of every family against the model's own outputs, pooled by hand, one caption at a time."""

import pytest
import torch
import transformers as hf

from pairjepa.backbones.encoders import load_text_backbone
from pairjepa.backbones.loading import quiet
from pairjepa.config.settings import ModelConfig
from pairjepa.util.errors import UsageError

from .conftest import CAPTIONS, TEXT_CONFIGS


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("name", TEXT_CONFIGS)
def test_features_are_the_pooled_last_and_middle_layer(name, pooling, text_folder):
    folder = text_folder(name)
    backbone = load_text_backbone(ModelConfig(text=str(folder), text_pooling=pooling), seed=0)
    assert (backbone.layers, backbone.width) == ((2,), 64)
    with torch.no_grad():
        batched = backbone(*backbone.collate(backbone.tokenize(CAPTIONS)))
    with quiet():
        model = hf.AutoModel.from_pretrained(folder).eval()
        tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    for caption, features in zip(CAPTIONS, batched, strict=True):
        alone = {k: v for k, v in tokenizer(caption, return_tensors="pt").items() if k != "token_type_ids"}
        with torch.no_grad():
            raw = model(**alone, output_hidden_states=True)
        states = [raw.last_hidden_state[0], raw.hidden_states[2][0]]
        expected = torch.cat([s[0] if pooling == "cls" else s.mean(0) for s in states])
        torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)


def test_captions_are_cut_special_tokens_included(text_folder):
    backbone = load_text_backbone(ModelConfig(text=str(text_folder("bert")), max_tokens=5), 0)
    whole = load_text_backbone(ModelConfig(text=str(text_folder("bert"))), 0)
    cut, full = backbone.tokenize(CAPTIONS), whole.tokenize(CAPTIONS)
    assert max(map(len, cut)) == 5
    assert all(c[:-1] == f[:4] and c[-1] == f[-1] for c, f in zip(cut, full, strict=True) if len(f) > 5)
    assert backbone.tokenize([]) == []


def test_collate_pads_to_the_longest(text_folder):
    backbone = load_text_backbone(ModelConfig(text=str(text_folder("bert"))), 0)
    input_ids, mask = backbone.collate([[2, 9, 3], [2, 3]])
    assert input_ids.tolist() == [[2, 9, 3], [2, 3, backbone.tokenizer.pad_token_id]]
    assert mask.tolist() == [[1, 1, 1], [1, 1, 0]]


@pytest.mark.parametrize("name", ["bert", "distilbert"])
def test_saved_and_loaded_gives_equal_features(name, text_folder, tmp_path):
    config = ModelConfig(text=str(text_folder(name)), text_layers=(1, 3), max_tokens=6, text_pooling="cls")
    backbone = load_text_backbone(config, 0)
    backbone.save(tmp_path)
    again = load_text_backbone(ModelConfig(), seed=7, folder=tmp_path)
    ids = backbone.tokenize(CAPTIONS)
    assert again.tokenize(CAPTIONS) == ids
    with torch.no_grad():
        assert torch.equal(backbone(*backbone.collate(ids)), again(*again.collate(ids)))
    assert (again.digest, again.layers, again.pooling, again.max_tokens) == (
        backbone.digest,
        (1, 3),
        "cls",
        6,
    )


def test_no_layer_is_kept_as_none(text_folder, tmp_path):
    backbone = load_text_backbone(ModelConfig(text=str(text_folder("bert")), text_layers=(-1,)), 0)
    assert (backbone.layers, backbone.width) == ((), 32)
    backbone.save(tmp_path)
    assert load_text_backbone(ModelConfig(), 0, folder=tmp_path).layers == ()


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"text_layers": (5,)}, "model.text_layers must be from 0 to 4, .* got 5"),
        ({"max_tokens": 513}, "model.max_tokens must be at most 512 .* got 513"),
    ],
)
def test_settings_that_cannot_be(settings, match, text_folder):
    with pytest.raises(UsageError, match=match):
        load_text_backbone(ModelConfig(text=str(text_folder("bert")), **settings), 0)


def test_digest_follows_what_features_depend_on(text_folder):
    bert = str(text_folder("bert"))
    configs = [
        ModelConfig(text=bert),
        ModelConfig(text=bert, text_pooling="cls"),
        ModelConfig(text=bert, text_layers=(1,)),
        ModelConfig(text=bert, max_tokens=8),
        ModelConfig(text=bert, text_weights="random"),
    ]
    digests = [load_text_backbone(config, 0).digest for config in configs]
    assert len(set(digests)) == len(digests)
    # The pooler is drawn anew at each load, and is no part of the features.
    assert load_text_backbone(configs[0], seed=9).digest == digests[0]


def test_using_it_does_not_change_the_digest_of_what_is_saved(text_folder, tmp_path):
    backbone = load_text_backbone(ModelConfig(text=str(text_folder("bert"))), 0)
    backbone.tokenize(CAPTIONS)  # makes the tokenizer remember a cut
    backbone.save(tmp_path)
    assert load_text_backbone(ModelConfig(), 0, folder=tmp_path).digest == backbone.digest


def test_token_facts_of_unknown_scripts_and_cut_captions() -> None:
    backbone = load_text_backbone(
        ModelConfig(text="tiny-bert", max_tokens=5), 0, ["a dog runs home", "a dog runs away"]
    )
    facts = backbone.token_facts(["a dog runs home", "a dog runs away", "a dog", "วงกลมสีแดง"])
    assert facts["lengths"] == [6, 6, 4, 3]
    assert facts["max_tokens"] == 5
    assert facts["unknown_share"] == 1 / 11
    assert facts["share_cut"] == 0.5
    assert facts["equal_when_cut"] == 1


def test_a_tokenizer_of_bytes_knows_every_string(text_folder):
    name = next(name for name in TEXT_CONFIGS if "gpt" in name or "roberta" in name)
    backbone = load_text_backbone(ModelConfig(text=str(text_folder(name)), max_tokens=5), 0)
    backbone.tokenizer.pad_token = backbone.tokenizer.eos_token = backbone.tokenizer.unk_token
    assert backbone.token_facts(["วงกลม"])["unknown_share"] == 0
