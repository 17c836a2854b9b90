"""A pretrained pair gives what Transformers' own model gives, for any batch, order and caption length."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast

import pairjepa
from pairjepa.apps.audit import audit
from pairjepa.apps.export import export
from pairjepa.apps.export.onnx import export_onnx
from pairjepa.apps.export.siglip_tokenizer import siglip_tokenizer
from pairjepa.apps.search.build import build
from pairjepa.backbones import loading
from pairjepa.backbones.encoders import load_backbones
from pairjepa.backbones.masking import Masking
from pairjepa.backbones.pair import load_pair, pair_temperature
from pairjepa.cli import main
from pairjepa.config.recipes import recipe
from pairjepa.config.settings import DataConfig, HeadConfig, ObjectiveConfig
from pairjepa.embedder.onnx_embedder import OnnxEmbedder
from pairjepa.evaluation.compare_tables import compare_table
from pairjepa.evaluation.embedding_set import EmbeddingSet
from pairjepa.evaluation.illustrate import saliency
from pairjepa.model.build import build_module
from pairjepa.model.heads import build_head
from pairjepa.run.folder import RunFolder
from pairjepa.training.chosen_on_dev import adapters, set_scale
from pairjepa.util.errors import PairJEPAError, UsageError
from pairjepa.util.files import write_json

from .pictures import picture

CAPTIONS = ["a dog", "two dogs run over the green grass near a small house", "red", "a cat on a mat"]
WORDS = sorted({word for caption in CAPTIONS for word in caption.split()})
SIZE = 32
VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIZE,
    "patch_size": 8,
}
TEXT = {
    "vocab_size": len(WORDS) + 4,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 16,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 3,
}


def clip() -> Any:
    from transformers import CLIPConfig, CLIPModel

    return CLIPModel(CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=12))


def clip_of_the_first_checkpoints() -> Any:
    """`eos_token_id` 2 in the configuration: the text is read at the largest token id."""
    from transformers import CLIPConfig, CLIPModel

    text = TEXT | {"eos_token_id": 2, "vocab_size": len(WORDS) + 5}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=VISION, projection_dim=12))


def siglip() -> Any:
    from transformers import SiglipConfig, SiglipModel

    return SiglipModel(SiglipConfig(text_config=TEXT, vision_config=VISION))


def altclip() -> Any:
    from transformers import AltCLIPConfig, AltCLIPModel

    text = TEXT | {"project_dim": 12, "max_position_embeddings": 18}
    return AltCLIPModel(AltCLIPConfig(text_config=text, vision_config=VISION, projection_dim=12))


def chinese_clip() -> Any:
    from transformers import ChineseCLIPConfig, ChineseCLIPModel

    return ChineseCLIPModel(ChineseCLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=12))


def metaclip2() -> Any:
    from transformers import MetaClip2Config, MetaClip2Model

    return MetaClip2Model(MetaClip2Config(text_config=TEXT, vision_config=VISION, projection_dim=12))


def align() -> Any:
    from transformers import AlignConfig, AlignModel

    vision = {
        "image_size": SIZE,
        "hidden_dim": 16,
        "in_channels": [32, 16],
        "out_channels": [16, 16],
        "kernel_sizes": [3, 3],
        "strides": [1, 2],
        "num_block_repeats": [1, 1],
        "expand_ratios": [1, 2],
        "depthwise_padding": [],
        "width_coefficient": 1.0,
        "depth_coefficient": 1.0,
    }
    return AlignModel(AlignConfig(text_config=TEXT, vision_config=vision, projection_dim=16))


def aimv2() -> Any:
    """With the attention that is causal in any batch: with the other one a caption depends on its batch."""
    from transformers import Aimv2Config, Aimv2Model

    model = Aimv2Model(Aimv2Config(text_config=TEXT, vision_config=VISION, projection_dim=12))
    model.set_attn_implementation("eager")
    return model


FAMILIES = [clip, clip_of_the_first_checkpoints, siglip, altclip, chinese_clip, metaclip2, align, aimv2]


def save(folder: Path, make: Callable[[], Any]) -> Any:
    """A folder as `save_pretrained` writes it; the model, with its tokenizer and image processor."""
    from transformers import CLIPImageProcessor, SiglipImageProcessor

    torch.manual_seed(0)
    model = make().eval()
    with torch.no_grad():  # random weights of this size hardly tell two captions apart
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)
    words = Tokenizer(
        models.WordLevel(
            {"[PAD]": 0, "[BOS]": 1, "[UNK]": 2, "[EOS]": 3} | {w: i + 4 for i, w in enumerate(WORDS)},
            "[UNK]",
        )
    )
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    eos = 3
    if make is clip_of_the_first_checkpoints:
        words.add_special_tokens(["[END]"])
        eos = len(WORDS) + 4
    words.post_processor = processors.TemplateProcessing(
        single=f"[BOS] $A {'[END]' if eos != 3 else '[EOS]'}",
        special_tokens=[("[BOS]", 1), ("[END]" if eos != 3 else "[EOS]", eos)],
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", model_max_length=16
    )
    size = {"height": SIZE, "width": SIZE}
    processor = (
        SiglipImageProcessor(size=size)
        if make is siglip
        else CLIPImageProcessor(size={"shortest_edge": SIZE}, crop_size=size)
    )
    for part in (model, tokenizer, processor):
        part.save_pretrained(folder)
    return model, tokenizer, processor


def embedded(output: Any) -> np.ndarray:
    rows = output if isinstance(output, torch.Tensor) else output.pooler_output
    return F.normalize(rows, dim=1).numpy()


@pytest.mark.parametrize("make", FAMILIES, ids=lambda make: make.__name__)
def test_a_pair_is_what_transformers_gives(make: Callable[[], Any], tmp_path: Path) -> None:
    model, tokenizer, processor = save(tmp_path, make)
    image, text = load_pair(tmp_path)
    pictures = [picture(seed, 50 + 10 * seed, 40) for seed in range(3)]
    padding = "max_length" if make is siglip else True
    tokens = tokenizer(CAPTIONS, padding=padding, max_length=16, truncation=True, return_tensors="pt")
    given = {"input_ids": tokens["input_ids"]}
    if make is not siglip:
        given["attention_mask"] = tokens["attention_mask"]
    with torch.no_grad():
        pixels = processor(pictures, return_tensors="pt")["pixel_values"]
        wanted_image = embedded(model.get_image_features(pixel_values=pixels))
        wanted_text = embedded(model.get_text_features(**given))
        prepared = np.stack([image.prepare(one, "centre") for one in pictures])
        found_image = embedded(image(image.normalise(torch.from_numpy(prepared))))
        assert np.abs(found_image - wanted_image).max() < 1e-5
        for order in ([0, 1, 2, 3], [3, 2, 1, 0], [0], [1, 0]):
            ids, mask = text.collate(text.tokenize([CAPTIONS[row] for row in order]))
            assert np.abs(embedded(text(ids, mask)) - wanted_text[order]).max() < 1e-5
    embedder = pairjepa.Embedder.from_pair(tmp_path)
    assert np.abs(embedder.encode_image(pictures) - wanted_image).max() < 1e-5
    assert np.abs(embedder.encode_text(CAPTIONS, batch_size=3) - wanted_text).max() < 1e-5
    assert np.abs(wanted_text[0] - wanted_text[1]).max() > 1e-3  # the case can tell captions apart


def test_captions_of_siglip_are_padded_on_the_side_of_its_tokenizer(tmp_path: Path) -> None:
    """There is no mask: the last position, which is pooled, is the end of the caption or padding."""
    model, tokenizer, _ = save(tmp_path, siglip)
    right = load_pair(tmp_path)[1]
    file = tmp_path / "tokenizer_config.json"
    write_json(file, json.loads(file.read_text("utf-8")) | {"padding_side": "left"})
    text = load_pair(tmp_path)[1]
    tokenizer.padding_side = "left"
    ids = tokenizer(CAPTIONS, padding="max_length", max_length=16, return_tensors="pt")["input_ids"]
    assert (ids[:, -1] == 3).all()
    with torch.no_grad():
        wanted = embedded(model.get_text_features(input_ids=ids))
        found, other = (embedded(one(*one.collate(one.tokenize(CAPTIONS)))) for one in (text, right))
    assert np.abs(found - wanted).max() < 1e-5
    assert np.abs(other - wanted).max() > 1e-2
    assert text.digest != right.digest


def test_the_tokenizer_of_siglip_is_one_of_sentencepiece(tmp_path: Path) -> None:
    """As its authors publish it: pads with the end token, drops capitals and punctuation, is one of Python alone.

    Where there is no PyTorch, one of the library `tokenizers` gives the same ids.
    """
    sentencepiece = pytest.importorskip("sentencepiece")
    from transformers import SiglipTokenizer

    model, *_ = save(tmp_path / "pair", siglip)
    for old in tmp_path.glob("pair/tokenizer*"):
        old.unlink()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CAPTIONS),
        model_prefix=str(tmp_path / "own"),
        hard_vocab_limit=False,
        vocab_size=40,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
    )
    tokenizer = SiglipTokenizer(str(tmp_path / "own.model"), model_max_length=16)
    tokenizer.save_pretrained(tmp_path / "pair")
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(tmp_path / "pair")
    captions = [*CAPTIONS, "A Dog."]
    ids = tokenizer(captions, padding="max_length", max_length=16, truncation=True, return_tensors="pt")
    with torch.no_grad():
        wanted = embedded(model.get_text_features(input_ids=ids["input_ids"]))
    embedder = pairjepa.Embedder.from_pair(tmp_path / "pair")
    found = embedder.encode_text(captions)
    assert np.abs(found - wanted).max() < 1e-5
    assert np.abs(found[0] - found[-1]).max() < 1e-5

    export_onnx(embedder, tmp_path / "onnx")
    exported = OnnxEmbedder.load(tmp_path / "onnx")
    assert np.abs(exported.encode_text(captions) - wanted).max() < 1e-5
    assert exported.unknown_share(["a dog"]) == embedder.unknown_share(["a dog"]) == 0
    assert exported.unknown_share(["犬 a dog"]) == embedder.unknown_share(["犬 a dog"]) > 0


@pytest.mark.parametrize("rule", ["identity", "nmt_nfkc"])
@pytest.mark.parametrize("byte_fallback", [False, True])
def test_the_tokenizer_of_siglip_without_sentencepiece(
    tmp_path: Path, rule: str, byte_fallback: bool
) -> None:
    """The same ids for blanks, marks, ligatures, unknown letters and random strings of them."""
    sentencepiece = pytest.importorskip("sentencepiece")
    from transformers import SiglipTokenizer

    words = [f"{one} {two} in the {three}" for one in WORDS for two in WORDS for three in WORDS]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(words),
        model_prefix=str(tmp_path / "own"),
        hard_vocab_limit=False,
        vocab_size=400,
        normalization_rule_name=rule,
        byte_fallback=byte_fallback,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    theirs = SiglipTokenizer(str(tmp_path / "own.model"))
    ours = siglip_tokenizer(theirs)
    letters, random = [*"ado gru. ',-\t\u00a0\u3000▁…", "é", "ﬁ", "½", "犬", "A", "the "], Random(0)
    captions = [*words[:50], "", "!!!", " a  Dog ", "two\ndogs, don't!", "“a” – dog’s", "１２ Ａ", "▁"]
    captions += ["".join(random.choices(letters, k=random.randrange(1, 20))) for _ in range(1000)]
    for caption in captions:
        assert ours.encode(caption).ids == theirs(caption)["input_ids"], caption


def test_sentencepiece_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, siglip)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "spiece.model").write_bytes(b"")
    config = json.loads((tmp_path / "tokenizer_config.json").read_text("utf-8"))
    write_json(tmp_path / "tokenizer_config.json", config | {"tokenizer_class": "SiglipTokenizer"})
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    with pytest.raises(PairJEPAError, match=r"'sentencepiece', .* pip install 'pairjepa\[sentencepiece\]'"):
        load_pair(tmp_path)


def test_a_pair_saved_by_sentence_transformers(tmp_path: Path) -> None:
    """It is the pair that its own `encode` is; a map behind it would be left out, so it is refused."""
    sentence_transformers = pytest.importorskip("sentence_transformers")
    save(tmp_path / "pair", clip)
    model = sentence_transformers.SentenceTransformer(str(tmp_path / "pair"), device="cpu")
    model.save_pretrained(str(tmp_path / "st"), create_model_card=False)
    found = pairjepa.Embedder.from_pair(tmp_path / "st").encode_text(CAPTIONS)
    assert np.abs(found - model.encode(CAPTIONS, normalize_embeddings=True)).max() < 1e-5
    modules = json.loads((tmp_path / "st/modules.json").read_text("utf-8"))
    dense = {"idx": 1, "name": "1", "path": "1_Dense", "type": "sentence_transformers.models.Dense"}
    write_json(tmp_path / "st/modules.json", [*modules, dense])
    with pytest.raises(
        PairJEPAError, match=r"a dual encoder alone, got .*, whose modules\.json adds Dense\."
    ):
        load_pair(tmp_path / "st")


def test_a_pair_without_its_preprocessing_is_refused(tmp_path: Path) -> None:
    save(tmp_path, clip)
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(
        PairJEPAError, match=r"model\.pair must be a folder with its preprocessor_config\.json"
    ):
        load_pair(tmp_path)


def test_temperature_is_that_of_the_checkpoint(tmp_path: Path) -> None:
    model, *_ = save(tmp_path, clip)
    assert pair_temperature(model) == pytest.approx(float(torch.exp(-model.logit_scale.detach())))
    model, *_ = save(tmp_path, align)
    assert pair_temperature(model) == pytest.approx(float(model.temperature.detach()))


def test_the_temperature_of_siglip_is_not_raised_to_that_of_clip(tmp_path: Path) -> None:
    model, *_ = save(tmp_path, siglip)
    with torch.no_grad():
        model.logit_scale.fill_(np.log(118.0))
    model.save_pretrained(tmp_path)
    embedder = pairjepa.Embedder.from_pair(tmp_path)
    assert embedder.temperature == pytest.approx(1 / 118)
    objective: Any = build_module(embedder.config, embedder.image, embedder.text)["objective"]
    objective.clamp_()
    assert objective.temperature.item() == pytest.approx(1 / 118)


@pytest.mark.parametrize(("given", "start"), [(None, -12.0), (-3.0, -3.0)])
def test_the_sigmoid_loss_starts_at_the_bias_of_siglip(
    given: float | None, start: float, tmp_path: Path
) -> None:
    model, *_ = save(tmp_path, siglip)
    with torch.no_grad():
        model.logit_bias.fill_(-12.0)
    model.save_pretrained(tmp_path)
    embedder = pairjepa.Embedder.from_pair(tmp_path)
    config = replace(embedder.config, objective=ObjectiveConfig({"sigmoid": 1.0}, bias=given))
    objective: Any = build_module(config, embedder.image, embedder.text)["objective"]
    assert objective.bias.item() == start


@pytest.mark.parametrize("make", [clip, siglip], ids=lambda make: make.__name__)
def test_labels_of_a_pair_are_the_zero_shot_classes_of_clip(
    make: Callable[[], Any], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """By its own temperature, each class the mean of its prompts' embeddings."""
    model, tokenizer, processor = save(tmp_path / "pair", make)
    (tmp_path / "photos").mkdir()
    pictures = [picture(seed, 40, 40) for seed in range(3)]
    for number, one in enumerate(pictures):
        one.save(tmp_path / "photos" / f"{number}.png")
    labels, prompts = ["dog", "cat"], ["a {}", "red {} on a mat"]
    given = [str(tmp_path / "pair"), str(tmp_path / "photos"), "--labels", ",".join(labels), "--json"]
    assert main(["label", *given, *(f"--template={one}" for one in prompts), "--top-k", "2"]) == 0
    found = json.loads(capsys.readouterr().out)["results"]
    sentences = [prompt.replace("{}", label) for label in labels for prompt in prompts]
    tokens = tokenizer(sentences, padding="max_length", max_length=16, return_tensors="pt")
    mask = {} if make is siglip else {"attention_mask": tokens["attention_mask"]}
    with torch.no_grad():
        rows = embedded(model.get_text_features(input_ids=tokens["input_ids"], **mask))
        images = embedded(model.get_image_features(**processor(pictures, return_tensors="pt")))
        scale = model.logit_scale.exp().item()
    classes = rows.reshape(2, 2, -1).mean(1)
    logits = scale * images @ (classes / np.linalg.norm(classes, axis=1, keepdims=True)).T
    wanted = torch.softmax(torch.from_numpy(logits), dim=1).numpy()
    for one, row in zip(found, wanted, strict=True):
        likely = {entry["label"]: entry["probability"] for entry in one["labels"]}
        assert [likely[label] for label in labels] == pytest.approx(row, abs=1e-4)
    with pytest.raises(UsageError, match=r"This needs a run, got the pretrained pair .* as it is"):
        assert pairjepa.Embedder.from_pair(tmp_path / "pair").run


@pytest.mark.parametrize("make", [clip, siglip], ids=lambda make: make.__name__)
def test_what_comes_after_a_run_takes_an_adapted_pair(make: Callable[[], Any], tmp_path: Path) -> None:
    """ONNX, compared with the run; an index; an audit; maps, where patches are projected as the class token."""
    save(tmp_path / "pair", make)
    given = {"data.source": "shapes:60", "model.pair": str(tmp_path / "pair"), "training.epochs": 1}
    run = pairjepa.train(recipe("adapt", given | {"model.adapter_scale": 0.5}), None, tmp_path / "run").path
    assert export(run, "onnx", tmp_path / "onnx").is_dir()
    build(run, ["shapes:60"], tmp_path / "index")
    embedder = pairjepa.Embedder.load(run)
    query = embedder.encode_text("a red circle")[0]
    assert len(pairjepa.Index.open(tmp_path / "index").search(query, 5)) == 5
    audited = audit(run, DataConfig(source="shapes:60"), tmp_path / "audit", folds=2)
    assert audited["images"] == 60
    if make is siglip:
        with pytest.raises(PairJEPAError, match="pools the positions of a picture in a way of its own"):
            saliency(embedder, picture(0), CAPTIONS)
        return
    maps = saliency(embedder, picture(0), CAPTIONS)
    assert maps.shape == (len(CAPTIONS), SIZE // 8, SIZE // 8)
    assert (np.abs(maps.mean((1, 2))) <= 1 + 1e-5).all()
    assert maps.std() > 1e-4


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_an_index_of_a_pair_without_training_answers_as_the_pair(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the graphs in it or, where there are none, from the pair; another pair's is refused."""
    if engine == "torch":
        monkeypatch.setattr("pairjepa.apps.export.onnx.check_installed", _not_installed)
    model, *_ = save(tmp_path / "pair", clip)
    monkeypatch.chdir(tmp_path)
    index = build("pair", ["shapes:20"], tmp_path / "index")
    monkeypatch.chdir("/")
    assert (index.meta.model, index.meta.run) == (
        "onnx" if engine == "onnx" else "run",
        str(tmp_path / "pair"),
    )
    embedder = pairjepa.Embedder.from_pair(tmp_path / "pair")
    rows = index.encoder().encode_text(CAPTIONS)
    assert np.abs(rows - embedder.encode_text(CAPTIONS)).max() < 1e-4
    nearest = index.search(rows[0], 20, by="image")
    assert [hit.score for hit in nearest] == pytest.approx(sorted(index.matrix() @ rows[0])[::-1], abs=1e-5)
    before = embedder.weights
    with torch.no_grad():
        model.visual_projection.weight.mul_(-1)
    model.save_pretrained(tmp_path / "pair")
    with pytest.raises(PairJEPAError, match=f"was made with the run .*{before[:8]}.* is another"):
        build(tmp_path / "pair", ["shapes:20"], tmp_path / "index")


def _not_installed(target: str) -> None:
    raise PairJEPAError(f"{target} is not installed.")


def test_the_map_of_a_patch_is_what_the_class_token_would_give(tmp_path: Path) -> None:
    model, *_ = save(tmp_path, clip)
    image, _ = load_pair(tmp_path)
    pixels = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        tokens = model.vision_model(pixel_values=pixels).last_hidden_state
        wanted = model.visual_projection(model.vision_model.post_layernorm(tokens[:, 1 + 5]))
        assert torch.allclose(image.positions(pixels)[:, 1, 1], wanted, atol=1e-6)  # the sixth of four a row


def flava() -> Any:
    from transformers import FlavaConfig, FlavaModel

    parts = {f"{name}_config": VISION for name in ("image", "multimodal")}
    return FlavaModel(FlavaConfig(text_config=TEXT, **parts, projection_dim=12))


def test_a_family_without_one_vector_a_caption_is_refused(tmp_path: Path) -> None:
    save(tmp_path, flava)
    with pytest.raises(
        PairJEPAError, match=r"model\.pair must be a dual encoder .* \(flava\)\. A single encoder"
    ):
        load_pair(tmp_path)


def test_one_folder_for_both_backbones_is_the_pair(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """With heads of another kind than adapters the model does not begin as the pair: there is no epoch 0."""
    save(tmp_path / "clip", clip)
    given = {"model.image": str(tmp_path / "clip"), "model.text": str(tmp_path / "clip")}
    given |= {"data.source": "shapes:60", "model.max_tokens": 16, "training.epochs": 1}
    run = pairjepa.train(recipe("contrastive", given), None, tmp_path / "run")
    assert run.config.model.pair == str(tmp_path / "clip")
    assert run.summary["pretrained_dev_rsum"] is None
    assert "epoch 0" not in (said := capsys.readouterr().err)
    assert "model.image and model.text are one pretrained pair" in said
    assert pairjepa.train(recipe("contrastive", given), None, tmp_path / "run").summary == run.summary
    with pytest.raises(UsageError, match=r"model\.image_size must not be given beside model\.pair"):
        pairjepa.train(recipe("contrastive", given | {"model.image_size": 64}), None, tmp_path / "other")


def test_what_is_no_pair_is_said(tmp_path: Path) -> None:
    from transformers import (
        CLIPTextConfig,
        CLIPTextModel,
        Siglip2Config,
        Siglip2Model,
        SiglipConfig,
        SiglipModel,
    )

    _, tokenizer, _ = save(tmp_path / "pair", clip)
    CLIPTextModel(CLIPTextConfig(**TEXT)).save_pretrained(tmp_path / "tower")
    tokenizer.save_pretrained(tmp_path / "tower")
    with pytest.raises(PairJEPAError, match="must be a dual encoder such as CLIP or SigLIP"):
        load_pair(tmp_path / "tower")
    unlike = VISION | {"hidden_size": 32}
    save(tmp_path / "unlike", lambda: SiglipModel(SiglipConfig(text_config=TEXT, vision_config=unlike)))
    with pytest.raises(PairJEPAError, match=r"both sides into one space, .* images are 32 numbers"):
        load_pair(tmp_path / "unlike")
    save(tmp_path / "naflex", lambda: Siglip2Model(Siglip2Config(text_config=TEXT, vision_config=VISION)))
    with pytest.raises(
        PairJEPAError, match=r"pictures of one size, .* \(NaFlex\)\. Choose one of a fixed size"
    ):
        load_pair(tmp_path / "naflex")
    with pytest.raises(UsageError, match=r"model\.max_tokens must be at most 16 for this pair, got 17"):
        load_pair(tmp_path / "pair", 17)
    with pytest.raises(UsageError, match=r"model\.image must not be given beside model\.pair"):
        recipe("adapt", {"model.pair": "x", "model.image": "y"}).validate()
    with pytest.raises(PairJEPAError, match=r"model\.pair"):
        load_backbones(recipe("adapt", {"model.pair": str(tmp_path / "nosuch")}), ())


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the recipe `adapt` on a small CLIP of random weights."""
    folder = tmp_path_factory.mktemp("adapted")
    save(folder / "clip", clip)
    given = {"data.source": "shapes:120", "model.pair": str(folder / "clip"), "training.epochs": 2}
    pairjepa.train(recipe("adapt", given | {"model.closed_form_share": 0.0}), None, folder / "run")
    pairjepa.train(recipe("adapt", given | {"model.closed_form_share": 0.5}), None, folder / "mixed")
    return folder


def test_epoch_0_is_the_pretrained_pair(adapted: Path) -> None:
    result = pairjepa.evaluate(adapted / "run", "dev")
    summary = RunFolder(adapted / "run").summary
    assert summary is not None
    assert result["baselines"]["pretrained"]["rsum"] == summary["pretrained_dev_rsum"]
    assert summary["dev_rsum"] >= summary["pretrained_dev_rsum"] == summary["adapter_scales"]["0"]
    assert summary["dev_rsum"] == max(summary["adapter_scales"].values())
    assert result["rsum"] == pytest.approx(summary["dev_rsum"])
    assert set(result["beats_pretrained"]) == {"rsum_difference", "ci", "verdict", "corrected"}


def test_inspect_counts_and_probes_with_the_pair(adapted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["shapes:120", "--model.pair", str(adapted / "clip")]
    assert main(["inspect", *given, "--probe"]) == 0
    said = capsys.readouterr()
    assert "estimated" not in said.out
    assert "ridge image→caption" in said.out
    assert said.err.endswith(f"next: pairjepa train adapt --data shapes:120 --model.pair {given[-1]}\n")


def test_what_was_forgotten_is_measured_on_other_pairs(
    adapted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = pairjepa.evaluate(adapted / "run", "dev")
    assert "unknown to the text backbone" not in capsys.readouterr().err  # `train` has said it
    result = pairjepa.evaluate(adapted / "run", "dev", data="shapes:90")
    assert "unknown to the text backbone" in capsys.readouterr().err
    assert result["data"]["other"]
    assert result["baselines"]["pretrained"]["rsum"] > 0
    assert set(result["beats_pretrained"]) == {"rsum_difference", "ci", "verdict", "corrected"}
    assert result["corrected"] is result["beats_pretrained"]["corrected"] is None
    (written,) = (adapted / "run/evaluation").glob("dev-on-*.json")
    assert written.stem == f"dev-on-{result['data']['digest'][:8]}"
    found = pairjepa.compare([adapted / "run"], "dev")
    wanted = {"own": own["beats_pretrained"], written.stem: result["beats_pretrained"]}
    assert found["gains"]["run − pretrained"] == {
        where: {"difference": gain["rsum_difference"], "ci": gain["ci"]} for where, gain in wanted.items()
    }
    lines = compare_table(found).splitlines()
    assert any("own pairs" in line and written.stem in line for line in lines)
    twice = pairjepa.compare([adapted / "run", adapted / "run"], "dev")["gains"]
    assert twice["run (2) − run"] == {key: {"difference": 0.0, "ci": [0.0, 0.0]} for key in wanted}


def test_a_scale_of_nothing_is_the_pair(adapted: Path) -> None:
    joint = pairjepa.Embedder.load(adapted / "run").joint
    rows = torch.randn(5, 12, generator=torch.Generator().manual_seed(0))
    set_scale(joint, 0.0, lambda: 0.0)
    assert torch.allclose(F.normalize(joint.target(rows), dim=1), F.normalize(rows, dim=1), atol=1e-6)
    assert set_scale(joint, None, iter([1.0, 3.0, 2.0, 3.0, 1.0]).__next__)["adapter_scale"] == 0.75
    with pytest.raises(UsageError, match=r"model\.adapter_scale must go with heads of the kind adapter"):
        recipe("contrastive", {"model.adapter_scale": 0.5}).validate()


def test_adapters_start_as_the_pair(adapted: Path) -> None:
    config = RunFolder(adapted / "run").config
    image, text = load_backbones(config, ())
    joint: Any = build_module(config, image, text)["joint"]
    rows = torch.randn(5, image.width, generator=torch.Generator().manual_seed(0))
    for head in (joint.eval().predict, joint.target):
        assert torch.allclose(F.normalize(head(rows), dim=1), F.normalize(rows, dim=1), atol=1e-6)


def test_an_adapted_pair_is_used_as_any_run(adapted: Path) -> None:
    embedder = pairjepa.Embedder.load(adapted / "run")
    assert embedder.encode_text(CAPTIONS).shape == embedder.encode_image([picture(0)] * 4).shape == (4, 12)
    assert embedder.temperature == pytest.approx(0.07, abs=0.05)


def test_adapters_take_a_share_of_the_closed_formula(
    adapted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From 0 to 1 the vectors move from those of the adapters to those of CCA, in the pair's own space."""
    alone, mixed = (pairjepa.Embedder.load(adapted / name) for name in ("run", "mixed"))
    assert all(head.linear is not None and head.scale == 1 for head in adapters(mixed.joint))
    summary = RunFolder(adapted / "mixed").summary
    assert summary is not None
    assert summary["closed_form_shares"].keys() == {"0.5"}
    found = pairjepa.evaluate(adapted / "mixed", "dev")
    assert found["rsum"] == pytest.approx(summary["dev_rsum"])
    assert found["corrected"]["rsum"] == pytest.approx(summary["corrected_dev_rsum"])
    images = [picture(number) for number in range(4)]
    assert (alone.encode_image(images) * mixed.encode_image(images)).sum(1).min() > 0.5
    assert export(adapted / "mixed", "onnx", tmp_path / "onnx").is_dir()
    given = {"data.source": "shapes:60", "model.pair": str(adapted / "clip"), "training.epochs": 1}
    again = recipe(
        "adapt", given | {"training.start": str(adapted / "mixed"), "model.closed_form_share": 0.0}
    )
    capsys.readouterr()
    before = pairjepa.train(again, None, tmp_path / "again").summary
    said = capsys.readouterr().err
    assert f"epoch 0, the weights of {adapted / 'mixed'}: dev rsum" in said
    assert "pretrained pair" not in said
    assert before is not None
    assert before["pretrained_dev_rsum"] is None, "what it starts from is measured, not the pair"
    assert "closed_form_share" not in before, "what it starts from has it"


def test_the_pair_s_width_is_the_run_s() -> None:
    with pytest.raises(UsageError, match=r"model\.dim must be 12, the width of the pretrained pair, got 64"):
        build_head(12, 64, HeadConfig("adapter"))


@pytest.mark.parametrize("make", [clip, siglip], ids=lambda make: make.__name__)
def test_an_adapted_pair_is_exported_to_sentence_transformers(
    make: Callable[[], Any], tmp_path: Path
) -> None:
    """Of stock modules; the export compares what it has written with the run."""
    pytest.importorskip("sentence_transformers")
    save(tmp_path / "pair", make)
    given = {"data.source": "shapes:60", "model.pair": str(tmp_path / "pair"), "training.epochs": 1}
    for name, share in (("adapt", 0.0), ("adapt", 0.5), ("adapt-masked", 0.5)):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
        shutil.rmtree(tmp_path / f"{name}-st", ignore_errors=True)
        pairjepa.train(recipe(name, given | {"model.closed_form_share": share}), None, tmp_path / name)
        assert export(tmp_path / name, "sentence-transformers", tmp_path / f"{name}-st").is_dir()


def test_ray_is_refused_before_any_cluster(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    from pairjepa.features.on_ray import computed

    save(tmp_path, clip)
    for tower in load_pair(tmp_path):
        with pytest.raises(UsageError, match=r"model\.engine must not be ray for a pretrained pair"):
            next(computed(tower, ()))


def test_a_pair_is_measured_without_a_run(
    adapted: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """By the numbers of the row `pretrained` of a run, and with its keys; nothing is left but the export."""
    beside = pairjepa.evaluate(adapted / "run", "dev")
    given = ["--model.pair", str(adapted / "clip"), "--data", "shapes:120", "--split", "dev"]
    assert main(["evaluate", *given, "--json", "--export", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert "tokens are unknown to the text backbone" in said.err
    assert "or pair, such as --model.pair" in said.err
    alone = json.loads(said.out)
    pretrained = beside["baselines"].pop("pretrained")
    assert {key: alone[key] for key in pretrained} == pretrained
    assert alone["baselines"]["cca"] == beside["baselines"]["cca"]
    assert alone.keys() == beside.keys() - {"beats_pretrained"}
    assert EmbeddingSet.load(tmp_path / "out").run == alone["weights"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert main(["evaluate", *given]) == 0
    assert "clip, corrected" in capsys.readouterr().out


def test_other_pairs_are_read_as_they_are_told(adapted: Path, tmp_path: Path) -> None:
    """Columns of other names than those that the run's own data have."""
    picture(0).save(tmp_path / "0.png")
    (tmp_path / "pairs.csv").write_text("file,words\n" + "".join(f"0.png,{one}\n" for one in CAPTIONS))
    table = ["--data", str(tmp_path / "pairs.csv"), "--split", "test"]
    columns = ["--data.image-column", "file", "--data.caption-column", "words"]
    assert main(["evaluate", str(adapted / "run"), *table, *columns]) == 0
    assert main(["evaluate", "--model.pair", str(adapted / "clip"), *table, *columns]) == 0


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([], "evaluate must be given a run or --model.pair"),
        (["--model.pair", "clip"], "--data must be given with --model.pair"),
        (["RUN", "--data.pairs", "60"], "--data must be given with --model.pair"),
        (
            ["--model.pair", "nosuch/folder/clip", "--data", "shapes:60"],
            "model.pair must be a folder or a hub id",
        ),
        (["RUN", "--model.pair", "clip", "--data", "shapes:60"], "--model.pair must stand without a run"),
        (["--data", "shapes:60"], "evaluate must be given a run or --model.pair"),
    ],
)
def test_what_cannot_be_measured_is_a_sentence(
    given: list[str], sentence: str, adapted: Path, capsys: pytest.CaptureFixture
) -> None:
    words = [str(adapted / "run") if word == "RUN" else word for word in given]
    assert main(["evaluate", *words]) != 0
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("make", [clip, siglip], ids=lambda make: make.__name__)
def test_a_pair_learns_masked_captions(
    make: Callable[[], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Hidden words are left out; from images alone epoch 0 is the pair, and words change the answer."""
    save(tmp_path / "pair", make)
    given = {"data.source": "shapes:120", "model.pair": str(tmp_path / "pair"), "training.epochs": 2}
    run = pairjepa.train(recipe("adapt-masked", given), None, tmp_path / "run")
    said = capsys.readouterr().err
    assert said.count("epoch 0, the pretrained pair as it is") == 1
    assert said.count("epoch 0, the pair's text tower alone") == 1
    assert "text-only: these pairs did not improve the pretrained pair" not in said
    assert run.record["backbones"]["text"]["hidden_words"] == "omit"
    result = pairjepa.evaluate(tmp_path / "run", "dev")
    assert result["baselines"]["pretrained"]["rsum"] == run.summary["pretrained_dev_rsum"] <= result["rsum"]
    assert result["partial"]["0.3"]["R@1"] >= 0
    image, text = load_backbones(run.config, ())
    joint: Any = build_module(run.config, image, text)["joint"].eval()
    rows, words = torch.randn(2, 5, image.width, generator=torch.Generator().manual_seed(0)).unbind()
    assert torch.allclose(F.normalize(joint.predict(rows)), F.normalize(rows), atol=1e-6)
    size = rows.shape[1] ** 0.5
    gate = joint.predictor.gate(size * F.normalize(words)).sigmoid()
    both = gate * F.normalize(rows) + F.normalize(words)
    assert torch.allclose(F.normalize(joint.predict(rows, words)), F.normalize(both), atol=1e-6)
    embedder = pairjepa.Embedder.load(tmp_path / "run")
    alone, told = (embedder.predict([picture(0)], words) for words in (None, ["a dog"]))
    assert not np.allclose(alone, told, atol=1e-3)


def test_a_mask_token_that_is_not_there_is_refused(tmp_path: Path) -> None:
    save(tmp_path, clip)
    given = {"model.pair": str(tmp_path), "context.hidden_words": "mask"}
    with pytest.raises(
        UsageError, match=r"context\.hidden_words must be omit where the tokenizer has no mask"
    ):
        load_backbones(recipe("adapt-masked", given), ())


CAPTION = "Two dogs, running!  a dog"


class OfSpaces:
    """A tokenizer of Python alone: ids of words and of what else stands in them, and no offsets."""

    is_fast, mask_token_id = False, None

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        return [10 + len(piece) for piece in re.findall(r"\w+|\W", text)]

    def num_special_tokens_to_add(self) -> int:
        return 2

    def build_inputs_with_special_tokens(self, ids: list[int]) -> list[int]:
        return [1, *ids, 2]


def test_words_of_any_tokenizer(tmp_path: Path) -> None:
    """A tokenizer may take the caption for one word, or not tell where its tokens stand."""
    save(tmp_path, clip)
    _, text = load_pair(tmp_path)
    whole = Tokenizer(models.Unigram([("<unk>", 0.0), *((c, -1.0) for c in "Twodgs,rni!a"), ("▁", -1.0)], 0))
    whole.normalizer = normalizers.Replace(" ", "▁")  # as Gemma's: nothing is split into words
    text.tokenizer = PreTrainedTokenizerFast(tokenizer_object=whole, pad_token="<unk>")
    text.max_tokens = 64
    (tokens,) = text.tokenize_words([CAPTION])
    pieces = dict.fromkeys(tokens.words, "")
    for word, (start, end) in zip(tokens.words, tokens.spans, strict=True):
        pieces[word] += CAPTION[start:end].strip()
    assert list(pieces.values()) == ["Two", "dogs,", "running!", "a", "dog"]
    text.tokenizer = OfSpaces()
    text.max_tokens = 8
    (tokens,) = text.tokenize_words([CAPTION])
    assert tokens.words == [None, 0, 1, 1, 2, 2, 3, None]
    assert tokens.content == [False, True, True, True, True, True, False, False]
    assert [CAPTION[slice(*span)] for span in tokens.spans[1:-1]] == [
        "Two",
        "dogs,",
        "dogs,",
        "running!",
        "running!",
        "a",
    ]
    assert Masking("words", 1.0, 1.0).masked(tokens, "") == [1, 2]
